//! What the files of a plan log and their copies tell together, read without changing anything.
//!
//! A generation is read from its file and from its copy at once: at each place stands one frame, in whichever of them it
//! is true. The copy is written after its file is synced and may end earlier. So a frame that stands in neither was never
//! durable, unless a later one is true: then the medium has lost it, and no older state is believed instead.

use super::frame::{FIRST_FRAME, FRAME_HEADER, MAGIC, VERSION, entries_of, frame_at};
use super::{FILES, FRONTIER, frontier_identity, names};
use crate::error::{Error, Kind, Result};
use crate::fs::{FileLook, Fs, look};
use crate::journal::frame::seed;
use crate::sabotage;
use crate::stream::plan::Entry;
use crate::stream::plan::state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What was found.
#[derive(Default)]
pub struct FoundLog {
    pub state: State,
    /// Where it was found.
    pub(super) slot: usize,
    /// The highest generation of which there is a trace.
    pub highest: u64,
    /// The generation that stands whole in each slot.
    pub(super) whole: [Option<u64>; FILES],
    /// Bytes of each file, and of its copy.
    pub(super) lengths: [[u64; 2]; FILES],
    /// What was damaged and could be read from a copy. A sentence each.
    pub damage: Vec<String>,
    /// Whether there is any file of a plan log, written or not.
    pub exists: bool,
    /// How far the log reaches.
    reach: LogReach,
    /// Whether there is a note of how far it was durable.
    pub is_noted: bool,
    /// The number of that note.
    pub(super) noted: u64,
}

/// Where the last commit of a generation ends in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct LogReach {
    generation: u64,
    at: u64,
}

impl LogReach {
    /// What is missing where the log reaches no further than `self`, and the note of how far it was durable says `noted`.
    fn lacks(self, noted: LogReach) -> Option<String> {
        (self < noted && !sabotage::on("short_plan_log_believed")).then(|| {
            format!(
                "it was durable to byte {} of generation {}, as `{FRONTIER}` says, and can be read to byte {} of generation {} only",
                noted.at, noted.generation, self.at, self.generation
            )
        })
    }
}

/// What the note beside the files says.
fn noted(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16], found: &mut FoundLog) -> Result<LogReach> {
    let noted = frontier_identity(incarnation).read(fs, &dir.join(FRONTIER))?;
    (found.is_noted, found.noted) = (noted.exists, noted.sequence);
    found.damage.extend(noted.damage);
    let [generation, at] = noted.words;
    Ok(LogReach { generation, at })
}

/// A file, or a copy, that holds frames of a generation.
struct Image {
    slot: usize,
    is_copy: bool,
    name: String,
    generation: u64,
    bytes: Vec<u8>,
    /// What is wrong with it, if its header is not true.
    header: Option<&'static str>,
}

/// What a file's header says.
enum Head {
    /// Nothing was written yet.
    Unused,
    True(u64),
    /// True, and not what this build writes for this lane.
    Alien(u64, String),
    Damaged,
}

/// A generation, as far as its images tell it.
struct Spliced {
    state: Option<State>,
    /// Where its last commit ends.
    end: u64,
    /// What the medium has lost, if it has.
    hole: Option<String>,
    damage: Vec<String>,
}

