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

/// How much of a head has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Arrived {
    /// Not a byte.
    Nothing,
    /// A beginning.
    Part,
    /// All of it, or what cannot become a head. hyper can judge that.
    Whole,
}

/// Waits until at least `least` of a head has arrived. Returns how much has arrived.
pub(super) async fn arrived(stream: &TcpStream, least: Arrived) -> Arrived {
    // A failure is left to hyper's read.
    while let Ok(ready) = stream.ready(Interest::READABLE).await {
        let mut seen = Arrived::Nothing;
        // The closure says "would block" of an incomplete head, so that the next round waits for more.
        let judged = stream.try_io(Interest::READABLE, || {
            seen = judge(stream)?;
            let is_whole = seen == Arrived::Whole;
            is_whole
                .then_some(())
                .ok_or(io::ErrorKind::WouldBlock.into())
        });
        let is_incomplete = judged.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if !is_incomplete || ready.is_read_closed() {
            break;
        }
        if seen >= least {
            return seen;
        }
    }
    Arrived::Whole
}

/// Looks at what has arrived and leaves it there.
fn judge(stream: &TcpStream) -> io::Result<Arrived> {
    let mut room = [MaybeUninit::uninit(); MAX_HEADER_BYTES];
    let ((arrived, room), _) = recv(stream, &mut room, RecvFlags::PEEK)?;
    let mut fields = [EMPTY_HEADER; MAX_HEADERS];
    let parsed = httparse::Request::new(&mut fields).parse(arrived);
    let is_part = parsed == Ok(Status::Partial) && !arrived.is_empty() && !room.is_empty();
    Ok(if is_part {
        Arrived::Part
    } else {
        Arrived::Whole
    })
}
