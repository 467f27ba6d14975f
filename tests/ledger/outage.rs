//! A server that crashes or is cut off: what was promised is there once, and work resumes by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::ConnectOptions;
use token_broker::ledger::{LedgerCondition, postgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::kinds::{START, TIMEOUT, clock, limited, minted, postgres_at, settled};
use crate::server::{Server, empty_database, shared};

/// Between the ledger and the server. When it is armed it cuts both off after the next commit went to the server,
/// before the answer comes back.
struct Wire {
    port: u16,
    armed: Arc<AtomicBool>,
    /// Whoever calls is hung up on.
    dead: Arc<AtomicBool>,
}

impl Wire {
    async fn lay(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let dead = Arc::new(AtomicBool::new(false));
        let (cut, down) = (Arc::clone(&armed), Arc::clone(&dead));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if down.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&cut)));
            }
        });
        Self { port, armed, dead }
    }
}

impl Wire {
    fn instead_of_server(&self, url: &str) -> String {
        let server = format!(":{}/", shared().port);
        url.replace(&server, &format!(":{}/", self.port))
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, armed: Arc<AtomicBool>) {
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(1..) = read else { return };
                let words = &asked[..read.unwrap()];
                if server.write_all(words).await.is_err() { return }
                let commits = words.windows(6).any(|word| word == b"COMMIT");
                if commits && armed.swap(false, Ordering::SeqCst) {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(1..) = read else { return };
                if client.write_all(&answered[..read.unwrap()]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_written_once() {
    let direct = empty_database().await;
    let wire = Wire::lay(shared().port).await;
    let through = wire.instead_of_server(&direct);
    let ledger = postgres_at(&through).await;
    for round in 1..=10 {
        let intent = limited("ana", START, 10);
        let id = intent.id;
        wire.armed.store(true, Ordering::SeqCst);
        ledger.reserve(intent.clone()).await.unwrap();
        assert!(!wire.armed.load(Ordering::SeqCst), "it was cut");
        ledger.reserve(intent).await.unwrap();
        wire.armed.store(true, Ordering::SeqCst);
        ledger.settle(settled(id, minted())).await.unwrap();
        assert_eq!(ledger.recent(START).await.unwrap().len(), round);
    }
    assert!(ledger.reserve(limited("ana", START, 10)).await.is_err());
    ledger.reserve(limited("ana", START, 11)).await.unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn a_server_that_crashes_costs_only_what_was_under_way() {
    let mut server = Server::start();
    let url = server.url(&server.database().await);
    let ledger = postgres_at(&url).await;
    let mut known = 0;
    for _ in 0..3 {
        for _ in 0..20 {
            ledger.reserve(limited("ana", START, 1000)).await.unwrap();
            known += 1;
        }
        server.crash();
        assert!(ledger.reserve(limited("ana", START, 1000)).await.is_err());
        assert_eq!(ledger.condition(), LedgerCondition::Down);
        let refused = tokio::time::timeout(
            Duration::from_millis(100),
            ledger.reserve(limited("ana", START, 1000)),
        );
        assert!(refused.await.unwrap().is_err(), "at once");
        server.run();
        let mut tries = 0;
        while ledger.condition() == LedgerCondition::Down {
            tries += 1;
            assert!(tries < 300, "it did not recover");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let exact = limited("ana", START, known + 1);
        ledger.reserve(exact).await.unwrap();
        known += 1;
        assert!(ledger.reserve(limited("ana", START, known)).await.is_err());
    }
    assert_eq!(ledger.recent(START).await.unwrap().len(), known as usize);
    ledger.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_and_no_wait() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It accepts, and says nothing.
    let url = format!("postgres://broker@127.0.0.1:{port}/none?sslmode=disable");
    let started = std::time::Instant::now();
    let timeout = Duration::from_millis(300);
    assert!(postgres::open(&url, clock(), timeout).await.is_err());
    assert!(started.elapsed() < TIMEOUT);
}

#[tokio::test]
async fn what_was_written_although_nobody_could_be_told_is_given_back_when_the_server_is() {
    let direct = empty_database().await;
    let wire = Wire::lay(shared().port).await;
    let ledger = postgres_at(&wire.instead_of_server(&direct)).await;
    let options: sqlx::postgres::PgConnectOptions = direct.parse().unwrap();
    let mut observer = options.connect().await.unwrap();
    wire.dead.store(true, Ordering::SeqCst);
    wire.armed.store(true, Ordering::SeqCst);
    assert!(ledger.reserve(limited("ana", START, 1)).await.is_err());
    assert_eq!(ledger.condition(), LedgerCondition::Down);
    let written = "SELECT COUNT(*) FROM token_broker.entries WHERE outcome = 'pending'";
    let number: i64 = sqlx::query_scalar(written)
        .fetch_one(&mut observer)
        .await
        .unwrap();
    assert_eq!(number, 1, "the server had it all the same");
    wire.dead.store(false, Ordering::SeqCst);
    while ledger.condition() == LedgerCondition::Down {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ledger.reserve(limited("ben", START, 1)).await.unwrap();
    ledger.reserve(limited("ana", START, 1)).await.unwrap();
    assert!(ledger.reserve(limited("ana", START, 1)).await.is_err());
    ledger.close().await;
}
