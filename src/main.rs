//! The executable: reads the command line and the environment once, and hands them on.

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use token_broker::cli::{self, Arguments};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A core dump would hold the API key. On failure there is one only where core dumps are on, which they are not by default.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let arguments = Arguments::parse();
    cli::run(arguments, environment())
}

/// The environment as pairs. The one place where it is read.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the environment is read, once"
)]
fn environment() -> Vec<(String, String)> {
    let text = |raw: std::ffi::OsString| raw.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}
