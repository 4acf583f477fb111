//! A Firehose HTTP endpoint for good and bad days: it holds every request to Firehose's rules, keeps all it saw, and
//! answers as told.

mod answer;
mod request;
mod tests;

pub use answer::{Answer, Outcome};
pub use request::Request;

use crate::rig::service::PATIENCE;
use answer::{Reply, send_bomb, send_chunked, send_huge, success};
use request::{Head, Link};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks of what waits for something.
const PAUSE: Duration = Duration::from_millis(5);

/// Chooses an answer before the body was read: by path, headers, number. [`Answer::Of`] chooses by the body.
type Script = dyn Fn(&Arrived) -> Answer + Send + Sync;

/// A request whose head was read.
pub struct Arrived<'a> {
    /// Counted from 0.
    pub number: usize,
    pub head: &'a Head,
}

/// The endpoint; stopped with the test.
pub struct Endpoint {
    pub address: SocketAddr,
    tls: bool,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    tls: Option<Arc<rustls::ServerConfig>>,
    script: Mutex<Arc<Script>>,
    /// Answers to the next requests, before the script is asked.
    next: Mutex<VecDeque<Answer>>,
    seen: Mutex<Vec<(Arc<Request>, Outcome)>>,
    arrived: AtomicUsize,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
    connections: AtomicU64,
    links: Mutex<BTreeMap<u64, TcpStream>>,
    huge_taken: Mutex<Vec<u64>>,
    releases: AtomicU64,
    stopping: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics")
}

impl Endpoint {
    /// Listens on loopback and takes everything.
    pub fn start() -> Endpoint {
        Endpoint::listen(None)
    }

    /// The same over TLS, with the tests' certificate for 127.0.0.1, which nobody trusts unless told.
    pub fn start_tls() -> Endpoint {
        Endpoint::start_tls_as("server", "server")
    }

    /// The same with another certificate and key among the tests' data.
    pub fn start_tls_as(certificate: &str, key: &str) -> Endpoint {
        Endpoint::listen(Some(tls_config(certificate, key)))
    }

