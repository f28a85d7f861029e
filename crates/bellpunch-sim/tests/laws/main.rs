//! Laws: what is true of every sequence of commands, decided by the rules alone.

mod limits;
