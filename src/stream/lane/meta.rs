//! Whose a directory is: the file `META` of a stream's directory, or a shard's.

use crate::error::{Error, Kind, Result};
use crate::fs::{Fs, copy_of, read};
use crate::stream::state_log::{plan_log, sealed};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind::NotFound;
use std::path::Path;
use uuid::Uuid;

const META_FORMAT: u32 = 1;
/// The directory of what epochs refer to.
pub const EPOCHS: &str = "epochs";

/// The file that says whose a directory is; see [`Meta`].
pub const META: &str = "META";

/// The file `META` of a stream's directory, durable there before anything else is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meta {
    pub format: u32,
    pub name: String,
    /// Fresh each time a journal is created: a replaced disk never looks like one that was delivered.
    pub incarnation: Uuid,
    /// What was wrong with the file, if it was read from its copy.
    #[serde(skip)]
    pub damage: Option<String>,
}

/// The stream's `META`, made if the directory is new: with a `name` for it, and nothing in it that a stream wrote.
pub fn read_or_make_meta(fs: &dyn Fs, dir: &Path, name: Option<&str>) -> Result<Meta> {
    let path = dir.join(META);
    if let Some((meta, damage)) = sealed::read::<Meta>(fs, &path)? {
        if meta.format != META_FORMAT {
            let message = format!("read `{}`: format {}, expected {META_FORMAT}", path.display(), meta.format);
            return Err(Error::new(Kind::Invalid, message));
        }
        refuse_another(fs, &path, &meta)?;
        return Ok(Meta { damage, ..meta });
    }
    if is_used(fs, dir)? {
        let message = format!("`{}` holds a stream's files and no `META` that says whose", dir.display());
        return Err(Error::new(Kind::Corrupt, message));
    }
    let Some(name) = name else { return Err(Error::io(format!("read `{}`", path.display()), NotFound.into())) };
    let meta = Meta { format: META_FORMAT, name: name.to_owned(), incarnation: Uuid::new_v4(), damage: None };
    sealed::write(fs, &path, &meta)?;
    Ok(meta)
}

/// `META` is never changed: if its copy is another stream's, one of them does not belong here, and nothing tells which.
fn refuse_another(fs: &dyn Fs, path: &Path, meta: &Meta) -> Result<()> {
    let copy = copy_of(path);
    let Ok(other) = read(fs, &copy).map_err(drop).and_then(|bytes| sealed::parse::<Meta>(&bytes).map_err(drop)) else {
        return Ok(());
    };
    if (&other.name, other.incarnation) == (&meta.name, meta.incarnation) {
        return Ok(());
    }
    let message = format!(
        "`{}` says that it is stream `{}` ({}), its copy `{}` that it is `{}` ({}): replace the one that is wrong by the \
         other one",
        path.display(),
        meta.name,
        meta.incarnation,
        copy.display(),
        other.name,
        other.incarnation
    );
    Err(Error::new(Kind::Corrupt, message))
}

/// Whether a directory holds what only a stream writes, which has a `META` before.
pub fn is_used(fs: &dyn Fs, dir: &Path) -> Result<bool> {
    let names = fs.list(dir).map_err(|e| Error::io(format!("list `{}`", dir.display()), e))?;
    Ok(names.iter().any(|name| plan_log::is_file(name) || ["journal", "ledger", EPOCHS].contains(&&**name)))
}

/// Writes a `META` again of which the file or its copy was damaged or is not there.
pub(super) fn mend_meta(fs: &dyn Fs, dir: &Path, meta: &Meta) -> Result<()> {
    let path = dir.join(META);
    match sealed::is_kept_twice(fs, &path) {
        true => Ok(()),
        false => sealed::mend(fs, &path, meta),
    }
}

/// Whose directory `dir` is. `None` if it was being made when the process died: it never held a record.
pub fn identity(fs: &dyn Fs, dir: &Path) -> Result<Option<Meta>> {
    let path = dir.join(META);
    match fs.open(&path).is_ok() || fs.open(&copy_of(&path)).is_ok() || is_used(fs, dir)? {
        true => read_or_make_meta(fs, dir, None).map(Some),
        false => Ok(None),
    }
}
