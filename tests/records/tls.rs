//! A server that is spoken to in TLS, as its URL says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use token_broker::records::{Records, postgres};

use crate::kinds::{Folder, START, TIMEOUT, clock, mint};
use crate::server::Server;

/// A key and a certificate for 127.0.0.1 that signs itself.
fn certificate(folder: &Path, user: Option<u32>) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=ledger"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("server.key"))
        .arg("-out")
        .arg(folder.join("server.crt"))
        .output()
        .unwrap_or_else(|error| panic!("openssl: {error}: run scripts/test-tools.sh"));
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for name in ["server.key", "server.crt"] {
        let path = folder.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, user, user).unwrap();
    }
}

#[tokio::test]
async fn a_server_is_believed_only_with_the_certificate_that_the_url_asks_for() {
    let folder = Folder::new();
    let known = folder.file().with_file_name("known.pem");
    let server = Server::start_with(&["ssl=on"], |cluster, user| {
        certificate(cluster, user);
        fs::copy(cluster.join("server.crt"), &known).unwrap();
    });
    let other = folder.file().with_file_name("other");
    fs::create_dir(&other).unwrap();
    certificate(&other, None);
    let url = server.url(&server.database().await);
    let with = |root: &Path| format!("{url}?sslmode=verify-full&sslrootcert={}", root.display());
    let good = with(&known);
    postgres::migrate(&good).await.unwrap();
    let ledger = postgres::open(&good, clock(), TIMEOUT).await.unwrap();
    ledger.reserve(mint("ana", START)).await.unwrap();
    assert_eq!(ledger.recent(START).await.unwrap().len(), 1);
    ledger.close().await;
    for wrong in [
        with(&other.join("server.crt")),
        format!("{url}?sslmode=verify-full"),
    ] {
        assert!(
            postgres::open(&wrong, clock(), TIMEOUT).await.is_err(),
            "{wrong}"
        );
    }
}
