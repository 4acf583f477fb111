//! A place in front of a store that first takes connections and never answers, and later passes them on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

enum Mode {
    /// Connections are kept and left without an answer.
    Hang(Vec<TcpStream>),
    /// Connections are passed on.
    Forward(Vec<TcpStream>),
    End,
}

pub struct Proxy {
    pub address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
}

impl Proxy {
    /// Listens in front of `upstream`, and hangs.
    pub fn hanging(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy =
            Proxy { address: listener.local_addr().unwrap(), mode: Arc::new(Mutex::new(Mode::Hang(Vec::new()))) };
        let mode = proxy.mode.clone();
        std::thread::spawn(move || {
            for taken in listener.incoming().flatten() {
                match &mut *mode.lock().unwrap() {
                    Mode::Hang(held) => held.push(taken),
                    Mode::Forward(relayed) => {
                        relayed.extend(taken.try_clone());
                        relay(taken, upstream);
                    }
                    Mode::End => return,
                }
            }
        });
        proxy
    }

    /// From now on everything is passed on; what hung is hung up.
    pub fn forward(&self) {
        *self.mode.lock().unwrap() = Mode::Forward(Vec::new());
    }

    /// Nobody gets an answer from now on; what is being passed on is cut off.
    pub fn hang(&self) {
        let before = std::mem::replace(&mut *self.mode.lock().unwrap(), Mode::Hang(Vec::new()));
        if let Mode::Forward(relayed) = before {
            relayed.iter().for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
        }
    }

    /// Connections that wait for an answer.
    pub fn hung(&self) -> usize {
        match &*self.mode.lock().unwrap() {
            Mode::Hang(held) => held.len(),
            _ => 0,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        *self.mode.lock().unwrap() = Mode::End;
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(taken: TcpStream, upstream: SocketAddr) {
    let Ok(store) = TcpStream::connect(upstream) else { return };
    let (Ok(taken_too), Ok(store_too)) = (taken.try_clone(), store.try_clone()) else { return };
    std::thread::spawn(move || copy(taken, store));
    std::thread::spawn(move || copy(store_too, taken_too));
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 64 << 10];
    while let Ok(n) = from.read(&mut bytes)
        && n > 0
        && to.write_all(&bytes[..n]).is_ok()
    {}
    let _ = to.shutdown(Shutdown::Write);
}
