//! What the endpoint answers: well or in all the ways an endpoint can go wrong.

use super::request::{Link, Request};
use std::io::{self, Write};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of the answers that are far too long.
pub const HUGE_BYTES: u64 = 1 << 30;
const PIECE_BYTES: u64 = 1 << 20;

type Choose = dyn Fn(&Request) -> Answer + Send + Sync;

/// What becomes of a request. Each is tried on requests that are right; others get a 400.
#[derive(Clone)]
pub enum Answer {
    /// As Firehose wants it.
    Ok,
    /// The same with an `errorMessage` that is null, as Vector says it: still a success.
    NullErrorMessage,
    Status(u16, String),
    /// To this address.
    Redirect(String),
    /// None until [`super::Endpoint::release`], then a success.
    Hang,
    /// A success, at so many bytes a second.
    SlowLoris(u64),
    /// A success whose `errorMessage` is 1 GiB long.
    Huge,
    InvalidJson,
    WrongRequestId,
    NullRequestId,
    MissingContentType,
    /// A success with a member that Firehose does not know.
    UnknownField,
    Status204,
    /// A success behind 1 GiB of spaces, compressed: it is refused for its encoding, since the JSON is right.
    GzipBomb,
    /// A success in chunks.
    NoContentLength,
    /// The connection is reset when the head was read.
    ResetBefore,
    /// The connection is reset when the body was read.
    ResetAfter,
    /// The records are taken, and the connection is closed without an answer.
    CloseAfterStore,
    /// 413 for more than so many bytes of records, decoded, or so many records; else a success.
    TooLarge413 {
        bytes: usize,
        records: usize,
    },
    /// This status if more than `above` requests are under way, this one included.
    Busy {
        status: u16,
        above: usize,
        then: Box<Answer>,
    },
    Delay(Duration, Box<Answer>),
    /// As the request is.
    Of(Arc<Choose>),
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer::Status(status, "{\"message\":\"refused by the test\"}".to_owned())
    }

    pub fn after(ms: u64, then: Answer) -> Answer {
        Answer::Delay(Duration::from_millis(ms), Box::new(then))
    }

    pub fn busy(status: u16, above: usize, then: Answer) -> Answer {
        Answer::Busy { status, above, then: Box::new(then) }
    }

    pub fn of(choose: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Answer {
        Answer::Of(Arc::new(choose))
    }
}

/// What the sender may know of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Refused,
    /// The endpoint has the records, and never said so.
    Stored,
    /// The endpoint has the records and said so by Firehose's rules.
    Accepted,
}

/// A whole answer.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub fn json(status: u16, body: String) -> Reply {
        Reply { status, headers: vec![("Content-Type", "application/json".to_owned())], body: body.into_bytes() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = head(self.status, &self.headers, Some(self.body.len() as u64));
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The answer that `answer` stands for; `None` for those that are no plain answer.
    pub fn of(answer: &Answer, request: &Request) -> Option<(Reply, Outcome)> {
        let (ours, mut outcome) = (success(&request.id, ""), Outcome::Refused);
        let reply = match answer {
            Answer::Ok => {
                outcome = Outcome::Accepted;
                Reply::json(200, ours)
            }
            Answer::NullErrorMessage => {
                outcome = Outcome::Accepted;
                Reply::json(200, success(&request.id, ",\"errorMessage\":null"))
            }
            Answer::Status(status, body) => Reply::json(*status, body.clone()),
            Answer::Redirect(location) => {
                let mut reply = Reply::json(307, ours);
                reply.headers.push(("Location", location.clone()));
                reply
            }
            Answer::InvalidJson => Reply::json(200, ours.replace('}', "")),
            Answer::WrongRequestId => Reply::json(200, success("another", "")),
            Answer::NullRequestId => Reply::json(200, "{\"requestId\":null}".to_owned()),
            Answer::MissingContentType => Reply { status: 200, headers: Vec::new(), body: ours.into_bytes() },
            Answer::UnknownField => Reply::json(200, success(&request.id, ",\"extra\":1")),
            Answer::Status204 => Reply { status: 204, headers: Vec::new(), body: Vec::new() },
            _ => return None,
        };
        Some((reply, outcome))
    }
}

/// Firehose's answer to a request that was taken; `more` goes before the end.
pub fn success(id: &str, more: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    format!("{{\"requestId\":\"{id}\",\"timestamp\":{now}{more}}}")
}

