//! A server that is spoken to in TLS, as its URL says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use token_broker::records::{Records, postgres};

use super::kinds::{Folder, START, TIMEOUT, clock, mint};
use crate::kit::postgres::Postgres;
use crate::kit::programs::self_signed;

/// Makes a certificate for 127.0.0.1 that `user` alone may read.
fn certificate(folder: &Path, user: Option<u32>) {
    self_signed(folder, "IP:127.0.0.1");
    for (made, name) in [("key.pem", "server.key"), ("certificate.pem", "server.crt")] {
        let path = folder.join(name);
        fs::rename(folder.join(made), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, user, user).unwrap();
    }
}

#[tokio::test]
async fn a_server_is_believed_only_with_the_certificate_that_the_url_asks_for() {
    let folder = Folder::new();
    let known = folder.file().with_file_name("known.pem");
    let server = Postgres::start_with(&["ssl=on"], |cluster, user| {
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
