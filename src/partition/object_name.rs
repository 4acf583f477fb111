//! The name that an object gets when it is planned.

use jiff::Zoned;
use uuid::Uuid;

/// What the name of an object says besides its prefix.
pub struct ObjectName<'a> {
    pub stream: &'a str,
    /// Of the stream; manifests have none.
    pub version: Option<u64>,
    /// The time of its oldest record, in the stream's time zone.
    pub oldest_arrival: &'a Zoned,
    pub id: &'a Uuid,
    pub extension: &'a str,
}

impl ObjectName<'_> {
    /// The key of the object in its bucket: `<prefix><stream>-<version>-<yyyy>-<MM>-<dd>-<HH>-<mm>-<ss>-<uuid><extension>`
    /// (developer guide, "s3-object-name"). At most `OBJECT_KEY_BYTES_MAX` for an evaluated prefix, a stream name of up
    /// to 64 characters and an extension of up to 128, which are Firehose's limits.
    pub fn below(&self, prefix: &str) -> String {
        let ObjectName { stream, version, oldest_arrival, id, extension } = self;
        let time = oldest_arrival.strftime("%Y-%m-%d-%H-%M-%S");
        let version = version.map_or(String::new(), |v| format!("-{v}"));
        format!("{prefix}{stream}{version}-{time}-{}{extension}", id.hyphenated())
    }
}

/// Whether a name is one that [`ObjectName`] gives a stream's objects, with a version or without.
pub fn is_object_of(name: &str, stream: &str, has_version: bool) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    let Some(rest) = file.strip_prefix(stream).and_then(|rest| rest.strip_prefix('-')) else { return false };
    let parts: Vec<&str> = rest.split('-').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    // Six of the time, five of the UUID.
    let (version, time) = parts.split_at(has_version as usize);
    time.len() == 11
        && version.iter().all(|part| is_number(part))
        && time.iter().zip([4, 2, 2, 2, 2, 2]).all(|(part, digits)| part.len() == digits && is_number(part))
}
