//! What is wrong with a file, and where.

use std::fmt;
use std::path::Path;

/// One thing that is wrong. Lines and columns count from 1, columns in characters; line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// The keys that lead to it, `streams.clicks.buffer.size`; empty if it is no single value.
    pub path: String,
    pub message: String,
}

impl Problem {
    /// Of a file that has no lines to name.
    pub(super) fn of_file(file: &str, path: &str, message: &str) -> Problem {
        let (file, path, message) = (file.to_owned(), path.to_owned(), message.to_owned());
        Problem { file, line: 0, column: 0, path, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": `{}`", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong, in the order of the file. Shown one problem a line; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Problem>);

impl Errors {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        problems.dedup();
        Errors(problems)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let end = if i + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "{problem}{end}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

impl From<Problem> for Errors {
    fn from(problem: Problem) -> Self {
        Errors(vec![problem])
    }
}

/// No configuration or schema of ours is near this; it keeps a wrong path (a disk, a log) out of memory.
const FILE_BYTES_MAX: u64 = 4 << 20;

pub(super) fn read_text(path: &Path) -> Result<String, Errors> {
    let file = path.display().to_string();
    let problem = |message: String| Problem { file: file.clone(), line: 0, column: 0, path: String::new(), message };
    let size = std::fs::metadata(path).map_err(|e| problem(e.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(problem(format!("found {size} bytes, expected at most {FILE_BYTES_MAX}")).into());
    }
    Ok(std::fs::read_to_string(path).map_err(|e| problem(e.to_string()))?)
}
