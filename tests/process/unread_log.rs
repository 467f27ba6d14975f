//! Nobody takes the log: it is closed, full, or not read. The broker goes on, and goes by its ledger.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::ledger_file::Books;
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::executable::{signal, student};
use crate::kit::http::client;
use crate::kit::issuer::unlimited;
use crate::kit::programs::free_address;
use crate::kit::provider::{KEY, simulator};
use crate::kit::waiting::{PATIENCE, SOON, eventually};

/// A broker whose standard output is ours to mistreat.
struct Mute {
    child: Child,
    address: SocketAddr,
    books: Books,
}

impl Mute {
    /// With standard output and standard error as given, and a log that says much.
    fn new(base_url: &str, (out, err): (Stdio, Stdio)) -> Self {
        let (address, books) = (free_address(), Books::new());
        let settings = books.folder().join("settings.toml");
        std::fs::write(&settings, unlimited()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_token-broker"));
        command
            .env_clear()
            .args(["serve", "--listen", &address.to_string(), "--config"])
            .arg(settings)
            .env("OPENAI_API_KEY", KEY)
            .env("ALLOWED_ORIGINS", PAGE)
            .env("OPENAI_BASE_URL", base_url)
            .env("BROKER_LEDGER__URL", books.url())
            .env("BROKER_LIMITS__VERIFIED_ADDRESS", "10000/60s")
            .env("RUST_LOG", "debug")
            .current_dir(books.folder())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true);
        Self {
            child: command.spawn().unwrap(),
            address,
            books,
        }
    }

    /// Reads its log until it is ready.
    async fn ready(&mut self) -> Lines<BufReader<ChildStdout>> {
        let mut lines = BufReader::new(self.child.stdout.take().unwrap()).lines();
        let reading = async {
            while !lines
                .next_line()
                .await
                .unwrap()
                .unwrap()
                .contains("\"ready\"")
            {}
        };
        timeout(PATIENCE, reading).await.unwrap();
        lines
    }

    /// It mints, records, says how it is, and ends when it is told to.
    async fn assert_serves(mut self, mints: usize) {
        let client = client();
        for number in 0..mints {
            let bearer = student(&format!("somebody-{number}"));
            let request = client
                .post(format!("http://{}/token", self.address))
                .bearer_auth(bearer);
            let answer = timeout(SOON, Answer::to(request)).await;
            let answer = answer.unwrap_or_else(|_| panic!("mint {number} was not answered"));
            answer.secret();
        }
        let refused = client.post(format!("http://{}/token", self.address));
        Answer::to(refused).await.is(401, "unauthorized");
        let ready = client.get(format!("http://{}/readyz", self.address));
        assert_eq!(Answer::to(ready).await.status, 200);
        assert_eq!(self.books.entries().await.len(), mints);
        signal(self.child.id().unwrap(), "INT");
        let ended = timeout(SOON, self.child.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0));
    }
}

/// Until it answers: there is no log to tell.
async fn answers(address: SocketAddr) {
    let connects = async || tokio::net::TcpStream::connect(address).await.is_ok();
    eventually("it listens", PATIENCE, connects).await;
}

fn full() -> Stdio {
    std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

#[tokio::test]
async fn a_broker_whose_log_is_full_serves() {
    let simulator = simulator(&[]).await;
    let mute = Mute::new(&simulator.base_url(), (full(), full()));
    answers(mute.address).await;
    mute.assert_serves(20).await;
}

#[tokio::test]
async fn a_broker_whose_log_was_closed_serves() {
    let simulator = simulator(&[]).await;
    let pipes = (Stdio::piped(), Stdio::piped());
    let mut mute = Mute::new(&simulator.base_url(), pipes);
    drop(mute.ready().await);
    drop(mute.child.stderr.take());
    mute.assert_serves(20).await;
}

#[tokio::test]
async fn a_broker_whose_log_nobody_reads_serves() {
    let simulator = simulator(&[]).await;
    let pipes = (Stdio::piped(), Stdio::piped());
    let mut mute = Mute::new(&simulator.base_url(), pipes);
    let _unread = mute.ready().await;
    // More than a pipe holds.
    mute.assert_serves(500).await;
}
