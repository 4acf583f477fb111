//! Settings of the memory that may hold records.

use super::read::{self, TextOr};
use crate::units::{ByteSize, Percent};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// The memory that may hold records. In YAML either the size alone or a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The whole budget.
    pub size: ByteSize,
    /// The part of it that requests may fill before they are told to come back later.
    pub intake_share: Percent,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { size: ByteSize::mib(192), intake_share: Percent(25) }
    }
}

impl Memory {
    pub fn intake(&self) -> ByteSize {
        self.intake_share.of(self.size)
    }
}

/// The mapping form.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct MemoryYaml {
    /// The whole budget, 16MiB to 1TiB.
    size: ByteSize,
    /// The part of it that requests may fill before they are told to come back later: at least 12MiB, which a request
    /// of the largest size takes.
    intake_share: Percent,
}

impl Default for MemoryYaml {
    fn default() -> Self {
        let Memory { size, intake_share } = Memory::default();
        MemoryYaml { size, intake_share }
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let alone = |text: &str| Some(Memory { size: text.parse().ok()?, ..Memory::default() });
        let expected = "a size such as `192MiB`, or a mapping with `size` and `intake_share`";
        Ok(match read::text_or::<_, MemoryYaml, _>(deserializer, expected, alone)? {
            TextOr::Text(memory) => memory,
            TextOr::Mapping(MemoryYaml { size, intake_share }) => Memory { size, intake_share },
        })
    }
}

impl JsonSchema for Memory {
    fn schema_name() -> Cow<'static, str> {
        "Memory".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = MemoryYaml::json_schema(generator);
        json_schema!({
            "description": "The memory that may hold records: its size alone, or a mapping.",
            "anyOf": [{ "type": ["string", "integer"] }, mapping],
        })
    }
}
