//! How a stream's stores are reached for plans that outlive their configuration: a stream that the file does not name any
//! more, a backup that was switched off. What configurations said of it is in a file of the stream's directory, newest
//! first, with references in place of secrets.

use crate::config::{LoadedPlaces, Places, StreamConfig};
use crate::destination::{DestinationKind, Way};
use crate::error::{Error, Kind, Result};
use crate::fs::Fs;
use crate::stream::state_log::{plan_log, sealed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// The file's name.
const FILE: &str = "PLACES";

#[derive(Default, Serialize, Deserialize)]
struct KeptPlaces {
    versions: Vec<Places>,
}

/// What configurations before the one in force say, newest first.
#[derive(Default)]
pub struct Before(pub(super) Vec<PlacesVersion>);

/// What one of them says of ways that no newer one has.
pub(super) struct PlacesVersion {
    pub(super) ways: Vec<Way>,
    pub(super) kind: Option<DestinationKind>,
    pub(super) loaded: LoadedPlaces,
}

/// What [`keep`] found and did.
pub(in crate::stream) struct Keeping {
    pub(in crate::stream) before: Before,
    /// What of the file was damaged.
    pub(in crate::stream) damage: Option<String>,
    /// Why the configuration's places are not kept yet: there is no room.
    pub(in crate::stream) unkept: Option<Error>,
}

/// Keeps how a configuration reaches its places in the stream's `dir`, durable when it returns unless there is no room, and
/// returns what is known of those before it; without a configuration, of all.
pub(in crate::stream) fn keep(fs: &dyn Fs, dir: &Path, config: Option<&StreamConfig>) -> Result<Keeping> {
    let path = dir.join(FILE);
    let (found, damage) = read(fs, dir)?;
    let (before, versions) = load(&found, config.map(|config| &config.places), &path.display().to_string());
    let mut unkept = None;
    let is_kept = versions == found && damage.is_none();
    let is_kept_twice = is_kept && sealed::is_kept_twice(fs, &path);
    if !versions.is_empty() && !is_kept_twice {
        match sealed::write(fs, &path, &KeptPlaces { versions }) {
            // What is known is kept; what is missing is its copy, which is written at another start.
            Err(e) if is_kept => {
                tracing::warn!(error = %e, "the copy of a stream's places cannot be written again yet")
            }
            Err(e) if e.kind == Kind::NoSpace => unkept = Some(e),
            done => done?,
        }
    }
    Ok(Keeping { before, damage, unkept })
}

/// What is damaged of what is kept in the stream's `dir`, for who only looks.
pub(in crate::stream) fn damage(fs: &dyn Fs, dir: &Path) -> Result<Option<String>> {
    Ok(read(fs, dir)?.1)
}

/// The versions that are kept, and what of them is damaged. A file that cannot be read is an error: it may be whole.
fn read(fs: &dyn Fs, dir: &Path) -> Result<(Vec<Places>, Option<String>)> {
    let what = "plans that go where the configuration does not lead any more may have to be given up on";
    match sealed::read::<KeptPlaces>(fs, &dir.join(FILE)) {
        Ok(Some((kept, damage))) => Ok((kept.versions, damage)),
        // Every stream that this version has run has one; a shard has those of its stream.
        Ok(None)
            if plan_log::has_note(fs, dir) && fs.list(&dir.join("journal")).is_ok_and(|found| !found.is_empty()) =>
        {
            Ok((Vec::new(), Some(format!("`{}` is not there, nor its copy: {what}", dir.join(FILE).display()))))
        }
        Ok(None) => Ok(Default::default()),
        Err(e) if e.kind == Kind::Corrupt => Ok((Vec::new(), Some(format!("{e}: {what}")))),
        Err(e) => Err(e),
    }
}

/// Reads versions under today's environment, and leaves out those that newer ones have every way of. A way belongs to the
/// newest version that has it, also if that one cannot be read: what is older leads elsewhere.
fn load(found: &[Places], current: Option<&Places>, file: &str) -> (Before, Vec<Places>) {
    let mut kept: Vec<Places> = current.into_iter().cloned().collect();
    let mut known: BTreeSet<Way> = current.map(Places::ways).into_iter().flatten().collect();
    let mut before = Vec::new();
    for version in found.iter().filter(|version| current != Some(version)) {
        let is_newest = kept.is_empty();
        let ways: Vec<Way> = version.ways().into_iter().filter(|way| known.insert(*way)).collect();
        if ways.is_empty() && !is_newest {
            continue;
        }
        let loaded = version.load(file, &|name| std::env::var(name).ok());
        before.push(PlacesVersion { ways, kind: version.kind(), loaded });
        kept.push(version.clone());
    }
    (Before(before), kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::StoreName;
    use crate::fs::fake::FakeFs;
    use crate::stream::lane::sink_settings::SinkSettings;

    const DIR: &str = "/s";

    /// A stream with these lines.
    fn stream(lines: &str) -> StreamConfig {
        let text = format!("streams:\n  s:\n{lines}");
        let config = crate::config::parse(&text, "test.yaml", "/".as_ref(), &|_| Some("value".to_owned()));
        config.expect("it is valid").streams.remove("s").expect("it is there")
    }

    fn http(url: &str, key: &str, backup: &str) -> StreamConfig {
        stream(&format!(
            "    destination: {{ http: {{ url: \"{url}\", access_key: \"{key}\" }} }}\n    backup: {{ {backup} }}\n"
        ))
    }

    /// A disk with the stream's directory.
    fn disk() -> FakeFs {
        let fs = FakeFs::new();
        fs.create_dir_all(Path::new(DIR)).unwrap();
        fs
    }

    fn kept(fs: &FakeFs) -> usize {
        sealed::read::<KeptPlaces>(fs, &Path::new(DIR).join(FILE)).unwrap().unwrap().0.versions.len()
    }

    #[test]
    fn a_way_is_that_of_the_newest_version_also_if_it_cannot_be_read() {
        let fs = disk();
        let keep = |config: Option<&StreamConfig>| keep(&fs, Path::new(DIR), config).unwrap().before;
        keep(Some(&http("http://127.0.0.1:1/old", "", "s3: { bucket: raw }")));
        // The key is left out of one, and what the other one refers to is not set.
        for key in ["written-out", "${env:HYDRANT_TEST_OF_PLACES}"] {
            keep(Some(&http("http://127.0.0.1:1/new", key, "local: { dir: /raw }")));
            let settings = SinkSettings::with_before(None, &keep(None));
            assert_eq!(settings.reaches(), [false, false, true], "the endpoint before is not the one that is meant");
            let why = settings.no_settings(&StoreName::Receiver(DestinationKind::Http)).to_string();
            let expected = if key == "written-out" { "access_key" } else { "HYDRANT_TEST_OF_PLACES" };
            assert!(why.contains(expected), "{why}");
        }
        assert_eq!(kept(&fs), 2);
    }

    #[test]
    fn who_only_looks_is_told_of_damage_and_mends_nothing() {
        let fs = disk();
        assert_eq!(damage(&fs, Path::new(DIR)).unwrap(), None);
        keep(&fs, Path::new(DIR), Some(&http("http://127.0.0.1:1/", "", "s3: { bucket: raw }"))).unwrap();
        assert_eq!(damage(&fs, Path::new(DIR)).unwrap(), None);
        let path = Path::new(DIR).join(FILE);
        for (path, says) in [(path.clone(), "copy"), (crate::fs::copy_of(&path), "given up on")] {
            fs.open(&path).unwrap().write_all_at(b"x", 5).unwrap();
            (0..2).for_each(|_| {
                let found = damage(&fs, Path::new(DIR)).unwrap().expect("damage");
                assert!(found.contains(says), "{found}");
            });
        }
    }

    #[test]
    fn a_part_that_cannot_be_read_hides_no_other_one() {
        let fs = disk();
        let both = http("http://127.0.0.1:1/", "written-out", "s3: { bucket: raw }");
        keep(&fs, Path::new(DIR), Some(&both)).unwrap();
        let settings = SinkSettings::with_before(None, &keep(&fs, Path::new(DIR), None).unwrap().before);
        assert_eq!(settings.reaches(), [false, false, true]);
    }

    #[test]
    fn a_backup_that_is_switched_off_and_keeps_its_keys_hides_none_before() {
        let fs = disk();
        let backup = |mode: &str| http("http://127.0.0.1:1/", "", &format!("mode: {mode}, s3: {{ bucket: raw }}"));
        keep(&fs, Path::new(DIR), Some(&backup("all"))).unwrap();
        let off =
            stream("    destination: { local: { dir: /out } }\n    backup: { mode: none, s3: { bucket: raw } }\n");
        let before = keep(&fs, Path::new(DIR), Some(&off)).unwrap().before;
        assert_eq!(SinkSettings::with_before(Some(&off), &before).reaches(), [false, true, true]);
    }

    #[test]
    fn versions_that_say_nothing_more_are_not_kept() {
        let fs = disk();
        for i in 0..20 {
            let config = http(&format!("http://127.0.0.1:1/{i}"), "written-out", &format!("s3: {{ bucket: raw-{i} }}"));
            keep(&fs, Path::new(DIR), Some(&config)).unwrap();
        }
        assert_eq!(kept(&fs), 1);
    }

    #[test]
    fn what_there_is_no_room_for_is_kept_later() {
        let fs = disk();
        let config = http("http://127.0.0.1:1/", "", "s3: { bucket: raw }");
        fs.set_capacity(Some(0));
        let unkept = keep(&fs, Path::new(DIR), Some(&config)).unwrap().unkept;
        assert_eq!(unkept.map(|e| e.kind), Some(Kind::NoSpace));
        fs.set_capacity(None);
        assert!(keep(&fs, Path::new(DIR), Some(&config)).unwrap().unkept.is_none());
        assert_eq!(kept(&fs), 1);
    }
}
