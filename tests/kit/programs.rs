//! Programs of others that tests start: where they are, and what to do when they are missing.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::waiting::PATIENCE;

/// What to do about a program that is missing.
pub const HELP: &str = "run scripts/test-tools.sh, which installs what these tests need";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns a program, to be started with nothing of our environment but the way to programs.
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

/// Returns the path of what `scripts/test-tools.sh` put below `target/tools`.
pub fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/tools")
        .join(path);
    assert!(path.exists(), "{} is missing: {HELP}", path.display());
    path
}

/// Runs a command to its end. Returns whether it succeeded, its standard output and its standard error.
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

/// Returns a loopback address that was free a moment ago, for programs that cannot choose a port themselves.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Runs `openssl` in `folder`, which must succeed.
pub fn openssl(folder: &Path, arguments: &str) {
    let mut command = std::process::Command::new("openssl");
    command
        .args(arguments.split_whitespace())
        .current_dir(folder);
    let made = command.output();
    let made = made.unwrap_or_else(|error| panic!("openssl: {error}: {HELP}"));
    let complaint = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "openssl: {complaint}");
}

/// Makes `certificate.pem`, valid for these names for two days and signed by itself, and `key.pem` in `folder`.
/// Names have the form `DNS:localhost,IP:127.0.0.1`.
pub fn self_signed(folder: &Path, names: &str) {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
                   -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out certificate.pem";
    openssl(folder, &format!("{request} -addext subjectAltName={names}"));
}
