//! Which member a key names. Records of a stream have the same keys in the same order most of the time, so the next key is
//! predicted from the last one, as it was spelled then, and compared as a whole; what was seen before is found by its bytes.

use super::SerdeRules;
use super::text::{BLOCK, Text};
use crate::format::schema::NamedType;
use std::borrow::Cow;
use std::collections::HashMap;

/// Members of an object, by the keys that name them.
pub(super) struct KeyNames {
    /// The members' own names, in the schema's order.
    pub(super) names: Vec<String>,
    /// From a key, in the form that keys are compared in, to a member.
    members: HashMap<String, u32>,
    /// Two members that are read from one key.
    same_key: Option<(u32, u32)>,
    ignores_case: bool,
    dots_to_underscores: bool,
}

impl KeyNames {
    pub(super) fn new(members: &[NamedType], rules: &SerdeRules) -> KeyNames {
        let mut found = KeyNames {
            members: HashMap::new(),
            same_key: None,
            ignores_case: rules.ignores_case(),
            dots_to_underscores: rules.dots_to_underscores(),
            names: members.iter().map(|member| member.name.clone()).collect(),
        };
        let key = |member: &NamedType| found.compared(member.key.as_deref().unwrap_or(rules.key_of(&member.name)));
        let keys: Vec<String> = members.iter().map(key).collect();
        for (number, key) in (0..).zip(keys) {
            if let Some(first) = found.members.insert(key, number) {
                found.same_key = Some((first, number));
            }
        }
        found
    }

    /// Two members that are read from one key, if there are such.
    pub(super) fn same_key(&self) -> Option<(&str, &str)> {
        let (first, second) = self.same_key?;
        Some((&self.names[first as usize], &self.names[second as usize]))
    }

    /// A key in the form that keys are compared in.
    fn compared(&self, key: &str) -> String {
        let key = if self.ignores_case { key.to_lowercase() } else { key.to_owned() };
        if self.dots_to_underscores { key.replace('.', "_") } else { key }
    }

    /// The member that a key names.
    pub(super) fn member(&self, key: &str) -> Option<u32> {
        self.members.get(self.compared(key).as_str()).copied()
    }
}

/// Keys as they were spelled, with what they name.
pub(super) struct KeyTable {
    /// The first one stands for the beginning of an object.
    seen: Vec<SeenKey>,
    /// Their bytes, with quotation marks and the colon.
    spelled: Vec<Box<[u8]>>,
    /// Places in `seen`, by a hash of the key's bytes; 0 is none.
    slots: Vec<u16>,
    /// Some of the keys that name no member and could not be remembered.
    others: Vec<String>,
}

/// A key as records spell it.
struct SeenKey {
    /// The first sixteen bytes of a comma and the key, as two numbers; what is behind a shorter key is 0.
    head: [u64; 2],
    mask: [u64; 2],
    /// Bytes of the comma, the key and the colon.
    len: u32,
    member: u32,
    /// The key that followed it when that was last looked at.
    next: u16,
}

/// A member that a key does not name.
const NO_MEMBER: u32 = u32::MAX;
/// Keys that are remembered; objects whose keys are data have no end of them.
const SEEN_MAX: usize = 1024;
/// Bytes of a key that is remembered.
const SPELLED_MAX: usize = 256;
/// Keys that are noted though they are not remembered, and what is kept of one.
const OTHERS_MAX: usize = 16;
const OTHER_CHARS_MAX: usize = 100;
/// Slots that are looked at; a key that stands behind others is looked up anew each time.
const PROBES_MAX: usize = 8;

/// A place in a [`KeyTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen(u16);

impl Seen {
    /// The beginning of an object.
    pub(super) const BEGINNING: Seen = Seen(0);
}

impl Default for KeyTable {
    fn default() -> Self {
        // No key is like it.
        let beginning = SeenKey { head: [1; 2], mask: [0; 2], len: 0, member: NO_MEMBER, next: 0 };
        KeyTable { seen: vec![beginning], spelled: vec![Box::default()], slots: vec![0; 64], others: Vec::new() }
    }
}

impl KeyTable {
    /// The member that a key names, if it names one.
    #[inline(always)]
    pub(super) fn member(&self, key: Seen) -> Option<usize> {
        let member = self.seen[key.0 as usize].member;
        (member != NO_MEMBER).then_some(member as usize)
    }

    /// If at `at` there is a comma, and the key that followed `last` before: which, and the place behind its colon.
    #[inline(always)]
    pub(super) fn predicted(&self, last: Seen, text: Text, at: usize) -> Option<(Seen, usize)> {
        self.expected(last, halves(text.block(at)?), text, at)
    }

    /// The same of the first key of an object, which stands at `at` without a comma.
    #[inline(always)]
    pub(super) fn predicted_first(&self, text: Text, at: usize) -> Option<(Seen, usize)> {
        self.expected(Seen::BEGINNING, after_comma(text.block(at)?), text, at - 1)
    }

