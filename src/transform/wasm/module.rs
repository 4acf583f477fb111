//! From a file's bytes to something that can be instantiated, or to a sentence that says why not.

use super::bindings::{ConfiguredTransformPre, Transform, TransformPre};
use super::engine::engine;
use super::fault::one_line;
use super::host::HostState;
use super::store;
use crate::error::{Error, Kind, Result};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

/// A larger file is not looked at; those of Python are 18 MB.
const BYTES_MAX: usize = 64 << 20;

/// Digits of the SHA-256 that stand in messages.
const SHORT: usize = 12;

/// Versions `0.1.x` of the contract.
const CONTRACT: (u64, u64) = (0, 1);

/// The interfaces that a guest may import.
const INTERFACES: [&str; 3] = ["types", "log", "metrics"];

/// A transform's code, compiled and checked. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    loaded: Arc<LoadedModule>,
}

struct LoadedModule {
    guest: Guest,
    version: String,
    sha256: String,
    cached: bool,
}

/// Which of the contract's worlds the module is of: with `init` or without.
pub(super) enum Guest {
    Plain(TransformPre<HostState>),
    Configured(ConfiguredTransformPre<HostState>),
}

impl Module {
    /// Compiles a component, or reads the compiled code from `cache_dir` if it is there, and checks that it keeps to the
    /// contract. Every refusal is of [`Kind::Misconfigured`]. May take seconds.
    pub fn load(bytes: &[u8], cache_dir: Option<&Path>) -> Result<Module> {
        let (component, sha256, cached) = compile(bytes, cache_dir)?;
        Module::check(component, sha256, cached)
    }

    pub(super) fn check(component: Component, sha256: String, cached: bool) -> Result<Module> {
        let outline = Outline::of(&component);
        let version = outline.check()?;
        let guest = link(component.engine(), &component, outline.has("init"))?;
        Ok(Module { loaded: Arc::new(LoadedModule { guest, version, sha256, cached }) })
    }

    /// Of the file, in hex.
    pub fn sha256(&self) -> &str {
        &self.loaded.sha256
    }

    /// The version of the contract that it was built for.
    pub fn version(&self) -> &str {
        &self.loaded.version
    }

    /// Whether it wants to be configured.
    pub fn has_init(&self) -> bool {
        matches!(self.loaded.guest, Guest::Configured(_))
    }

    /// Whether the compiled code came from the cache.
    pub fn was_cached(&self) -> bool {
        self.loaded.cached
    }

    /// Enough of the hash to tell modules apart in messages.
    pub(super) fn short(&self) -> &str {
        &self.loaded.sha256[..SHORT]
    }

    pub(super) fn guest(&self) -> &Guest {
        &self.loaded.guest
    }
}

/// Compiles what is a component; the hash and whether the cache had it come with it.
pub(super) fn compile(bytes: &[u8], cache_dir: Option<&Path>) -> Result<(Component, String, bool)> {
    check_header(bytes)?;
    let sha256: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    let (component, cached) = store::component(engine()?, bytes, &sha256, cache_dir)
        .map_err(|e| refuse(format!("does not compile: {}", one_line(&format!("{e:#}"), 1024))))?;
    Ok((component, sha256, cached))
}

/// What wasm's first eight bytes say: a magic number, then a version for a core module or a component.
fn check_header(bytes: &[u8]) -> Result<()> {
    if bytes.len() > BYTES_MAX {
        return Err(refuse(format!("has {} bytes, a module has at most {BYTES_MAX}", bytes.len())));
    }
    match bytes.first_chunk::<8>() {
        Some(b"\0asm\x0d\0\x01\0") => Ok(()),
        Some(b"\0asm\x01\0\0\0") => {
            Err(refuse("is a core module, not a component: `wasm-tools component new` makes it one"))
        }
        Some([0, b'a', b's', b'm', ..]) => Err(refuse("is a component of an unknown version of the format")),
        _ => Err(refuse("is not WebAssembly: it does not begin with `\\0asm`")),
    }
}

fn refuse(why: impl AsRef<str>) -> Error {
    Error::new(Kind::Misconfigured, format!("the module {}", why.as_ref()))
}

fn link(engine: &Engine, component: &Component, configured: bool) -> Result<Guest> {
    let link = || {
        let mut linker = Linker::<HostState>::new(engine);
        Transform::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
        let pre = linker.instantiate_pre(component)?;
        Ok(match configured {
            true => Guest::Configured(ConfiguredTransformPre::new(pre)?),
            false => Guest::Plain(TransformPre::new(pre)?),
        })
    };
    link().map_err(|e: wasmtime::Error| {
        refuse(format!("does not keep to the contract: {}", one_line(&format!("{e:#}"), 1024)))
    })
}

/// What a component asks for and what it offers, by name.
pub(super) struct Outline {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

impl Outline {
    pub(super) fn of(component: &Component) -> Outline {
        let (ty, engine) = (component.component_type(), component.engine());
        Outline {
            imports: ty.imports(engine).map(|(name, _)| name.to_owned()).collect(),
            exports: ty.exports(engine).map(|(name, _)| name.to_owned()).collect(),
        }
    }

    pub(super) fn has(&self, export: &str) -> bool {
        self.exports.iter().any(|e| e == export)
    }

    /// The contract's version as the import of its types has it.
    pub(super) fn version(&self) -> Option<&str> {
        self.imports.iter().find_map(|name| name.strip_prefix("hydrant:transform/types@"))
    }

    /// Refuses by name what the types do not show. Gives the version.
    pub(super) fn check(&self) -> Result<String> {
        for name in &self.imports {
            match name.strip_prefix("hydrant:transform/").and_then(|rest| rest.split_once('@')) {
                Some((_, version)) if !supported(version) => {
                    return Err(refuse(format!(
                        "was built for `{name}`, this host has `0.1.x` of `hydrant:transform`"
                    )));
                }
                Some((interface, _)) if INTERFACES.contains(&interface) => {}
                _ if name.starts_with("wasi:") => {
                    return Err(refuse(format!("imports `{name}`: WASI components are not there yet")));
                }
                _ => return Err(refuse(format!("imports `{name}`, which this host does not have"))),
            }
        }
        let Some(version) = self.version() else {
            return Err(refuse("does not import `hydrant:transform/types`: it was not built for Hydrant"));
        };
        if !self.has("transform") {
            return Err(refuse("does not export `transform`"));
        }
        Ok(version.to_owned())
    }
}

fn supported(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    (major, minor) == CONTRACT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_contract_are_told_apart() {
        for version in ["0.1.0", "0.1.17"] {
            assert!(supported(version), "{version}");
        }
        for version in ["0.2.0", "1.1.0", "0.1", "0.1.0.0", "0.1.0-rc.1", ""] {
            assert!(!supported(version), "{version}");
        }
    }
}
