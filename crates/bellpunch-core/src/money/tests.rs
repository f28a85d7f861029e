//! Any history of commands about money, each of them by chance.

mod any_command;
mod history;
