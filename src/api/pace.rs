//! How long a connection may take: a watch over one HTTP connection.
//!
//! Promises: a request's header is complete within `header` of its first byte, and the first request's within `header`
//! of the connection's start; a connection without a request ends after `idle`, an answer that nobody reads included.
//! While a request is answered its own times count (body, budget), not ours. HTTP/2 sends bytes for itself, so that
//! there only requests are looked at, and a slow header counts as idleness.
//!
//! Hyper's own header timer runs while a connection is idle too, and has one limit for both; hyper-util's detection of
//! the version has none.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The times of one connection, shared by its reader, its requests and its watch.
pub struct ConnectionPace {
    header: Duration,
    idle: Duration,
    phase: Mutex<ConnectionPhase>,
    /// A request was answered on it.
    was_of_use: AtomicBool,
    /// Rung when another connection needs the place.
    evicted: Notify,
}

#[derive(Clone, Copy)]
enum ConnectionPhase {
    /// A header is awaited (the first one) or has begun.
    Header {
        since: Instant,
    },
    Idle {
        since: Instant,
    },
    Busy {
        requests: u32,
    },
    /// Another connection gets the place, unless a request came just now.
    Leaving,
}

/// What a connection took too long for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    Header,
    Idle,
}

impl ConnectionPace {
    pub fn new(header: Duration, idle: Duration) -> Arc<ConnectionPace> {
        Arc::new(ConnectionPace {
            header,
            idle,
            phase: Mutex::new(ConnectionPhase::Header { since: Instant::now() }),
            was_of_use: AtomicBool::new(false),
            evicted: Notify::new(),
        })
    }

    /// A request's header is complete; until the guard is dropped the connection is not watched.
    pub fn request(self: &Arc<Self>) -> Running {
        let mut phase = self.phase();
        let running = if let ConnectionPhase::Busy { requests } = *phase { requests } else { 0 };
        *phase = ConnectionPhase::Busy { requests: running + 1 };
        Running(self.clone())
    }

    /// Ends when the connection has taken too long. Has no way to be woken by a change of phase: it must be polled
    /// together with the connection, which is what changes it.
    pub async fn expired(&self) -> Expired {
        let mut sleep = pin!(tokio::time::sleep(self.header.min(self.idle)));
        std::future::poll_fn(|cx| {
            loop {
                let Some((deadline, expired)) = self.deadline() else { return Poll::Pending };
                // A later deadline waits for the earlier one to pass: a busy connection sets no timers.
                if deadline < sleep.deadline() || sleep.is_elapsed() {
                    sleep.as_mut().reset(deadline);
                }
                ready!(sleep.as_mut().poll(cx));
                if deadline <= Instant::now() {
                    return Poll::Ready(expired);
                }
            }
        })
        .await
    }

    /// Whether a request was ever answered on it, and since when none is; `None`: one is.
    pub fn waits(&self) -> Option<(bool, Instant)> {
        match *self.phase() {
            ConnectionPhase::Header { since } | ConnectionPhase::Idle { since } => {
                Some((self.was_of_use.load(Ordering::Relaxed), since))
            }
            ConnectionPhase::Busy { .. } | ConnectionPhase::Leaving => None,
        }
    }

    /// Has the connection end if it waits for a request. Whether it does.
    pub fn evict(&self) -> bool {
        let mut phase = self.phase();
        let waits = matches!(*phase, ConnectionPhase::Header { .. } | ConnectionPhase::Idle { .. });
        if waits {
            *phase = ConnectionPhase::Leaving;
            self.evicted.notify_one();
        }
        waits
    }

    /// Ends when the connection is to end for another one. To be polled behind the connection itself, which may get a request
    /// meanwhile.
    pub async fn evicted(&self) {
        loop {
            self.evicted.notified().await;
            if matches!(*self.phase(), ConnectionPhase::Leaving) {
                return;
            }
        }
    }

    fn deadline(&self) -> Option<(Instant, Expired)> {
        match *self.phase() {
            ConnectionPhase::Header { since } => Some((since + self.header, Expired::Header)),
            ConnectionPhase::Idle { since } => Some((since + self.idle, Expired::Idle)),
            ConnectionPhase::Busy { .. } | ConnectionPhase::Leaving => None,
        }
    }

    fn bytes_came(&self) {
        let mut phase = self.phase();
        if let ConnectionPhase::Idle { .. } = *phase {
            *phase = ConnectionPhase::Header { since: Instant::now() };
        }
    }

    fn phase(&self) -> MutexGuard<'_, ConnectionPhase> {
        self.phase.lock().expect("nobody panics while holding it")
    }
}

/// A request that is being answered.
pub struct Running(Arc<ConnectionPace>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.was_of_use.store(true, Ordering::Relaxed);
        let mut phase = self.0.phase();
        *phase = match *phase {
            ConnectionPhase::Busy { requests } if requests > 1 => ConnectionPhase::Busy { requests: requests - 1 },
            _ => ConnectionPhase::Idle { since: Instant::now() },
        };
    }
}

/// A stream whose bytes begin a header when no request runs: HTTP/1.
pub(super) struct Paced<S> {
    stream: S,
    pace: Arc<ConnectionPace>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Arc<ConnectionPace>) -> Self {
        Paced { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.pace.bytes_came();
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
