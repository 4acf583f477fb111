//! A store for bad days: what HTTP it speaks is real, what it does with it is as told. It checks no signatures and
//! reads no chunked bodies, so that it wants `checksum: none`.

use hydrant::config::{Checksum, S3 as Settings};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// STS's answer: credentials of a role.
const ROLE: &str = "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser>\
    <AssumedRoleId>id:hydrant</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/hydrant/hydrant</Arn>\
    </AssumedRoleUser><Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
    <SessionToken>role-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
    </AssumeRoleResult></AssumeRoleResponse>";

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is not carried out; this status and body.
    Answer(u16, &'static str),
    /// The same with a header.
    AnswerWith(u16, (&'static str, &'static str), &'static str),
    /// It is not carried out, and answered before its body was read, and the connection is closed.
    AnswerEarly(u16, &'static str),
    /// It is carried out; the connection is closed without an answer.
    HangUp,
    /// It is carried out; the answer is cut short.
    CutAnswer,
    /// It is carried out, and answered by this body all the same.
    Lie(&'static str),
    /// It is carried out, and never answered.
    Hang,
}

/// A request, as the double tells requests apart: `begin part complete abort put look bucket sts`.
struct Request {
    op: &'static str,
    name: String,
    upload: bool,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// What stands at a name.
#[derive(Clone, Default)]
pub struct Object {
    pub bytes: Vec<u8>,
    pub headers: BTreeMap<String, String>,
}

/// The store. It lives as long as the process.
pub struct Double {
    pub endpoint: String,
    state: Arc<State>,
}

struct State {
    heeds_conditions: bool,
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    objects: Mutex<BTreeMap<String, Object>>,
    /// The one upload in parts that may be open.
    upload: Mutex<Object>,
    seen: Mutex<Vec<String>>,
}

impl Double {
    /// Listens on loopback.
    pub fn start(heeds_conditions: bool) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = Arc::new(State {
            heeds_conditions,
            faults: Mutex::default(),
            objects: Mutex::default(),
            upload: Mutex::default(),
            seen: Mutex::default(),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (state, connection) = (shared.clone(), connection.expect("a connection is accepted"));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(connection);
                    // An error is the client's going away.
                    while let Ok(true) = state.serve(&mut reader) {}
                });
            }
        });
        Double { endpoint, state }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            endpoint: Some(self.endpoint.clone()),
            access_key_id: Some("id".to_owned()),
            secret_access_key: Some("secret".to_owned().into()),
            checksum: Checksum::None,
            timeout: Duration::from_secs(5),
            ..serde_json::from_str(r#"{"bucket":"bucket"}"#).expect("a bucket is enough")
        }
    }

    /// The next request of this kind that no earlier fault is for goes wrong.
    pub fn fail(&self, op: &'static str, fault: Fault) {
        self.state.faults.lock().expect("nobody panics").push_back((op, fault));
    }

    pub fn object(&self, name: &str) -> Option<Object> {
        self.state.objects.lock().expect("nobody panics").get(name).cloned()
    }

    /// Objects below a prefix, with their names.
    pub fn objects(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let objects = self.state.objects.lock().expect("nobody panics");
        let below = objects.iter().filter(|(name, _)| name.starts_with(prefix));
        below.map(|(name, object)| (name.clone(), object.bytes.clone())).collect()
    }

    /// Puts somebody else's object.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let object = Object { bytes: bytes.to_vec(), ..Object::default() };
        self.state.objects.lock().expect("nobody panics").insert(name.to_owned(), object);
    }

    /// What was asked since the last time; a `!` behind what came with a condition.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.seen.lock().expect("nobody panics"))
    }
}

