//! A real `PgBouncer` in transaction mode before a PostgreSQL server, as providers of databases put one there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::chown;

use tokio::process::Child;

use super::programs::{HELP, free_address, program};
use super::scratch::Scratch;
use super::waiting::{PATIENCE, eventually};

/// A pooler. It ends when this is dropped.
pub struct PgBouncer {
    pub port: u16,
    _process: Child,
    _folder: Scratch,
}

impl PgBouncer {
    /// Starts a pooler before the server at `port`. All its clients share two sessions of a database. `settings` are lines
    /// of its configuration.
    pub async fn before(port: u16, settings: &str) -> Self {
        let (folder, own) = (Scratch::new(), free_address().port());
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = transaction\ndefault_pool_size = 2\n\
             max_client_conn = 500\n{settings}\n",
            users = folder.file("users.txt", "\"broker\" \"\"\n"),
        );
        let file = folder.file("pgbouncer.ini", &text);
        let mut command = program("pgbouncer");
        if fs::metadata(folder.path()).unwrap().uid() == 0 {
            // The pooler refuses to be root.
            for path in [folder.path(), file.as_ref()] {
                chown(path, Some(65_534), Some(65_534)).unwrap();
            }
            command.args(["--user=nobody"]);
        }
        command.arg(file);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn();
        let process = process.unwrap_or_else(|error| panic!("pgbouncer: {error}: {HELP}"));
        let listens = async || {
            tokio::net::TcpStream::connect(("127.0.0.1", own))
                .await
                .is_ok()
        };
        eventually("PgBouncer listens", PATIENCE, listens).await;
        Self {
            port: own,
            _process: process,
            _folder: folder,
        }
    }

    /// Returns the URL of a database behind the pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://broker@127.0.0.1:{}/{database}", self.port)
    }
}
