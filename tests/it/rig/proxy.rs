//! What stands between a client and a server: it listens on loopback, and decides of each piece that comes how much of it passes.
//! What knows the words of Kinesis is in `kinesis::proxy`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// Whither bytes go.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    There,
    Back,
}

/// What is done with a connection.
pub trait Traffic: Send + Sync + 'static {
    /// Whether one that has come is passed on; if not, this has kept it.
    fn admits(&self, _client: &TcpStream) -> bool {
        true
    }

    /// How many of the bytes of one piece pass; if not all do, the connection ends behind them.
    fn passes(&self, connection: &Connection, direction: Direction, bytes: &[u8]) -> usize;

    /// Nobody comes any more: what was kept is hung up.
    fn end(&self) {}
}

/// What a connection remembers.
#[derive(Default)]
pub struct Connection {
    /// Nothing comes back any more.
    is_cut: AtomicBool,
}

/// A way to a server.
pub struct Proxy<T: Traffic> {
    pub address: SocketAddr,
    traffic: Arc<T>,
    has_ended: Arc<AtomicBool>,
}

impl<T: Traffic> Proxy<T> {
    pub fn start(server: SocketAddr, traffic: T) -> Proxy<T> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let proxy = Proxy { address, traffic: Arc::new(traffic), has_ended: Arc::default() };
        let (traffic, has_ended) = (proxy.traffic.clone(), proxy.has_ended.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if has_ended.load(Ordering::Acquire) {
                    return;
                }
                if traffic.admits(&client) {
                    relay(client, server, &traffic);
                }
            }
        });
        proxy
    }
}

