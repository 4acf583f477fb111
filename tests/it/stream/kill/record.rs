//! Records that say who they are: from an id follow the stream, the kind, the key and every byte.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Keys of records that have one.
const KEYS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What is to become of a record. The first seven go to stream `a`, whose transform reads the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Keyed,
    /// Keyed, and busy for about as long as a call may take.
    Slow,
    Twice,
    Dropped,
    Failed,
    Trap,
    /// Delivered nowhere, for the prefix wants a key.
    Keyless,
    Row,
    /// No JSON: as Parquet it fails, as a line it does not.
    NoRow,
}

impl Kind {
    const ALL: [Kind; 9] = {
        use Kind::*;
        [Keyed, Slow, Twice, Dropped, Failed, Trap, Keyless, Row, NoRow]
    };

    /// What a record's bytes begin with, and whether a key follows.
    fn head(self) -> (&'static str, bool) {
        match self {
            Kind::Keyed => ("K", true),
            Kind::Slow => ("T", true),
            Kind::Twice => ("2", true),
            Kind::Dropped => ("D", true),
            Kind::Failed => ("F", true),
            Kind::Trap => ("P", true),
            Kind::Keyless => ("x", true),
            Kind::Row => ("", false),
            Kind::NoRow => ("no row ", false),
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl Id {
    fn new(number: u64, kind: Kind, big: bool) -> Id {
        Id(number << 5 | u64::from(big) << 4 | kind as u64)
    }

    /// `None`: an id that was never given.
    pub fn kind(self) -> Option<Kind> {
        Kind::ALL.get((self.0 & 15) as usize).copied()
    }

    pub fn stream(self) -> usize {
        usize::from(matches!(self.kind(), Some(Kind::Row | Kind::NoRow)))
    }

    pub fn key(self) -> char {
        KEYS[((self.0 >> 5) % 62) as usize].into()
    }

    pub fn pad(self) -> String {
        let word = mix(self.0);
        let repeats = if self.0 & 16 != 0 { 2400 } else { word as usize % 16 };
        format!("{word:016x}.").repeat(repeats)
    }

    pub fn bytes(self) -> Vec<u8> {
        let (head, keyed) = self.kind().expect("a record that was made").head();
        let key = if keyed { self.key().to_string() } else { String::new() };
        format!("{head}{key}{{\"id\":{},\"pad\":\"{}\"}}", self.0, self.pad()).into_bytes()
    }

    /// The record at the beginning of `bytes`, if every one of its bytes is there, and its length.
    pub fn at(bytes: &[u8]) -> Option<(Id, usize)> {
        let head = &bytes[..bytes.len().min(40)];
        let begin = head.windows(5).position(|w| w == b"\"id\":")? + 5;
        let digits = head[begin..].iter().take_while(|b| b.is_ascii_digit()).count();
        let id = Id(std::str::from_utf8(&head[begin..begin + digits]).ok()?.parse().ok()?);
        id.kind()?;
        let expected = id.bytes();
        bytes.starts_with(&expected).then_some((id, expected.len()))
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// A source of numbers that a seed repeats.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % n
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub fn fork(&mut self) -> Rng {
        Rng(mix(self.below(u64::MAX)))
    }
}

/// What the client knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sent, and no answer came.
    InDoubt,
    Acked,
    /// Told to come back later, which the client does not do.
    Refused,
}

/// Every record ever sent.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<BTreeMap<Id, Fate>>>);

impl Known {
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, Fate>> {
        self.0.lock().expect("nobody panics holding it")
    }

    /// A new record, in doubt until it is answered.
    pub fn issue(&self, kind: Kind, big: bool) -> Id {
        let mut all = self.lock();
        let id = Id::new(all.len() as u64 + 1, kind, big);
        all.insert(id, Fate::InDoubt);
        id
    }

    pub fn answered(&self, ids: &[Id], fate: Fate) {
        let mut all = self.lock();
        all.extend(ids.iter().map(|id| (*id, fate)));
    }
}