/// The head of an answer; of unknown length it is in chunks.
fn head(status: u16, headers: &[(&str, String)], length: Option<u64>) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} As told\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &match length {
        // No content has no length either.
        Some(0) if status == 204 => "\r\n".to_owned(),
        Some(length) => format!("Content-Length: {length}\r\n\r\n"),
        None => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
    };
    text.into_bytes()
}

fn json_headers() -> Vec<(&'static str, String)> {
    vec![("Content-Type", "application/json".to_owned())]
}

/// Streams an answer of a little over [`HUGE_BYTES`]; how many bytes the connection took of it.
pub fn send_huge(link: &mut Link, id: &str) -> u64 {
    let body = success(id, ",\"errorMessage\":\"");
    let (begin, end) = (body.trim_end_matches('}'), "\"}");
    let length = begin.len() as u64 + HUGE_BYTES + end.len() as u64;
    let piece = vec![b'x'; PIECE_BYTES as usize];
    let mut taken = 0;
    let mut write = |bytes: &[u8]| {
        // Small pieces: what is counted was taken, but for the last one.
        bytes.chunks(16 << 10).all(|bytes| {
            let written = link.write(bytes).is_ok();
            taken += if written { bytes.len() as u64 } else { 0 };
            written
        })
    };
    let _ = write(&head(200, &json_headers(), Some(length)))
        && write(begin.as_bytes())
        && (0..HUGE_BYTES / PIECE_BYTES).all(|_| write(&piece))
        && write(end.as_bytes());
    taken
}

/// A success in chunks.
pub fn send_chunked(link: &mut Link, id: &str) -> io::Result<()> {
    let body = success(id, "");
    let mut bytes = head(200, &json_headers(), None);
    for piece in body.as_bytes().chunks(16) {
        write!(bytes, "{:x}\r\n", piece.len())?;
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    link.write(&bytes)
}

/// A success that is 1 GiB of spaces longer when it is decompressed, and under 1 MiB before.
pub fn send_bomb(link: &mut Link, id: &str) -> io::Result<()> {
    let body = bomb(&success(id, ""));
    let mut headers = json_headers();
    headers.push(("Content-Encoding", "gzip".to_owned()));
    let mut bytes = head(200, &headers, Some(body.len() as u64));
    bytes.extend_from_slice(&body);
    link.write(&bytes)
}

/// Compressing 1 GiB would take seconds. A piece that was flushed can stand many times over, since nothing in it refers
/// to what came before.
fn bomb(json: &str) -> Vec<u8> {
    const PIECES: u64 = 64;
    static SPACES: LazyLock<Piece> = LazyLock::new(|| Piece::of(&vec![b' '; (HUGE_BYTES / PIECES) as usize]));
    let (begin, end) = json.split_at(json.len() - 1);
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut sum = flate2::Crc::new();
    let mut add = |piece: &Piece| {
        out.extend_from_slice(&piece.packed);
        sum.combine(&piece.sum);
    };
    add(&Piece::of(begin.as_bytes()));
    (0..PIECES).for_each(|_| add(&SPACES));
    add(&Piece::of(end.as_bytes()));
    // The last block: empty.
    out.extend_from_slice(&[3, 0]);
    out.extend_from_slice(&sum.sum().to_le_bytes());
    out.extend_from_slice(&sum.amount().to_le_bytes());
    out
}

/// Text deflated up to a whole byte, the stream not ended.
struct Piece {
    packed: Vec<u8>,
    sum: flate2::Crc,
}

impl Piece {
    fn of(text: &[u8]) -> Piece {
        let mut packer = flate2::Compress::new(flate2::Compression::best(), false);
        let mut packed = Vec::with_capacity(text.len() / 500 + 1024);
        packer.compress_vec(text, &mut packed, flate2::FlushCompress::Full).expect("there is room");
        assert_eq!(packer.total_in(), text.len() as u64);
        let mut sum = flate2::Crc::new();
        sum.update(text);
        Piece { packed, sum }
    }
}

mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_bomb_is_right_json_behind_a_gibibyte() {
        let packed = bomb(&success("id", ""));
        assert!(packed.len() < 1 << 20, "{} bytes", packed.len());
        let mut reader = flate2::read::GzDecoder::new(&packed[..]);
        let (mut piece, mut size, mut text) = (vec![0; 1 << 20], 0, Vec::new());
        loop {
            let n = reader.read(&mut piece).expect("its checksum is right");
            if n == 0 {
                break;
            }
            size += n as u64;
            text.extend(piece[..n].iter().filter(|b| **b != b' '));
        }
        assert!(size > HUGE_BYTES);
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(json["requestId"], "id");
    }
}