impl<T: Traffic> Drop for Proxy<T> {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        self.traffic.end();
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(client: TcpStream, server: SocketAddr, traffic: &Arc<impl Traffic>) {
    let Ok(server) = TcpStream::connect(server) else { return };
    let (Ok(back_from), Ok(back_to)) = (server.try_clone(), client.try_clone()) else { return };
    let connection = Arc::new(Connection::default());
    for (from, to, direction) in [(client, server, Direction::There), (back_from, back_to, Direction::Back)] {
        let (traffic, connection) = (traffic.clone(), connection.clone());
        std::thread::spawn(move || pass(from, to, |bytes| traffic.passes(&connection, direction, bytes)));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> usize) {
    let mut bytes = [0; 64 << 10];
    while let Ok(n) = from.read(&mut bytes)
        && n > 0
    {
        let passed = passes(&bytes[..n]);
        if to.write_all(&bytes[..passed]).is_err() || passed < n {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Connections that are kept and left without an answer first, and later passed on.
#[derive(Default)]
pub struct Hanging(Mutex<Hung>);

enum Hung {
    /// Connections are kept and left without an answer.
    Hang(Vec<TcpStream>),
    /// Connections are passed on.
    Forward(Vec<TcpStream>),
}

impl Default for Hung {
    fn default() -> Hung {
        Hung::Hang(Vec::new())
    }
}

impl Traffic for Hanging {
    fn admits(&self, client: &TcpStream) -> bool {
        let client = client.try_clone();
        match &mut *self.0.lock().expect("no test panics here") {
            Hung::Hang(held) => {
                held.extend(client);
                false
            }
            Hung::Forward(relayed) => {
                relayed.extend(client);
                true
            }
        }
    }

    fn passes(&self, _: &Connection, _: Direction, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn end(&self) {
        self.become_(Hung::default());
    }
}

impl Hanging {
    fn become_(&self, next: Hung) -> Hung {
        std::mem::replace(&mut *self.0.lock().expect("no test panics here"), next)
    }
}

impl Proxy<Hanging> {
    /// Listens in front of `server`, and hangs.
    pub fn hanging(server: SocketAddr) -> Proxy<Hanging> {
        Proxy::start(server, Hanging::default())
    }

    /// From now on everything is passed on; what hung is hung up.
    pub fn forward(&self) {
        self.traffic.become_(Hung::Forward(Vec::new()));
    }

    /// Nobody gets an answer from now on; what is being passed on is cut off.
    pub fn hang(&self) {
        if let Hung::Forward(relayed) = self.traffic.become_(Hung::Hang(Vec::new())) {
            relayed.iter().for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
        }
    }

    /// Connections that wait for an answer.
    pub fn hung(&self) -> usize {
        match &*self.traffic.0.lock().expect("no test panics here") {
            Hung::Hang(held) => held.len(),
            _ => 0,
        }
    }
}

/// Bytes that may still pass, those that did, and those that did not.
struct Toll {
    left: AtomicU64,
    passed: AtomicU64,
    stopped: AtomicU64,
}

impl Toll {
    fn of(left: u64) -> Toll {
        Toll { left: AtomicU64::new(left), passed: AtomicU64::new(0), stopped: AtomicU64::new(0) }
    }

    /// How many of so many pass.
    fn pass(&self, bytes: usize) -> usize {
        let took = |left: u64| Some(left - left.min(bytes as u64));
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, took).expect("it always takes");
        let passed = left.min(bytes as u64);
        self.passed.fetch_add(passed, Ordering::SeqCst);
        self.stopped.fetch_add(bytes as u64 - passed, Ordering::SeqCst);
        passed as usize
    }
}

/// Bytes that end after so many, in one direction or the other.
pub struct Tolls([Toll; 2]);

impl Traffic for Tolls {
    fn passes(&self, _: &Connection, direction: Direction, bytes: &[u8]) -> usize {
        self.0[direction as usize].pass(bytes.len())
    }
}

impl Proxy<Tolls> {
    /// One on which so many bytes get through in this direction.
    pub fn cut(server: SocketAddr, direction: Direction, bytes: u64) -> Proxy<Tolls> {
        let mut left = [u64::MAX; 2];
        left[direction as usize] = bytes;
        Proxy::start(server, Tolls(left.map(Toll::of)))
    }

    /// Whether more came than got through.
    pub fn was_cut(&self) -> bool {
        self.traffic.0.iter().any(|toll| toll.stopped.load(Ordering::SeqCst) > 0)
    }

    /// Bytes that got through.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.traffic.0[direction as usize].passed.load(Ordering::SeqCst)
    }
}

/// What happens to the next COMMIT.
pub enum Commit {
    /// It arrives; its answer does not, and the connection ends.
    LoseAnswer,
    /// It waits; who waits for it to come is told.
    Hold { came: Sender<()>, go: Receiver<Go> },
}

/// What becomes of a COMMIT that waited.
pub enum Go {
    On,
    /// It is lost, and the connection ends.
    Nowhere,
}

/// COMMITs to PostgreSQL of which one, or the answer to it, gets lost or late.
#[derive(Default)]
pub struct Commits(Mutex<Option<Commit>>);

impl Traffic for Commits {
    fn passes(&self, connection: &Connection, direction: Direction, bytes: &[u8]) -> usize {
        if let Direction::Back = direction {
            return if connection.is_cut.load(Ordering::Acquire) { 0 } else { bytes.len() };
        }
        if memchr::memmem::find(bytes, b"COMMIT\0").is_none() {
            return bytes.len();
        }
        let next = self.0.lock().expect("no test panics here").take();
        match next {
            None => {}
            Some(Commit::LoseAnswer) => connection.is_cut.store(true, Ordering::Release),
            Some(Commit::Hold { came, go }) => {
                let _ = came.send(());
                if !matches!(go.recv(), Ok(Go::On)) {
                    return 0;
                }
            }
        }
        bytes.len()
    }
}

impl Proxy<Commits> {
    pub fn of_commits(server: SocketAddr) -> Proxy<Commits> {
        Proxy::start(server, Commits::default())
    }

    /// The next COMMIT arrives, and its answer does not.
    pub fn lose_answer(&self) {
        *self.traffic.0.lock().expect("no test panics here") = Some(Commit::LoseAnswer);
    }

    /// Holds the next COMMIT: waits until it has come, and lets it go.
    pub fn hold(&self) -> (Receiver<()>, Sender<Go>) {
        let ((came, has_come), (go_on, go)) = (channel(), channel());
        *self.traffic.0.lock().expect("no test panics here") = Some(Commit::Hold { came, go });
        (has_come, go_on)
    }
}
