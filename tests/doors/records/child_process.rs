//! This test binary again, as a process of its own that opens a ledger and may be killed or starved.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable that names the file.
const FILE: &str = "LEDGER_CHILD_FILE";

/// A command that runs the ignored test `name` of this binary, on `file`, under the shell words `under`.
pub fn child(name: &str, file: &Path, under: &str) -> Command {
    let script =
        format!(r#"{under} exec "$0" --exact {name} --ignored --nocapture --test-threads=1"#);
    let mut command = Command::new("unshare");
    // Mounts of its own: what it mounts goes with it. Without root it is root only there.
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    command.args(if root {
        &["--mount"][..]
    } else {
        &["--user", "--map-root-user", "--mount"][..]
    });
    command.args(["sh", "-e", "-c", &script]);
    command
        .arg(std::env::current_exe().unwrap())
        .env(FILE, file);
    command
}

/// The file that this process is about, when it is such a child.
pub fn file() -> Option<PathBuf> {
    std::env::var_os(FILE).map(PathBuf::from)
}

/// Runs it to its end, which must be a good one.
pub fn run(name: &str, file: &Path, under: &str) {
    let output = child(name, file, under).output();
    let output =
        output.unwrap_or_else(|error| panic!("unshare: {error}: run scripts/test-tools.sh"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{name}: {said}"
    );
}
