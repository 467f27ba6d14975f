//! Owns other people's programs: where they are, and what to do when they are not.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::harness::{HELP, PATIENCE};

/// A program, to be started with nothing of our environment but the way to programs.
pub fn program(name: impl AsRef<Path>) -> Command {
    let name = name.as_ref();
    let mut command = Command::new(name);
    command
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `scripts/test-tools.sh` put below `target/tools`.
pub fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/tools")
        .join(path);
    assert!(path.exists(), "{} is missing: {HELP}", path.display());
    path
}

/// Runs it to its end: whether it succeeded, standard output, standard error.
pub async fn run(command: &mut Command) -> (bool, String, String) {
    let output = timeout(PATIENCE, command.output()).await;
    let output = output
        .expect("it did not end in time")
        .unwrap_or_else(|error| panic!("{command:?}: {error}: {HELP}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}