/// The state that the log in `dir` tells.
///
/// Errors: `Corrupt` if a commit that was durable stands nowhere any more, `Invalid` if the files are not of this lane or
/// of a later format.
pub fn find(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<FoundLog> {
    let mut found = FoundLog::default();
    // The note first: while the service runs, the files are never behind it.
    let noted = noted(fs, dir, incarnation, &mut found)?;
    let LoadedFiles { images, aliens, unplaced } = load(fs, dir, incarnation, &mut found)?;
    if let Some((_, why, image)) = aliens.into_iter().find(|(generation, ..)| *generation > found.highest) {
        return Err(Error::new(Kind::Invalid, format!("`{}`: {why}", image.name)));
    }
    choose(&mut found, &images, incarnation)?;
    if found.whole == [None; FILES] && !unplaced.is_empty() {
        return Err(Error::new(Kind::Corrupt, format!("no header can be read of {}", unplaced.join(", "))));
    }
    match found.reach.lacks(noted) {
        Some(why) => Err(Error::new(Kind::Corrupt, why)),
        None => Ok(found),
    }
}

/// The files of a plan log, read.
struct LoadedFiles {
    images: Vec<Image>,
    /// True, and not of this lane or format: generation, why, and the file.
    aliens: Vec<(u64, String, Image)>,
    /// Names of files that belong to no generation that is known.
    unplaced: Vec<String>,
}

fn load(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16], found: &mut FoundLog) -> Result<LoadedFiles> {
    let (mut images, mut aliens, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for slot in 0..FILES {
        // Copies first: while the service runs, a file is never behind a copy that was read before it.
        for (i, name) in names(slot).into_iter().enumerate().rev() {
            let bytes = match look(fs, &dir.join(&name)).map_err(|e| Error::io(format!("read `{name}`"), e))? {
                FileLook::Absent => continue,
                FileLook::Bytes(bytes) => bytes,
                // What stood there is in its copy, or is missed by the note.
                FileLook::Unreadable(e) => {
                    found.exists = true;
                    found.damage.push(format!("`{name}` cannot be read: {e}"));
                    continue;
                }
            };
            found.exists = true;
            found.lengths[slot][i] = bytes.len() as u64;
            let mut image = Image { slot, is_copy: i == 1, name, generation: 0, bytes, header: None };
            match head(&image.bytes, incarnation) {
                Head::Unused => {}
                Head::True(generation) => {
                    image.generation = generation;
                    images.push(image);
                }
                Head::Alien(generation, why) => aliens.push((generation, why, image)),
                Head::Damaged => unknown.push(image),
            }
        }
    }
    // A flipped version looks like that of a later build.
    let is_known = |(generation, _, image): &(u64, String, Image)| {
        images.iter().any(|i: &Image| i.generation == *generation && i.slot == image.slot)
    };
    let (flipped, aliens): (Vec<_>, Vec<_>) = aliens.into_iter().partition(is_known);
    unknown.extend(flipped.into_iter().map(|(_, _, image)| image));
    let unplaced = place(unknown, &mut images, incarnation);
    found.highest = images.iter().map(|i| i.generation).max().unwrap_or(0);
    Ok(LoadedFiles { images, aliens, unplaced })
}

/// Everything that can still be read of a damaged log, in order: the commits around those that are gone, too. What is
/// gone comes with it, a sentence each.
pub fn salvage(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<(FoundLog, Vec<String>)> {
    let mut found = FoundLog::default();
    let noted = noted(fs, dir, incarnation, &mut found)?;
    let LoadedFiles { images, unplaced, .. } = load(fs, dir, incarnation, &mut found)?;
    let mut gone: Vec<String> = unplaced.iter().map(|name| format!("{name} has no header that can be read")).collect();
    let generations: BTreeSet<u64> = images.iter().map(|i| i.generation).collect();
    for image in &images {
        found.whole[image.slot] = found.whole[image.slot].max(Some(image.generation));
        if image.generation == found.highest {
            found.slot = image.slot;
        }
    }
    let mut state: Option<State> = None;
    for generation in generations {
        let seed = seed(incarnation, generation);
        let images: Vec<&Image> = images.iter().filter(|i| i.generation == generation).collect();
        let mut at = FIRST_FRAME as usize;
        while let Some(next) = images.iter().filter_map(|i| next_frame(&i.bytes, at, seed)).min() {
            if next > at {
                gone.push(format!("of generation {generation}, what stood from byte {at} to {next} cannot be read"));
            }
            let payload = images.iter().find_map(|i| i.bytes.get(next..).and_then(|rest| frame_at(rest, seed)));
            let payload = payload.expect("it was just found");
            let entries = entries_of(payload)?;
            match (next == FIRST_FRAME as usize, &mut state) {
                (true, _) => state = Some(State::from_snapshot(entries)),
                (false, state) => {
                    let state = state.get_or_insert_default();
                    entries.into_iter().for_each(|entry| state.apply(entry));
                }
            }
            at = next + FRAME_HEADER + payload.len();
        }
        if at == FIRST_FRAME as usize {
            gone.push(format!("nothing of generation {generation} can be read"));
        }
        found.reach = LogReach { generation, at: at as u64 };
    }
    gone.extend(found.reach.lacks(noted));
    found.state = state.unwrap_or_default();
    Ok((found, gone))
}

/// Takes the highest generation of which everything that was durable is there.
fn choose(found: &mut FoundLog, images: &[Image], incarnation: &[u8; 16]) -> Result<()> {
    let mut generations: BTreeMap<u64, Vec<&Image>> = BTreeMap::new();
    images.iter().for_each(|image| generations.entry(image.generation).or_default().push(image));
    let mut chosen = None;
    for (generation, images) in generations.into_iter().rev() {
        let spliced = splice(&images, seed(incarnation, generation))?;
        let (slot, reach) = (images[0].slot, LogReach { generation, at: spliced.end });
        if spliced.state.is_some() && found.whole[slot].is_none() {
            found.whole[slot] = Some(generation);
        }
        if chosen.is_some() {
            continue;
        }
        let names = || images.iter().map(|i| format!("`{}`", i.name)).collect::<Vec<_>>().join(" and ");
        match (spliced.hole, spliced.state) {
            (_, state) if sabotage::on("short_plan_log_believed") => {
                chosen = state.map(|state| (slot, state, spliced.damage, reach));
            }
            (Some(hole), _) => return Err(Error::new(Kind::Corrupt, format!("{}: {hole}", names()))),
            (None, Some(state)) => chosen = Some((slot, state, spliced.damage, reach)),
            // It was being written, and nothing was done because of it.
            (None, None) if images.iter().all(|i| !i.is_copy && i.header.is_none()) => {}
            (None, None) => {
                let message = format!("{}: the snapshot of generation {generation} cannot be read", names());
                return Err(Error::new(Kind::Corrupt, message));
            }
        }
    }
    if let Some((slot, state, damage, reach)) = chosen {
        (found.slot, found.state, found.reach) = (slot, state, reach);
        found.damage.extend(damage);
    }
    Ok(())
}

fn head(bytes: &[u8], incarnation: &[u8; 16]) -> Head {
    let Some(header) = bytes.get(..FIRST_FRAME as usize).filter(|h| h.iter().any(|b| *b != 0)) else {
        return Head::Unused;
    };
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if header[..8] != MAGIC || word(12) != crc32c::crc32c(&header[16..40]) {
        return Head::Damaged;
    }
    let generation = u64::from_le_bytes(header[32..40].try_into().expect("eight bytes"));
    match word(8) {
        VERSION if header[16..32] == incarnation[..] => Head::True(generation),
        VERSION => Head::Alien(generation, "it belongs to another journal (incarnation differs)".into()),
        version => Head::Alien(generation, format!("format version {version}, expected {VERSION}")),
    }
}

/// Finds the generations of files whose header is damaged: that of the other copy, or one near those that are known, if
/// frames are true under it. The names of those that have none.
fn place(unknown: Vec<Image>, images: &mut Vec<Image>, incarnation: &[u8; 16]) -> Vec<String> {
    let known = images.iter().map(|i| i.generation).max().unwrap_or(0);
    let near = (known + 1).saturating_sub(2 * FILES as u64).max(1)..=known + FILES as u64;
    let mut unplaced = Vec::new();
    for image in unknown {
        let twin = images.iter().find(|i| i.slot == image.slot && i.is_copy != image.is_copy).map(|i| i.generation);
        let seed = |generation: &u64| seed(incarnation, *generation);
        let begins = |generation: &u64| frame_at(&image.bytes[FIRST_FRAME as usize..], seed(generation)).is_some();
        let goes_on = |generation: &u64| next_frame(&image.bytes, FIRST_FRAME as usize, seed(generation)).is_some();
        // Its first frame tells before any other: behind a short content stands what was left of an older one.
        match near.clone().rev().find(begins).or(twin.filter(goes_on)) {
            Some(generation) => images.push(Image { generation, header: Some("its header is damaged"), ..image }),
            None => unplaced.push(format!("`{}`", image.name)),
        }
    }
    unplaced
}

/// Where the first true frame at or behind `from` stands.
fn next_frame(bytes: &[u8], from: usize, seed: u32) -> Option<usize> {
    (from..bytes.len().saturating_sub(FRAME_HEADER)).step_by(8).find(|&at| frame_at(&bytes[at..], seed).is_some())
}

fn splice(images: &[&Image], seed: u32) -> Result<Spliced> {
    let mut spliced = Spliced { state: None, end: 0, hole: None, damage: Vec::new() };
    let mut missing: Vec<Vec<usize>> = vec![Vec::new(); images.len()];
    let (mut at, mut state) = (FIRST_FRAME as usize, None);
    loop {
        let here = |image: &&Image| image.bytes.get(at..).and_then(|rest| frame_at(rest, seed)).map(<[u8]>::to_vec);
        let copies: Vec<Option<Vec<u8>>> = images.iter().map(here).collect();
        let Some(payload) = copies.iter().flatten().next() else { break };
        for (missing, copy) in missing.iter_mut().zip(&copies) {
            missing.extend(copy.is_none().then_some(at));
        }
        let entries: Vec<Entry> = entries_of(payload)?;
        state = Some(match state.take() {
            None => State::from_snapshot(entries),
            Some(state) => entries.into_iter().fold(state, |mut state: State, entry| {
                state.apply(entry);
                state
            }),
        });
        at += FRAME_HEADER + payload.len();
    }
    if let Some(later) = images.iter().filter_map(|i| next_frame(&i.bytes, at + 8, seed)).min() {
        spliced.hole = Some(format!("the commit at {at} cannot be read, but a later one at {later} can"));
    }
    // A copy is not synced and may lack anything; what it lacks costs nothing while the file is whole.
    for (image, missing) in images.iter().zip(missing).filter(|(image, _)| !image.is_copy) {
        let place = missing.first().map(|m| format!("what stands at {m} cannot be read"));
        let what = image.header.map(str::to_owned).or(place);
        spliced
            .damage
            .extend(what.map(|what| format!("`{}` is damaged, and was read from its copy: {what}", image.name)));
    }
    if let [copy] = images
        && copy.is_copy
    {
        spliced.damage.push(format!("the file of `{}` is damaged or gone, and was read from it", copy.name));
    }
    (spliced.state, spliced.end) = (state, at as u64);
    Ok(spliced)
}
