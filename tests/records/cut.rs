//! A wire between a ledger and its server that is cut in the middle of a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Between the ledger and the server. When it is armed it cuts both off after the next commit went to the server,
/// before the answer comes back.
pub struct Wire {
    pub port: u16,
    pub armed: Arc<AtomicBool>,
    /// Whoever calls is hung up on.
    pub dead: Arc<AtomicBool>,
}

impl Wire {
    /// A wire to the server at this port.
    pub async fn lay(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let dead = Arc::new(AtomicBool::new(false));
        let (cut, down) = (Arc::clone(&armed), Arc::clone(&dead));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                // Who calls while there is no server is hung up on, too.
                let server = TcpStream::connect(("127.0.0.1", to)).await;
                if let (false, Ok(server)) = (down.load(Ordering::SeqCst), server) {
                    tokio::spawn(carry(client, server, Arc::clone(&cut)));
                }
            }
        });
        Self { port, armed, dead }
    }

    /// The URL of a database of the server at `to`, through this wire.
    pub fn instead_of(&self, to: u16, url: &str) -> String {
        url.replace(&format!(":{to}/"), &format!(":{}/", self.port))
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
