//! The binary: everything is in the library.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// It gives freed memory back to the system, so that a level of load that memory caused can end; glibc's keeps it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    hearth::cli::run()
}
