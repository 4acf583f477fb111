//! A body as the SDK takes it, and its checksum.

use crate::deliver::Body;
pub(super) use crate::deliver::feed::PIECE_BYTES;
use crate::deliver::feed::{self, BodyPart};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use std::sync::Arc;

/// A checksum in the header of its algorithm; all absent where none is asked for, or the SDK makes it itself.
#[derive(Default)]
pub(super) struct Checksums {
    pub crc32: Option<String>,
    pub crc32_c: Option<String>,
    pub crc64_nvme: Option<String>,
    pub sha256: Option<String>,
}

impl Checksums {
    /// The checksum of `bytes` bytes of the body from `at`, read once for it.
    ///
    /// Left to itself the SDK sends the checksum of a stream behind it, in a trailer. A process that dies in the middle
    /// of one leaves MinIO (7aac2a2c5b7c, `readTrailers`) reading for ever, with the name locked and memory growing.
    pub(super) fn ahead(body: &Body, at: u64, bytes: u64, algorithm: Option<&ChecksumAlgorithm>) -> Checksums {
        let (mut sums, Some(algorithm)) = (Checksums::default(), algorithm) else { return Checksums::default() };
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
        let piece = body.piece(at, PIECE_BYTES.min(end - at) as usize).ok()?;
        hash.update(&piece);
        at += piece.len() as u64;
    }
    Some(base64_simd::STANDARD.encode_to_string(hash.finalize()))
}

/// Sends a request with `bytes` bytes of the body from `at`. What fits into one piece is sent whole, its checksum in front
/// rather than behind.
pub(super) async fn send<T>(body: &Arc<Body>, at: u64, bytes: u64, request: impl AsyncFnOnce(ByteStream) -> T) -> T {
    if bytes <= PIECE_BYTES
        && let Ok(piece) = body.piece(at, bytes as usize)
    {
        return request(ByteStream::from(piece)).await;
    }
    let streamed = async |feed| request(ByteStream::from_body_1_x(feed)).await;
    feed::send(&[BodyPart::Body(body, at..at + bytes)], streamed).await
}