    #[inline(always)]
    fn expected(&self, last: Seen, [first, second]: [u64; 2], text: Text, at: usize) -> Option<(Seen, usize)> {
        let next = self.seen[last.0 as usize].next;
        let key = &self.seen[next as usize];
        let other = (first & key.mask[0]) ^ key.head[0] | (second & key.mask[1]) ^ key.head[1];
        let len = key.len as usize;
        let matches = other == 0 && (len <= BLOCK || text.starts_with(at + 1, &self.spelled[next as usize]));
        matches.then_some((Seen(next), at + len))
    }

    /// A key of that length at `at` that was seen before as it is spelled; it follows `last` from now on.
    #[inline]
    pub(super) fn find(&mut self, last: Seen, text: Text, at: usize, len: usize) -> Option<Seen> {
        let (head, len) = (head(text.block(at)?, len), len + 1);
        let hash = hash(head, len);
        for probe in 0..PROBES_MAX {
            let found = self.slots[(hash + probe) & (self.slots.len() - 1)];
            let key = &self.seen[found as usize];
            if key.head == head && key.len as usize == len {
                let is_same = len <= BLOCK || text.starts_with(at, &self.spelled[found as usize]);
                if is_same {
                    self.seen[last.0 as usize].next = found;
                    return Some(Seen(found));
                }
            }
            if found == 0 {
                return None;
            }
        }
        None
    }

    /// Remembers a key, if there is room. It follows `last` from now on.
    pub(super) fn remember(&mut self, last: Seen, spelled: &[u8], member: Option<u32>) -> Option<Seen> {
        if self.seen.len() >= SEEN_MAX || spelled.len() > SPELLED_MAX {
            return None;
        }
        if 2 * self.seen.len() >= self.slots.len() {
            self.slots = vec![0; 2 * self.slots.len()];
            (1..self.seen.len()).for_each(|place| self.place(place));
        }
        let place = self.seen.len();
        let block: [u8; BLOCK] = std::array::from_fn(|i| spelled.get(i).copied().unwrap_or(0));
        let (head, len) = (head(&block, spelled.len()), spelled.len() + 1);
        let member = member.unwrap_or(NO_MEMBER);
        self.seen.push(SeenKey { head, mask: mask(len), len: len as u32, member, next: 0 });
        self.spelled.push(spelled.into());
        self.place(place);
        self.seen[last.0 as usize].next = place as u16;
        Some(Seen(place as u16))
    }

    fn place(&mut self, place: usize) {
        let SeenKey { head, len, .. } = self.seen[place];
        let hash = hash(head, len as usize);
        let last = self.slots.len() - 1;
        if let Some(slot) = (0..PROBES_MAX).map(|probe| (hash + probe) & last).find(|slot| self.slots[*slot] == 0) {
            self.slots[slot] = place as u16;
        }
    }

    /// Takes note of a key that names no member and is not remembered.
    pub(super) fn note_unknown(&mut self, key: &str) {
        if self.others.len() < OTHERS_MAX && !self.others.iter().any(|other| other == key) {
            self.others.push(key.chars().take(OTHER_CHARS_MAX).collect());
        }
    }

    /// Keys that were seen and name no member; some of them, if there are many.
    pub(super) fn unknown(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let keys = self.seen.iter().zip(&self.spelled).skip(1);
        let keys = keys.filter(|(key, _)| key.member == NO_MEMBER);
        // Without its quotation marks and the colon.
        let remembered = keys.map(|(_, spelled)| String::from_utf8_lossy(&spelled[1..spelled.len() - 2]));
        remembered.chain(self.others.iter().map(|other| other.as_str().into()))
    }
}

#[inline(always)]
fn halves(block: &[u8; BLOCK]) -> [u64; 2] {
    let half = |at: usize| u64::from_le_bytes(*block[at..].first_chunk().expect("a block has two halves"));
    [half(0), half(8)]
}

/// The bits of the first sixteen bytes that belong to a key of that length.
#[inline(always)]
fn mask(len: usize) -> [u64; 2] {
    let ones = |bytes: usize| if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 };
    [ones(len), ones(len.saturating_sub(8))]
}

/// The head of a key of that length which begins a block.
#[inline(always)]
fn head(block: &[u8; BLOCK], len: usize) -> [u64; 2] {
    let ([first, second], mask) = (after_comma(block), mask(len + 1));
    [first & mask[0], second & mask[1]]
}

/// A comma and the bytes of a block, but the last one.
#[inline(always)]
fn after_comma(block: &[u8; BLOCK]) -> [u64; 2] {
    let [first, second] = halves(block);
    [first << 8 | u64::from(b','), second << 8 | first >> 56]
}

/// The first sixteen bytes of a key, and its length, mixed. Who makes keys collide has them looked up the slow way.
#[inline(always)]
fn hash(head: [u64; 2], len: usize) -> usize {
    let mixed = (head[0] ^ head[1].rotate_left(29) ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}