    fn listen(tls: Option<Arc<rustls::ServerConfig>>) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = State {
            tls,
            script: Mutex::new(Arc::new(|_| Answer::Ok)),
            next: Mutex::default(),
            seen: Mutex::default(),
            arrived: AtomicUsize::default(),
            in_flight: AtomicUsize::default(),
            in_flight_max: AtomicUsize::default(),
            connections: AtomicU64::default(),
            links: Mutex::default(),
            huge_taken: Mutex::default(),
            releases: AtomicU64::default(),
            stopping: AtomicBool::default(),
        };
        let tls = state.tls.is_some();
        let mut endpoint = Endpoint { address, tls, state: Arc::new(state), accepting: None };
        endpoint.accept(listener);
        endpoint
    }

    fn accept(&mut self, listener: TcpListener) {
        let state = self.state.clone();
        self.accepting = Some(std::thread::spawn(move || {
            for taken in listener.incoming() {
                if state.stopping.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(tcp) = taken {
                    state.serve(tcp);
                }
            }
        }));
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// From now on every request is answered so.
    pub fn always(&self, answer: Answer) {
        self.script(move |_| answer.clone());
    }

    pub fn script(&self, script: impl Fn(&Arrived) -> Answer + Send + Sync + 'static) {
        *lock(&self.state.script) = Arc::new(script);
    }

    /// The next requests are answered so, before the script is asked again.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.state.next).extend(answers);
    }

    /// What hangs is answered.
    pub fn release(&self) {
        self.state.releases.fetch_add(1, Ordering::SeqCst);
    }

    /// Nobody listens any more, and all connections are closed.
    pub fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.state.stopping.store(true, Ordering::SeqCst);
        // Wakes what waits for a connection.
        let _ = TcpStream::connect(self.address);
        accepting.join().expect("it does not panic");
        lock(&self.state.links).values().for_each(|l| drop(l.shutdown(Shutdown::Both)));
        wait("connections end", || lock(&self.state.links).is_empty());
    }

    /// Listens again at the same address.
    pub fn restart(&mut self) {
        self.stop();
        self.state.stopping.store(false, Ordering::SeqCst);
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                // A connection of somebody else may hold the port for a moment.
                Err(e) => assert!(began.elapsed() < PATIENCE, "listen on {} again: {e}", self.address),
            }
            std::thread::sleep(PAUSE);
        };
        self.accept(listener);
    }

    /// Every request whose body was read, in the order of arrival.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        lock(&self.state.seen).iter().map(|(r, _)| r.clone()).collect()
    }

    /// The same with what became of each.
    pub fn seen(&self) -> Vec<(Arc<Request>, Outcome)> {
        lock(&self.state.seen).clone()
    }

    /// How many requests came, whole or not: the next one's number.
    pub fn arrived(&self) -> usize {
        self.state.arrived.load(Ordering::SeqCst)
    }

    /// Waits until nothing is left of a client that is dead: what it had sent is read and has its outcome.
    pub fn quiet(&self) {
        let before = self.connections();
        // Behind all that waits to be accepted; if nobody listens, nothing does.
        if let Ok(last) = TcpStream::connect(self.address) {
            wait("the last connection is seen", || self.connections() > before);
            drop(last);
        }
        wait("connections end", || lock(&self.state.links).is_empty());
    }

    /// The records the endpoint took and said so, each request id once, in the order in which it first did.
    pub fn accepted(&self) -> Vec<Vec<u8>> {
        self.records(|_, o| o == Outcome::Accepted)
    }

    /// Those of requests to this path and query.
    pub fn accepted_at(&self, target: &str) -> Vec<Vec<u8>> {
        self.records(|r, o| o == Outcome::Accepted && r.head.target == target)
    }

    /// Requests that were answered with a success, each time counted.
    pub fn successes(&self) -> Vec<Arc<Request>> {
        lock(&self.state.seen).iter().filter(|(_, o)| *o == Outcome::Accepted).map(|(r, _)| r.clone()).collect()
    }

    /// The same with what it took and said nothing of.
    pub fn stored(&self) -> Vec<Vec<u8>> {
        self.records(|_, o| o != Outcome::Refused)
    }

    fn records(&self, counts: impl Fn(&Request, Outcome) -> bool) -> Vec<Vec<u8>> {
        let seen = lock(&self.state.seen);
        let mut ids = BTreeSet::new();
        let taken = seen.iter().filter(|(r, o)| counts(r, *o) && ids.insert(r.id.as_str()));
        taken.flat_map(|(r, _)| r.records.clone()).collect()
    }

    /// A request that comes again must come with the same body, and all must obey Firehose's rules.
    pub fn assert_one_body_per_id(&self) {
        let checked = self.check_one_body_per_id();
        assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }

    /// The same; an error says what is wrong.
    pub fn check_one_body_per_id(&self) -> Result<(), String> {
        let mut bodies = BTreeMap::new();
        for request in self.requests() {
            if !request.problems.is_empty() {
                return Err(format!("{:?}", request.problems));
            }
            let first = bodies.entry(request.id.clone()).or_insert_with(|| request.clone());
            // Another encoding is another setting; under one, a request that comes again is the same bytes.
            let encoding = |request: &Request| request.head.header("content-encoding").to_owned();
            if first.body != request.body || encoding(first) == encoding(&request) && first.raw != request.raw {
                let (id, one, two) = (&request.id, first.number, request.number);
                return Err(format!("`{id}` came with another body: requests {one} and {two}"));
            }
        }
        Ok(())
    }

    /// Requests under way at once, at most, since the last time this was asked.
    pub fn take_concurrency_max(&self) -> usize {
        self.state.in_flight_max.swap(0, Ordering::SeqCst)
    }

    /// Connections made, whether or not a request came.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Bytes that were taken of each answer of [`Answer::Huge`], buffers of the system included.
    pub fn huge_taken(&self) -> Vec<u64> {
        lock(&self.state.huge_taken).clone()
    }
}

/// What a server needs that shows a certificate among the tests' data.
pub fn tls_config(certificate: &str, key: &str) -> Arc<rustls::ServerConfig> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    let certificate = CertificateDer::from_pem_file(format!("{data}/{certificate}.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(format!("{data}/{key}.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![certificate], key);
    Arc::new(config.expect("the key is the certificate's"))
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Not `stop`: a test that failed must not wait.
        self.state.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        lock(&self.state.links).values().for_each(|l| drop(l.shutdown(Shutdown::Both)));
    }
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

impl State {
    /// Serves a connection on a thread of its own.
    fn serve(self: &Arc<Self>, tcp: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        let _ = tcp.set_nodelay(true);
        let Ok(own) = tcp.try_clone() else { return };
        lock(&self.links).insert(number, own);
        let state = self.clone();
        std::thread::spawn(move || {
            if let Ok(mut link) = Link::new(tcp, state.tls.as_ref()) {
                // An error is the client's going away.
                while let Ok(true) = state.exchange(&mut link) {}
                // The last but one: a reset happens when the last copy is closed, which is the link's.
                lock(&state.links).remove(&number);
            }
            lock(&state.links).remove(&number);
        });
    }

