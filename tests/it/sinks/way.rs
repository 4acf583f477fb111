//! A way to a server that ends after so many bytes, in one direction or the other.

use crate::warehouse::proxy::pass;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whither bytes go.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    There,
    Back,
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

pub struct Way {
    pub address: SocketAddr,
    tolls: Arc<[Toll; 2]>,
}

impl Way {
    /// One on which so many bytes get through in this direction.
    pub fn cut(server: SocketAddr, direction: Direction, bytes: u64) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let mut left = [u64::MAX; 2];
        left[direction as usize] = bytes;
        let way = Way { address: listener.local_addr().expect("bound"), tolls: Arc::new(left.map(Toll::of)) };
        let tolls = way.tolls.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // The way's end.
                let Ok(server) = TcpStream::connect(server) else { return };
                let (Ok(back_from), Ok(back_to)) = (server.try_clone(), client.try_clone()) else { continue };
                let (there, back) = (tolls.clone(), tolls.clone());
                std::thread::spawn(move || pass(client, server, |bytes| there[0].pass(bytes.len())));
                std::thread::spawn(move || pass(back_from, back_to, |bytes| back[1].pass(bytes.len())));
            }
        });
        way
    }

    /// Whether more came than got through.
    pub fn was_cut(&self) -> bool {
        self.tolls.iter().any(|toll| toll.stopped.load(Ordering::SeqCst) > 0)
    }

    /// Bytes that got through.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.tolls[direction as usize].passed.load(Ordering::SeqCst)
    }
}