impl State {
    /// One request; whether the connection stays.
    fn serve(&self, connection: &mut BufReader<TcpStream>) -> io::Result<bool> {
        let mut request = read_head(connection)?;
        let mark = if request.headers.contains_key("if-none-match") { "!" } else { "" };
        self.seen.lock().expect("nobody panics").push(format!("{}{mark}", request.op));
        let fault = self.fault_for(request.op);
        if let Some(Fault::AnswerEarly(status, body)) = fault {
            answer(connection.get_mut(), status, &[], body)?;
            return Ok(false);
        }
        let bytes = request.headers.get("content-length").map_or(0, |n| n.parse().expect("a length is a number"));
        request.body = vec![0; bytes];
        connection.read_exact(&mut request.body)?;
        let stream = connection.get_mut();
        if let Some(Fault::Answer(status, body)) = fault {
            answer(stream, status, &[], body)?;
            return Ok(true);
        }
        if let Some(Fault::AnswerWith(status, (name, value), body)) = fault {
            answer(stream, status, &[(name.to_owned(), value.to_owned())], body)?;
            return Ok(true);
        }
        let (status, headers, body) = self.carry_out(&request);
        match fault {
            Some(Fault::HangUp) => Ok(false),
            Some(Fault::CutAnswer) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut")?;
                Ok(false)
            }
            Some(Fault::Hang) => {
                // Until the client has enough.
                let _ = connection.read(&mut [0]);
                Ok(false)
            }
            Some(Fault::Lie(body)) => answer(stream, 200, &[], body).map(|()| true),
            _ => {
                // The answer to `HEAD` has no body.
                let body = if matches!(request.op, "look" | "bucket") { "" } else { body };
                answer(stream, status, &headers, body).map(|()| true)
            }
        }
    }

    fn fault_for(&self, op: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().expect("nobody panics");
        let at = faults.iter().position(|(of, _)| *of == op)?;
        faults.remove(at).map(|(_, fault)| fault)
    }

    fn carry_out(&self, request: &Request) -> (u16, Vec<(String, String)>, &'static str) {
        let mut objects = self.objects.lock().expect("nobody panics");
        let mut upload = self.upload.lock().expect("nobody panics");
        let tagged = || vec![("etag".to_owned(), "\"tag\"".to_owned())];
        let refused = self.heeds_conditions && request.headers.contains_key("if-none-match");
        match request.op {
            "begin" => {
                *upload = Object { headers: request.headers.clone(), bytes: Vec::new() };
                let id = "<InitiateMultipartUploadResult><UploadId>one</UploadId></InitiateMultipartUploadResult>";
                (200, vec![], id)
            }
            "part" => {
                upload.bytes.extend_from_slice(&request.body);
                (200, tagged(), "")
            }
            "put" | "complete" if refused && objects.contains_key(&request.name) => {
                (412, vec![], "<Error><Code>PreconditionFailed</Code><Message>it is there</Message></Error>")
            }
            "complete" => {
                objects.insert(request.name.clone(), std::mem::take(&mut upload));
                let done = "<CompleteMultipartUploadResult><ETag>\"tag\"</ETag></CompleteMultipartUploadResult>";
                (200, vec![], done)
            }
            "put" => {
                let object = Object { headers: request.headers.clone(), bytes: request.body.clone() };
                objects.insert(request.name.clone(), object);
                (200, tagged(), "")
            }
            "look" => match objects.get(&request.name) {
                None => (404, vec![], ""),
                Some(object) => {
                    let metadata = object.headers.iter().filter(|(name, _)| name.starts_with("x-amz-meta-"));
                    let metadata = metadata.map(|(name, value)| (name.clone(), value.clone()));
                    (200, tagged().into_iter().chain(metadata).collect(), "")
                }
            },
            "sts" => (200, vec![], ROLE),
            _ => (if request.upload { 204 } else { 200 }, vec![], ""),
        }
    }
}

fn read_head(connection: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut first = lines[0].split(' ');
    let (method, target) = (first.next().expect("a method"), first.next().expect("a target"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let name = path.trim_start_matches('/').split_once('/').map_or("", |(_, name)| name);
    let upload = query.contains("uploadId=");
    let op = match method {
        "POST" if upload => "complete",
        "POST" if name.is_empty() => "sts",
        "POST" => "begin",
        "PUT" if upload => "part",
        "PUT" => "put",
        "HEAD" if name.is_empty() => "bucket",
        "HEAD" => "look",
        "DELETE" => "abort",
        other => panic!("nobody asked for `{other}`"),
    };
    let headers = lines[1..].iter().map(|line| {
        let (name, value) = line.split_once(':').expect("a header has a colon");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Ok(Request { op, name: name.to_owned(), upload, headers: headers.collect(), body: Vec::new() })
}

fn answer(stream: &mut TcpStream, status: u16, headers: &[(String, String)], body: &str) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    stream.write_all(text.as_bytes())
}
