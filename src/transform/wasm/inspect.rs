//! What `hydrant transform inspect` shows.

use super::module::{Module, Outline, compile};
use crate::error::Result;

/// A component from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Of the contract; `None` if the component was built for something else.
    pub version: Option<String>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// Whether it wants to be configured.
    pub has_init: bool,
    /// The file's size.
    pub bytes: usize,
    /// Of the file, in hex.
    pub sha256: String,
    /// Why [`Module::load`] refuses it, if it does.
    pub refusal: Option<String>,
}

/// Compiles and describes a component, also one that would be refused. An error means that it is none.
pub fn inspect(bytes: &[u8]) -> Result<Inspection> {
    let (component, sha256, _) = compile(bytes, None)?;
    let outline = Outline::of(&component);
    Ok(Inspection {
        version: outline.version().map(str::to_owned),
        has_init: outline.has("init"),
        bytes: bytes.len(),
        sha256: sha256.clone(),
        refusal: Module::check(component, sha256, false).err().map(|e| e.to_string()),
        imports: outline.imports,
        exports: outline.exports,
    })
}
