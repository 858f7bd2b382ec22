//! The binary: everything is in the library.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// It gives freed memory back to the system, so that a level of load that memory caused can end; glibc's keeps it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Huge pages would double the memory of an idle server. Where they can't be had off, it just takes more.
    #[cfg(target_os = "linux")]
    rustix::thread::disable_transparent_huge_pages(true).ok();
    hearth::cli::run()
}