    /// One request; whether the connection stays.
    fn exchange(self: &Arc<Self>, link: &mut Link) -> io::Result<bool> {
        let Some(head) = Head::read(link)? else { return Ok(false) };
        let under_way = UnderWay::enter(self);
        let number = self.arrived.fetch_add(1, Ordering::SeqCst);
        let answer = self.choose(&Arrived { number, head: &head });
        if let Answer::ResetBefore = answer {
            link.reset();
            return Ok(false);
        }
        let request = Arc::new(Request::read(link, number, under_way.count, head)?);
        let place = {
            let mut seen = lock(&self.seen);
            seen.push((request.clone(), Outcome::Refused));
            seen.len() - 1
        };
        if !request.problems.is_empty() {
            drop(under_way);
            link.write(&Reply::json(400, format!("{{\"problems\":{:?}}}", request.problems)).bytes())?;
            return Ok(true);
        }
        let answer = self.resolve(answer, &request, link)?;
        self.answer(&answer, &request, place, link, under_way)
    }

    fn choose(&self, arrived: &Arrived) -> Answer {
        if let Some(answer) = lock(&self.next).pop_front() {
            return answer;
        }
        let script = lock(&self.script).clone();
        script(arrived)
    }

    /// Follows what stands for another answer until that is known.
    fn resolve(&self, mut answer: Answer, request: &Request, link: &Link) -> io::Result<Answer> {
        loop {
            answer = match answer {
                Answer::Of(choose) => choose(request),
                Answer::Delay(time, then) => {
                    self.pause(time, link)?;
                    *then
                }
                Answer::Busy { status, above, .. } if request.in_flight > above => Answer::status(status),
                Answer::Busy { then, .. } => *then,
                Answer::TooLarge413 { bytes, records } => {
                    let found: usize = request.records.iter().map(Vec::len).sum();
                    match found > bytes || request.records.len() > records {
                        true => Answer::status(413),
                        false => Answer::Ok,
                    }
                }
                Answer::Hang => {
                    let before = self.releases.load(Ordering::SeqCst);
                    while self.releases.load(Ordering::SeqCst) == before {
                        self.pause(PAUSE, link)?;
                    }
                    Answer::Ok
                }
                plain => return Ok(plain),
            };
        }
    }

    /// Waits; an error if the client has gone or the endpoint is stopped.
    fn pause(&self, time: Duration, link: &Link) -> io::Result<()> {
        let end = Instant::now() + time;
        loop {
            if self.stopping.load(Ordering::SeqCst) || link.is_gone() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(PAUSE));
        }
    }

    fn answer(
        &self,
        answer: &Answer,
        request: &Request,
        place: usize,
        link: &mut Link,
        under_way: UnderWay,
    ) -> io::Result<bool> {
        if let Some((reply, outcome)) = Reply::of(answer, request) {
            // Before the client can see the answer: it may send its next request, and a test may count, right then.
            drop(under_way);
            lock(&self.seen)[place].1 = outcome;
            let written = link.write(&reply.bytes());
            if written.is_err() && outcome == Outcome::Accepted {
                lock(&self.seen)[place].1 = Outcome::Stored;
            }
            return written.map(|()| true);
        }
        match answer {
            Answer::SlowLoris(bytes_per_second) => {
                let pause = Duration::from_secs(1) / u32::try_from(*bytes_per_second).unwrap_or(u32::MAX).max(1);
                for byte in Reply::json(200, success(&request.id, "")).bytes() {
                    self.pause(pause, link)?;
                    link.write(&[byte])?;
                }
                lock(&self.seen)[place].1 = Outcome::Accepted;
            }
            Answer::Huge => {
                let taken = send_huge(link, &request.id);
                lock(&self.huge_taken).push(taken);
                return Ok(false);
            }
            Answer::GzipBomb => send_bomb(link, &request.id)?,
            Answer::NoContentLength => send_chunked(link, &request.id)?,
            Answer::ResetAfter => {
                link.reset();
                return Ok(false);
            }
            Answer::CloseAfterStore => {
                lock(&self.seen)[place].1 = Outcome::Stored;
                link.close();
                return Ok(false);
            }
            _ => unreachable!("it was resolved, or it is a plain reply"),
        }
        Ok(true)
    }
}

/// A request between its head and its answer.
struct UnderWay {
    state: Arc<State>,
    count: usize,
}

impl UnderWay {
    fn enter(state: &Arc<State>) -> UnderWay {
        let count = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        state.in_flight_max.fetch_max(count, Ordering::SeqCst);
        UnderWay { state: state.clone(), count }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.state.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
