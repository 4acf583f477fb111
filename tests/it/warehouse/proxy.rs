//! A way to a server on which a COMMIT, or the answer to it, gets lost or late.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

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

pub struct Proxy {
    pub address: SocketAddr,
    next: Arc<Mutex<Option<Commit>>>,
}

impl Proxy {
    pub fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let proxy = Proxy { address: listener.local_addr().expect("bound"), next: Arc::default() };
        let next = proxy.next.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let next = next.clone();
                std::thread::spawn(move || relay(client, server, &next));
            }
        });
        proxy
    }

    pub fn lose_answer(&self) {
        *self.next.lock().expect("no test panics here") = Some(Commit::LoseAnswer);
    }

    /// Holds the next COMMIT: waits until it has come, and lets it go.
    pub fn hold(&self) -> (Receiver<()>, Sender<Go>) {
        let ((came, has_come), (go_on, go)) = (channel(), channel());
        *self.next.lock().expect("no test panics here") = Some(Commit::Hold { came, go });
        (has_come, go_on)
    }
}

fn relay(client: TcpStream, server: TcpStream, next: &Mutex<Option<Commit>>) {
    let lose = Arc::new(AtomicBool::new(false));
    let (Ok(back_from), Ok(back_to), theirs) = (server.try_clone(), client.try_clone(), lose.clone()) else { return };
    std::thread::spawn(move || {
        pass(back_from, back_to, |bytes| if theirs.load(Ordering::Acquire) { 0 } else { bytes.len() })
    });
    pass(client, server, |bytes| {
        if memchr::memmem::find(bytes, b"COMMIT\0").is_none() {
            return bytes.len();
        }
        match next.lock().expect("no test panics here").take() {
            None => {}
            Some(Commit::LoseAnswer) => lose.store(true, Ordering::Release),
            Some(Commit::Hold { came, go }) => {
                let _ = came.send(());
                if !matches!(go.recv(), Ok(Go::On)) {
                    return 0;
                }
            }
        }
        bytes.len()
    });
}

/// Passes on as many of the bytes that come as `may` says, until these are fewer than came; then ends both ways.
pub fn pass(mut from: TcpStream, mut to: TcpStream, may: impl Fn(&[u8]) -> usize) {
    let mut bytes = [0; 64 << 10];
    while let Ok(n) = from.read(&mut bytes)
        && n > 0
    {
        let passed = may(&bytes[..n]);
        if to.write_all(&bytes[..passed]).is_err() || passed < n {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
