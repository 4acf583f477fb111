//! The constraints of Firehose's model on the members of a request (docs/firehose.md: "Constraints", "Operations"). All that a request breaks is
//! told in one answer, in the order of the model's members.

use super::error::ApiError;
use serde_json::Number;
use std::ops::RangeInclusive;

const NULL: &str = "Member must not be null";
const NAME_CHARS_MAX: usize = 64;
const STREAM_TYPES: [&str; 4] = ["DirectPut", "KinesisStreamAsSource", "MSKAsSource", "DatabaseAsSource"];

/// What a request breaks.
#[derive(Default)]
pub(super) struct Violations(Vec<String>);

impl Violations {
    pub(super) fn add(&mut self, path: &str, constraint: &str) {
        self.0.push(format!("Value at '{path}' failed to satisfy constraint: {constraint}"));
    }

    pub(super) fn required<T>(&mut self, path: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(path, NULL);
        }
        value
    }

    /// The member `DeliveryStreamName`; empty if it is not there.
    pub(super) fn stream_name(&mut self, name: Option<impl Into<String>>) -> String {
        let name = self.required("deliveryStreamName", name).map(Into::into);
        name.as_deref().into_iter().for_each(|name| self.name("deliveryStreamName", name));
        name.unwrap_or_default()
    }

    /// A stream's name at any member.
    pub(super) fn name(&mut self, path: &str, name: &str) {
        self.length(path, name, 1..=NAME_CHARS_MAX);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            self.add(path, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
        }
    }

    /// The member `ExclusiveStartDestinationId`.
    pub(super) fn destination_id(&mut self, id: &str) {
        let path = "exclusiveStartDestinationId";
        self.length(path, id, 1..=100);
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            self.add(path, "Member must satisfy regular expression pattern: [a-zA-Z0-9-]+");
        }
    }

    /// A tag's key at any member. Those that begin with `aws:` are the service's own.
    pub(super) fn tag_key(&mut self, path: &str, key: &str) {
        self.length(path, key, 1..=128);
        let is_allowed =
            |c: char| c.is_alphanumeric() || c.is_whitespace() && !c.is_control() || "_.:/=+-@%".contains(c);
        if key.starts_with("aws:") || !key.chars().all(is_allowed) {
            self.add(path, r"Member must satisfy regular expression pattern: ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$");
        }
    }

    /// The member `DeliveryStreamType`.
    pub(super) fn stream_type(&mut self, of: &str) {
        if !STREAM_TYPES.contains(&of) {
            let set = STREAM_TYPES.join(", ");
            self.add("deliveryStreamType", &format!("Member must satisfy enum value set: [{set}]"));
        }
    }

    /// The member `Limit`, or its default. Another number than an integer is no number of the model at all.
    pub(super) fn limit(
        &mut self,
        limit: Option<Number>,
        range: RangeInclusive<i64>,
        default: i64,
    ) -> Result<i64, ApiError> {
        let Some(given) = limit else { return Ok(default) };
        let expected = || ApiError::serialization(format!("Limit: found {given}, expected an integer"));
        let limit = given.as_i64().ok_or_else(expected)?;
        match limit {
            _ if range.contains(&limit) => {}
            ..=0 => self.add("limit", &format!("Member must have value greater than or equal to {}", range.start())),
            _ => self.add("limit", &format!("Member must have value less than or equal to {}", range.end())),
        }
        Ok(limit)
    }

    fn length(&mut self, path: &str, text: &str, range: RangeInclusive<usize>) {
        let chars = text.chars().count();
        if chars < *range.start() {
            self.add(path, &format!("Member must have length greater than or equal to {}", range.start()));
        } else if chars > *range.end() {
            self.add(path, &format!("Member must have length less than or equal to {}", range.end()));
        }
    }

    /// The answer, if anything is broken.
    pub(super) fn check(self) -> Result<(), ApiError> {
        let noun = match self.0.len() {
            0 => return Ok(()),
            1 => "error",
            _ => "errors",
        };
        let message = format!("{} validation {noun} detected: {}", self.0.len(), self.0.join("; "));
        Err(ApiError::new(400, "ValidationException", message))
    }
}
