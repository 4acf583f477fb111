//! A body in pieces, for a request that must not hold it whole.
//!
//! The pieces are read on the thread that waits for the answer, which may block, and go through a channel to the
//! connection's task, which must not.

use super::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Large enough to cost little per piece; a few are held at once (read, queued, on the wire).
pub const PIECE_BYTES: u64 = 1 << 20;

/// The bytes could not be read: nothing is wrong with who was to get them.
#[derive(Debug)]
pub struct Unreadable(io::Error);

/// The receiving end, as the HTTP client sees it.
pub struct Feed {
    pieces: mpsc::Receiver<Result<Bytes, Unreadable>>,
    left: u64,
}

/// Sends a request with `bytes` bytes of the body from `at`.
pub async fn send<T>(body: &Body, at: u64, bytes: u64, request: impl AsyncFnOnce(Feed) -> T) -> T {
    let (sender, pieces) = mpsc::channel(1);
    let feed = Feed { pieces, left: bytes };
    tokio::select! {
        biased;
        answer = request(feed) => answer,
        never = fill(body, at, bytes, sender) => match never {},
    }
}

/// Reads piece after piece as they are taken; the request's answer ends it.
async fn fill(body: &Body, mut at: u64, bytes: u64, sender: mpsc::Sender<Result<Bytes, Unreadable>>) -> Infallible {
    let end = at + bytes;
    while at < end {
        let piece_bytes = PIECE_BYTES.min(end - at);
        let piece = body.piece(at, piece_bytes as usize).map_err(Unreadable);
        let broken = piece.is_err();
        // A receiver that is gone means that the request is over; its answer says how.
        if sender.send(piece).await.is_err() || broken {
            break;
        }
        at += piece_bytes;
    }
    drop(sender);
    std::future::pending().await
}

impl HttpBody for Feed {
    type Data = Bytes;
    type Error = Unreadable;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Unreadable>>> {
        let feed = self.get_mut();
        let piece = ready!(feed.pieces.poll_recv(cx));
        if let Some(Ok(piece)) = &piece {
            feed.left = feed.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read scratch: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}
