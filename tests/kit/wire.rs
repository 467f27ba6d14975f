//! Raw connections: bytes as a test wants them, and what comes back.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::waiting::PATIENCE;

/// The smallest request that is paid for.
pub const MINT: &str = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
/// A request that costs nothing, and whose answer says `alive`.
pub const ALIVE: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection.
pub struct Wire(pub TcpStream);

/// How the other side left a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It said so, or tore it.
    Closed,
    /// It did not, for as long as we waited.
    Open,
}

/// What came back on a connection.
#[derive(Debug)]
pub struct Heard {
    pub text: String,
    pub left: Left,
    pub after: Duration,
}

/// One answer among those that came back.
#[derive(Debug)]
pub struct Part {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Wire {
    pub async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// From this local address.
    pub async fn from(local: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{local}:0").parse().unwrap()).unwrap();
        Self(socket.connect(address).await.unwrap())
    }

    /// With a small window, so that whoever writes to us soon has to wait.
    pub async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self(socket.connect(address).await.unwrap())
    }

    /// Sends as much as the other side takes. A closed connection is an answer too, and is seen when reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await;
        sent.is_ok_and(|sent| sent.is_ok())
    }

    /// True when the process at the other end has closed the connection. What it wrote may still come.
    pub fn is_let_go(&self) -> bool {
        far_queues(&self.0).is_none()
    }

    /// Sends `bytes`, and waits until the process at the other end has read them. It may wait for more only for a moment, so
    /// nothing is lost between two looks.
    pub async fn send_alone(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.send(bytes).await);
        all_is_read(&self.0).await;
    }

    /// Reads until the other side closes, but no longer than `patience`.
    pub async fn hear_for(&mut self, patience: Duration) -> Heard {
        let began = Instant::now();
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 16 * 1024];
        let left = loop {
            let rest = patience.saturating_sub(began.elapsed());
            match timeout(rest, self.0.read(&mut chunk)).await {
                Ok(Ok(0)) => break Left::Closed,
                Ok(Ok(length)) => bytes.extend_from_slice(&chunk[..length]),
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(_)) => break Left::Closed,
                Err(_) => break Left::Open,
            }
        };
        Heard {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            left,
            after: began.elapsed(),
        }
    }

    /// Reads until the other side closes, which it must.
    pub async fn hear(&mut self) -> Heard {
        let heard = self.hear_for(PATIENCE).await;
        assert_eq!(heard.left, Left::Closed, "{heard:?}");
        heard
    }

    /// Reads one answer and leaves the connection as it is.
    pub async fn answer(&mut self) -> Part {
        let mut bytes = Vec::new();
        let reading = async {
            loop {
                let mut chunk = vec![0; 4096];
                let length = self.0.read(&mut chunk).await.unwrap_or_default();
                bytes.extend_from_slice(&chunk[..length]);
                let parts = parts(&String::from_utf8_lossy(&bytes));
                if length == 0 || !parts.is_empty() {
                    return parts.into_iter().next();
                }
            }
        };
        let answer = timeout(PATIENCE, reading).await.ok().flatten();
        answer.expect("no answer came")
    }
}

impl Heard {
    pub fn parts(&self) -> Vec<Part> {
        parts(&self.text)
    }

    pub fn statuses(&self) -> Vec<u16> {
        self.parts().iter().map(|part| part.status).collect()
    }

    /// How many client secrets it holds.
    pub fn secrets(&self) -> usize {
        self.text.matches("\"value\":\"ek_sim_").count()
    }
}

impl Part {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// The whole answers in `text`, in order. An answer without a length has no body.
fn parts(text: &str) -> Vec<Part> {
    let mut rest = text;
    let mut found = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .or(head.strip_prefix("HTTP/1.0 "));
        let Some(status) = status.and_then(|line| line.get(..3)?.parse().ok()) else {
            panic!("not an answer: {head:?}");
        };
        let mut part = Part {
            status,
            head: head.to_owned(),
            body: String::new(),
        };
        let length = part
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let Some(body) = after.get(..length) else {
            break;
        };
        body.clone_into(&mut part.body);
        rest = &after[length..];
        found.push(part);
    }
    found
}

/// Waits until the process at the other end, on this machine, has read all that was sent.
pub async fn all_is_read(stream: &TcpStream) {
    let began = Instant::now();
    let is_unread = |queues: String| !queues.ends_with(":00000000");
    while far_queues(stream).is_some_and(is_unread) {
        assert!(began.elapsed() < PATIENCE, "the bytes were never read");
        tokio::task::yield_now().await;
    }
}

/// The queues of the other end, on this machine, as the kernel shows them: `sent:received`, neither read yet. `None` when
/// the process there has closed the connection.
fn far_queues(stream: &TcpStream) -> Option<String> {
    let ends = [stream.peer_addr().ok()?, stream.local_addr().ok()?];
    let [theirs, ours] = ends.map(|end| format!(":{:04X}", end.port()));
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_it = fields[1].ends_with(&theirs) && fields[2].ends_with(&ours);
        (is_it && fields[3] == "01").then(|| fields[4].to_owned())
    })
}
