//! A real PostgreSQL server, started on a free port in a directory of its own, ended with its tests.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{ConnectOptions, Executor};

use super::programs::{HELP, free_address};
use super::scratch;
use super::waiting::{PATIENCE, eventually};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Debian keeps the server's programs away from `PATH`.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for version in fs::read_dir("/usr/lib/postgresql").into_iter().flatten() {
        folders.push(version.unwrap().path().join("bin"));
    }
    let mut places = folders.into_iter().map(|folder| folder.join(name));
    let found = places.find(|place| place.exists());
    found.unwrap_or_else(|| panic!("there is no {name}: {HELP}"))
}

/// A command, run as somebody else when we are root: the server refuses to be.
fn as_user(program: &Path, user: Option<u32>) -> Command {
    let Some(user) = user else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
    ]);
    command.arg(program);
    command
}

/// A server. Tests that end or restart it use one of their own, the others share one.
pub struct Postgres {
    folder: PathBuf,
    pub port: u16,
    user: Option<u32>,
    watch: Option<Child>,
    settings: Vec<String>,
}

impl Postgres {
    pub fn start() -> Self {
        Self::start_with(&[], |_, _| {})
    }

    /// With these settings, after `prepare` was at its data directory, for this user.
    pub fn start_with(settings: &[&str], prepare: impl FnOnce(&Path, Option<u32>)) -> Self {
        let folder = scratch::folder();
        let root = fs::metadata(&folder).unwrap().uid() == 0;
        // `nobody`, wherever there is no such user the server will say so.
        let user = root.then_some(65_534);
        chown(&folder, user, user).unwrap();
        let made = as_user(&program("initdb"), user)
            .args(["--no-sync", "--auth=trust", "--username=broker"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(folder.join("cluster"))
            .output()
            .unwrap_or_else(|error| panic!("initdb: {error}: {HELP}"));
        let complaint = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {complaint}");
        let mut server = Self {
            folder,
            port: free_address().port(),
            user,
            watch: None,
            settings: settings
                .iter()
                .map(|setting| String::from(*setting))
                .collect(),
        };
        prepare(&server.folder.join("cluster"), user);
        server.run();
        server
    }

    /// Starts the server under a shell that ends it when our end of its input is closed, however we end.
    pub fn run(&mut self) {
        let script = r#""$@" >>"$FOLDER/log" 2>&1 & read -r how; kill -"${how:-INT}" $!; wait $!
            test -n "$how" || rm -rf "$FOLDER""#;
        let mut server = Command::new("sh");
        server.args(["-c", script, "sh"]);
        let postgres = as_user(&program("postgres"), self.user);
        server.arg(postgres.get_program()).args(postgres.get_args());
        server.arg("-D").arg(self.folder.join("cluster"));
        for setting in [
            &format!("port={}", self.port),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=200",
        ] {
            server.args(["-c", setting]);
        }
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        server.env("FOLDER", &self.folder);
        server.stdin(Stdio::piped()).stdout(Stdio::null());
        self.watch = Some(server.spawn().unwrap());
    }

    /// Ends it as a crash does.
    pub fn crash(&mut self) {
        self.end("QUIT\n");
    }

    /// Ends it as whoever restarts it does: connections are closed, and nothing waits for them.
    pub fn stop(&mut self) {
        self.end("INT\n");
    }

    fn end(&mut self, how: &str) {
        use std::io::Write;

        if let Some(mut watch) = self.watch.take() {
            let mut input = watch.stdin.take().unwrap();
            let _ = input.write_all(how.as_bytes());
            drop(input);
            let _ = watch.wait();
        }
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://broker@127.0.0.1:{}/{database}", self.port)
    }

    /// Waits until it answers, and makes an empty database.
    pub async fn database(&self) -> String {
        let options: sqlx::postgres::PgConnectOptions = self.url("postgres").parse().unwrap();
        let answers = async || options.connect().await.is_ok();
        eventually("PostgreSQL answers", 3 * PATIENCE, answers).await;
        let mut connection = options.connect().await.unwrap();
        let name = format!("ledger_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        connection.execute(create).await.unwrap();
        name
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end("");
    }
}

/// The server that all tests of this binary share.
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start)
}

/// The URL of an empty database of its own.
pub async fn empty_database() -> String {
    let server = shared();
    server.url(&server.database().await)
}
