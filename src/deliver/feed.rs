//! A body in pieces, for a request that must not hold it whole.
//!
//! The pieces are read on the thread that waits for the answer, which may block, and go through a channel to the
//! connection's task, which must not.

use super::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Large enough to cost little per piece; a few are held at once (read, queued, on the wire).
pub(super) const PIECE_BYTES: u64 = 1 << 20;

/// The bytes could not be read: nothing is wrong with who was to get them.
#[derive(Debug)]
pub(super) struct UnreadableBody(io::Error);

/// The receiving end, as the HTTP client sees it.
pub(super) struct Feed {
    pieces: mpsc::Receiver<Result<Bytes, UnreadableBody>>,
    left: u64,
}

/// What a request is put together from.
pub(super) enum BodyPart<'b> {
    Bytes(&'b [u8]),
    /// Some of a body.
    Body(&'b Body, Range<u64>),
}

impl BodyPart<'_> {
    fn len(&self) -> u64 {
        match self {
            BodyPart::Bytes(bytes) => bytes.len() as u64,
            BodyPart::Body(_, range) => range.end - range.start,
        }
    }
}

/// Bytes of all parts.
pub(super) fn len(parts: &[BodyPart<'_>]) -> u64 {
    parts.iter().map(BodyPart::len).sum()
}

/// Sends a request with these parts, one after the other.
pub(super) async fn send<T>(parts: &[BodyPart<'_>], request: impl AsyncFnOnce(Feed) -> T) -> T {
    let (sender, pieces) = mpsc::channel(1);
    let feed = Feed { pieces, left: len(parts) };
    tokio::select! {
        biased;
        answer = request(feed) => answer,
        never = fill(parts, sender) => match never {},
    }
}

/// Reads piece after piece as they are taken; the request's answer ends it.
async fn fill(parts: &[BodyPart<'_>], sender: mpsc::Sender<Result<Bytes, UnreadableBody>>) -> Infallible {
    // A receiver that is gone means that the request is over; its answer says how.
    let _ = hand_over(parts, sender).await;
    std::future::pending().await
}

async fn hand_over(
    parts: &[BodyPart<'_>],
    sender: mpsc::Sender<Result<Bytes, UnreadableBody>>,
) -> Result<(), mpsc::error::SendError<Result<Bytes, UnreadableBody>>> {
    for part in parts {
        match part {
            BodyPart::Bytes(bytes) => sender.send(Ok(Bytes::copy_from_slice(bytes))).await?,
            BodyPart::Body(body, range) => {
                for at in range.clone().step_by(PIECE_BYTES as usize) {
                    let piece = body.piece(at, PIECE_BYTES.min(range.end - at) as usize).map_err(UnreadableBody);
                    let broken = piece.is_err();
                    sender.send(piece).await?;
                    if broken {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

impl HttpBody for Feed {
    type Data = Bytes;
    type Error = UnreadableBody;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UnreadableBody>>> {
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

impl fmt::Display for UnreadableBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read scratch: {}", self.0)
    }
}

impl std::error::Error for UnreadableBody {}
