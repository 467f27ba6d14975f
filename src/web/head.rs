//! Waits for the head of a request without reading it.
//!
//! Until it is complete a head stays with the kernel, which bounds what it keeps for a connection. So unfinished heads take
//! no memory of the broker, however many there are.

use std::io;
use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Status};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::listener::{MAX_HEADER_BYTES, MAX_HEADERS};

/// Waits until hyper can judge what has arrived: a complete head, or what cannot become one.
pub(super) async fn arrived(stream: &TcpStream) {
    // A failure is left to hyper's read.
    while let Ok(ready) = stream.ready(Interest::READABLE).await {
        // The closure says "would block" of an incomplete head, so that the next round waits for more.
        let judged = stream.try_io(Interest::READABLE, || judge(stream));
        let is_incomplete = judged.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if !is_incomplete || ready.is_read_closed() {
            return;
        }
    }
}

/// Looks at what has arrived and leaves it there. An incomplete head is the error `WouldBlock`.
fn judge(stream: &TcpStream) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); MAX_HEADER_BYTES];
    let ((arrived, room), _) = recv(stream, &mut room, RecvFlags::PEEK)?;
    let mut fields = [EMPTY_HEADER; MAX_HEADERS];
    let parsed = httparse::Request::new(&mut fields).parse(arrived);
    if parsed == Ok(Status::Partial) && !arrived.is_empty() && !room.is_empty() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(())
}
