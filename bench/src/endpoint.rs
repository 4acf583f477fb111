//! An HTTP endpoint that does no more than a receiver has to: it reads a request to its end, throws it away, and answers.
//! It shares the CPUs with the service, as the client does; what it had of them is known and taken off.

use super::machine::thread_cpu_s;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Of a request, at a time.
const READ_BYTES: usize = 256 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;

/// It listens until the process ends.
pub struct Endpoint {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    fails: AtomicBool,
    body_bytes: AtomicU64,
    cpu_ns: AtomicU64,
}

impl Endpoint {
    pub fn start() -> Result<Endpoint, String> {
        let error = |e: std::io::Error| format!("start an endpoint: {e}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let shared = Arc::new(Shared::default());
        let of_threads = shared.clone();
        let accept = move || {
            for stream in listener.incoming().flatten() {
                let shared = of_threads.clone();
                // The other side sees a connection that was closed.
                std::thread::spawn(move || shared.serve(stream));
            }
        };
        std::thread::Builder::new().name("bench endpoint".into()).spawn(accept).map_err(error)?;
        Ok(Endpoint { address, shared })
    }

    /// Whether requests are answered with 500 from now on.
    pub fn fail(&self, fails: bool) {
        self.shared.fails.store(fails, Relaxed);
    }

    /// Bytes of all bodies so far, as they were sent.
    pub fn body_bytes(&self) -> u64 {
        self.shared.body_bytes.load(Relaxed)
    }

    /// CPU of its threads, up to their last answers.
    pub fn cpu_s(&self) -> f64 {
        self.shared.cpu_ns.load(Relaxed) as f64 / 1e9
    }
}

impl Shared {
    /// Requests of one connection, until it is closed.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut read, mut n, mut cpu_s) = (vec![0; READ_BYTES], 0, 0.0);
        loop {
            let body = loop {
                if let Some(at) = memchr::memmem::find(&read[..n], b"\r\n\r\n") {
                    break at + 4;
                }
                if n > HEAD_BYTES_MAX {
                    return Err(ErrorKind::InvalidData.into());
                }
                n += more(&mut stream, &mut read[n..])?;
            };
            let (id, length) = head(&read[..body])?;
            let mut left = length.saturating_sub(n - body);
            // One request after the other: nothing of the next is here yet.
            n = 0;
            while left > 0 {
                let up_to = left.min(read.len());
                left -= more(&mut stream, &mut read[..up_to])?;
            }
            let (status, answer) = match self.fails.load(Relaxed) {
                false => ("200 OK", format!("{{\"requestId\":\"{id}\",\"timestamp\":1}}")),
                true => ("500 Internal Server Error", "{}".to_owned()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            );
            self.body_bytes.fetch_add(length as u64, Relaxed);
            let now_s = thread_cpu_s();
            self.cpu_ns.fetch_add(((now_s - cpu_s) * 1e9) as u64, Relaxed);
            cpu_s = now_s;
            stream.write_all(answer.as_bytes())?;
        }
    }
}

fn more(stream: &mut TcpStream, into: &mut [u8]) -> std::io::Result<usize> {
    match stream.read(into)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}

/// The request's id and the length of its body.
fn head(bytes: &[u8]) -> std::io::Result<(String, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let value = |wanted: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
    };
    let length = value("content-length").and_then(|length| length.parse().ok());
    let found = value("x-amz-firehose-request-id").zip(length);
    found.ok_or_else(|| std::io::Error::other(format!("a request that is none of Firehose's: `{text}`")))
}
