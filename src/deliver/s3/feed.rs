//! A body in pieces, for a request that must not hold it whole.
//!
//! The pieces are read on the thread that waits for the answer, which may block, and go through a channel to the
//! connection's task, which must not.

use crate::deliver::Body;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Large enough to cost little per piece; a few are held at once (read, queued, on the wire). What fits into one is
/// sent whole, its checksum in front rather than behind.
pub(super) const PIECE_BYTES: u64 = 1 << 20;

/// A checksum in the header of its algorithm; all absent where none is asked for, or the SDK makes it itself.
#[derive(Default)]
pub(super) struct Sums {
    pub crc32: Option<String>,
    pub crc32_c: Option<String>,
    pub crc64_nvme: Option<String>,
    pub sha256: Option<String>,
}

impl Sums {
    /// The checksum of `bytes` bytes of the body from `at`, read once for it.
    ///
    /// Left to itself the SDK sends the checksum of a stream behind it, in a trailer. A process that dies in the middle
    /// of one leaves MinIO (7aac2a2c5b7c, `readTrailers`) reading for ever, with the name locked and memory growing.
    pub(super) fn ahead(body: &Body, at: u64, bytes: u64, algorithm: Option<&ChecksumAlgorithm>) -> Sums {
        let (mut sums, Some(algorithm)) = (Sums::default(), algorithm) else { return Sums::default() };
        if bytes <= PIECE_BYTES {
            return sums;
        }
        let place = match algorithm {
            ChecksumAlgorithm::Crc32 => &mut sums.crc32,
            ChecksumAlgorithm::Crc32C => &mut sums.crc32_c,
            ChecksumAlgorithm::Crc64Nvme => &mut sums.crc64_nvme,
            ChecksumAlgorithm::Sha256 => &mut sums.sha256,
            _ => return sums,
        };
        // Bytes that cannot be read now cannot be sent either, and then the request says so.
        *place = sum(body, at, bytes, algorithm.as_str());
        sums
    }
}

/// Base64 of a checksum.
fn sum(body: &Body, mut at: u64, bytes: u64, algorithm: &str) -> Option<String> {
    let mut hash = algorithm.parse::<aws_smithy_checksums::ChecksumAlgorithm>().ok()?.into_impl();
    let end = at + bytes;
    while at < end {
        let piece = body.read(at, PIECE_BYTES.min(end - at) as usize).ok()?;
        hash.update(&piece);
        at += piece.len() as u64;
    }
    Some(base64_simd::STANDARD.encode_to_string(hash.finalize()))
}

/// The bytes could not be read: nothing is wrong with the store.
#[derive(Debug)]
pub(super) struct Unreadable(io::Error);

/// The receiving end, as the HTTP client sees it.
struct Feed {
    pieces: mpsc::Receiver<Result<Bytes, Unreadable>>,
    left: u64,
}

/// Sends a request with `bytes` bytes of the body from `at`.
pub(super) async fn send<T>(body: &Arc<Body>, at: u64, bytes: u64, request: impl AsyncFnOnce(ByteStream) -> T) -> T {
    if bytes <= PIECE_BYTES
        && let Ok(piece) = body.read(at, bytes as usize)
    {
        return request(ByteStream::from(piece)).await;
    }
    let (sender, pieces) = mpsc::channel(1);
    let stream = ByteStream::from_body_1_x(Feed { pieces, left: bytes });
    tokio::select! {
        biased;
        answer = request(stream) => answer,
        never = fill(body, at, bytes, sender) => match never {},
    }
}

/// Reads piece after piece as they are taken; the request's answer ends it.
async fn fill(body: &Body, mut at: u64, bytes: u64, sender: mpsc::Sender<Result<Bytes, Unreadable>>) -> Infallible {
    let end = at + bytes;
    while at < end {
        let piece_bytes = PIECE_BYTES.min(end - at);
        let piece = body.read(at, piece_bytes as usize).map(Bytes::from).map_err(Unreadable);
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
