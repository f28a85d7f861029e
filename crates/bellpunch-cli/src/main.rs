//! The binary `bellpunch`: see the library of this crate.

use std::process::ExitCode;

/// Commands are made on one thread, decided on another and answered on a third. The C library's
/// allocator takes a third of the processor for that; this one is made for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bellpunch_cli::main()
}
