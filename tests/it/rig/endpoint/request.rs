//! A connection of the endpoint and what came over it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// What Firehose may send at most, before it is compressed.
const BODY_BYTES_MAX: u64 = 64 << 20;

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A connection, over TLS or not.
pub struct Link {
    tcp: TcpStream,
    stream: BufReader<Box<dyn Duplex>>,
}

impl Link {
    pub fn new(tcp: TcpStream, tls: Option<&std::sync::Arc<rustls::ServerConfig>>) -> io::Result<Link> {
        let own = tcp.try_clone()?;
        let stream: Box<dyn Duplex> = match tls {
            None => Box::new(own),
            Some(config) => {
                let server = rustls::ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                Box::new(rustls::StreamOwned::new(server, own))
            }
        };
        Ok(Link { tcp, stream: BufReader::new(stream) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Whether the client hung up. A client of ours sends nothing while it waits, so that anything to read, a last
    /// message of TLS included, says so.
    pub fn is_gone(&self) -> bool {
        let _ = self.tcp.set_read_timeout(Some(Duration::from_millis(1)));
        let peeked = self.tcp.peek(&mut [0]);
        let _ = self.tcp.set_read_timeout(None);
        !matches!(peeked, Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// The connection will end by a reset, not in order.
    pub fn reset(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO));
    }

    pub fn close(&self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}

/// A request before its body was read.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Head {
    /// `None` at the connection's end.
    pub fn read(link: &mut Link) -> io::Result<Option<Head>> {
        if link.stream.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut head = Head::default();
        let line = read_line(link)?;
        let mut words = line.split(' ').map(str::to_owned);
        head.method = words.next().unwrap_or_default();
        head.target = words.next().unwrap_or_default();
        loop {
            let line = read_line(link)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(Some(head)) };
            head.headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as it came over the wire.
    fn body(&self, link: &mut Link) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.header("transfer-encoding") == "chunked" {
            loop {
                let line = read_line(link)?;
                let bytes = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                (&mut link.stream).take(bytes).read_to_end(&mut body)?;
                read_line(link)?;
                if bytes == 0 {
                    return Ok(body);
                }
            }
        }
        let bytes = self.header("content-length").parse().unwrap_or(0);
        (&mut link.stream).take(bytes).read_to_end(&mut body)?;
        if (body.len() as u64) < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(body) }
    }
}

/// A whole line. A request whose sender dies amid it is none.
fn read_line(link: &mut Link) -> io::Result<String> {
    let mut line = String::new();
    link.stream.read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A request as it was understood.
#[derive(Clone, Debug)]
pub struct Request {
    /// Counted from 0 over all that the endpoint saw.
    pub number: usize,
    pub arrived: Instant,
    /// Requests under way when it came, itself included.
    pub in_flight: usize,
    pub head: Head,
    /// The body as it came over the wire.
    pub raw: Vec<u8>,
    /// The JSON, decompressed.
    pub body: Vec<u8>,
    /// `requestId` of the body, or of the header where the body has none.
    pub id: String,
    pub records: Vec<Vec<u8>>,
    /// What is wrong with it by Firehose's rules.
    pub problems: Vec<String>,
}

impl Request {
    /// Reads the body and holds all to Firehose's rules.
    pub fn read(link: &mut Link, number: usize, in_flight: usize, head: Head) -> io::Result<Request> {
        let raw = head.body(link)?;
        let id = head.header("x-amz-firehose-request-id").to_owned();
        let mut request = Request {
            number,
            arrived: Instant::now(),
            in_flight,
            head,
            raw: raw.clone(),
            body: Vec::new(),
            id,
            records: Vec::new(),
            problems: Vec::new(),
        };
        request.body = request.decompress(raw);
        request.check_headers();
        request.check_body();
        Ok(request)
    }

    fn wrong(&mut self, what: String) {
        self.problems.push(format!("request {} ({}): {what}", self.number, self.id));
    }

    fn decompress(&mut self, raw: Vec<u8>) -> Vec<u8> {
        match self.head.header("content-encoding").to_owned().as_str() {
            "" => raw,
            "gzip" => {
                let mut body = Vec::new();
                let read = flate2::read::MultiGzDecoder::new(&raw[..]).take(BODY_BYTES_MAX + 1).read_to_end(&mut body);
                if let Err(e) = read {
                    self.wrong(format!("gzip: {e}"));
                }
                body
            }
            other => {
                self.wrong(format!("content encoding `{other}`"));
                raw
            }
        }
    }

    fn check_headers(&mut self) {
        let head = self.head.clone();
        let header = |name: &str| head.header(name);
        let found = [header("x-amz-firehose-protocol-version"), header("content-type"), &head.method];
        if found != ["1.0", "application/json", "POST"] {
            self.wrong(format!("protocol version, content type and method are {found:?}"));
        }
        let source = header("x-amz-firehose-source-arn");
        if !(source.starts_with("arn:aws:firehose:") && source.contains(":deliverystream/")) {
            self.wrong(format!("source `{source}`"));
        }
        if header("content-length").is_empty() {
            self.wrong("no content length".to_owned());
        }
        let attributes = header("x-amz-firehose-common-attributes");
        let is_object = |text: &str| {
            let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            value["commonAttributes"].as_object().is_some_and(|a| a.values().all(serde_json::Value::is_string))
        };
        if !attributes.is_empty() && !is_object(attributes) {
            self.wrong(format!("common attributes `{attributes}`"));
        }
    }

    fn check_body(&mut self) {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        struct Body {
            request_id: String,
            timestamp: u64,
            records: Vec<Record>,
        }
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Record {
            data: String,
        }
        if self.body.len() as u64 > BODY_BYTES_MAX {
            self.wrong(format!("a body of more than {BODY_BYTES_MAX} bytes"));
        }
        let body: Body = match serde_json::from_slice(&self.body) {
            Ok(body) => body,
            Err(e) => return self.wrong(format!("body: {e}")),
        };
        if body.request_id != self.id || self.id.is_empty() {
            self.wrong(format!("its body's id is `{}`", body.request_id));
        }
        // The years 2001 to 2286: a time in seconds or in microseconds is found.
        if !(1_000_000_000_000..10_000_000_000_000).contains(&body.timestamp) {
            self.wrong(format!("timestamp {}", body.timestamp));
        }
        if body.records.is_empty() || body.records.len() > 10_000 {
            self.wrong(format!("{} records", body.records.len()));
        }
        for record in body.records {
            match base64_simd::STANDARD.decode_to_vec(&record.data) {
                Ok(data) => self.records.push(data),
                Err(_) => self.wrong(format!("`{}` is no base64", record.data)),
            }
        }
    }
}
