//! Answers requests whose head is too large in the layout of all failures.
//!
//! hyper refuses such a head itself, before a request exists, with a bare 431. No other answer has this status.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::code::Code;
use super::error::ApiError;
use super::socket::Activity;
use crate::domain::RequestId;

/// The beginning of hyper's answer.
const BARE: &[u8] = b"HTTP/1.1 431 ";

/// The sending half of a connection, which replaces hyper's bare answer.
pub(super) struct Writer<W> {
    inner: W,
    /// What is left to be sent in the place of hyper's answer.
    instead: Option<Bytes>,
    activity: Arc<Activity>,
}

impl<W> Writer<W> {
    /// `activity` is told whether something is being written.
    pub(super) const fn new(inner: W, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            instead: None,
            activity,
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Writer<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.activity.set_writing(true);
        if this.instead.is_none() && bytes.starts_with(BARE) {
            this.instead = Some(answer());
        }
        let Some(rest) = &mut this.instead else {
            return Pin::new(&mut this.inner).poll_write(context, bytes);
        };
        while rest.has_remaining() {
            let written = ready!(Pin::new(&mut this.inner).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's answer has no body, so it is one slice.
        match slices {
            [first, ..] if self.instead.is_some() || first.starts_with(BARE) => {
                self.poll_write(context, first)
            }
            _ => {
                self.activity.set_writing(true);
                Pin::new(&mut self.inner).poll_write_vectored(context, slices)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written everything.
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.activity.set_writing(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Returns the whole answer, which ends the connection as hyper's does.
fn answer() -> Bytes {
    let (code, id) = (Code::HeadersTooLarge, RequestId::random());
    let body = ApiError::from(code).body(&id);
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nx-request-id: {}\r\n\r\n",
        code.status(),
        body.len(),
        id.as_str()
    );
    [head.into_bytes(), body].concat().into()
}
