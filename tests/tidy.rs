//! The house rules that a machine can see, read as text: who may import whom, how long files are, what must not stand in
//! the repository.

use std::path::{Path, PathBuf};

/// Lines of a source file before it has to be split.
const LINES_MAX: usize = 500;

/// Which modules a module may import from the crate; `*` for all. Steps know the words and nothing of each other.
const IMPORTS: &[(&str, &[&str])] = &[
    ("alarm", &["error"]),
    ("aws", &["error"]),
    ("clock", &[]),
    ("error", &[]),
    ("record", &[]),
    ("sabotage", &[]),
    ("threads", &["error"]),
    ("units", &[]),
    ("fs", &["error"]),
    ("lane", &["error", "record"]),
    ("journal", &["error", "fs", "lane", "priority", "record", "sabotage"]),
    ("allocator", &[]),
    ("priority", &[]),
    ("transform", &["error", "record", "sabotage"]),
    ("partition", &["error"]),
    ("format", &["error", "record", "sabotage"]),
    ("compress", &["error"]),
    ("source", &["alarm", "aws", "clock", "config", "error", "lane", "record", "sabotage"]),
    ("deliver", &["aws", "compress", "config", "error", "fs", "record", "sabotage"]),
    ("config", &["units", "error", "partition"]),
    (
        "stream",
        &[
            "alarm",
            "clock",
            "compress",
            "config",
            "deliver",
            "error",
            "format",
            "fs",
            "journal",
            "lane",
            "partition",
            "record",
            "sabotage",
            "source",
            "threads",
            "transform",
        ],
    ),
    ("telemetry", &["alarm", "config", "stream"]),
    ("api", &["clock", "config", "error", "record", "sabotage", "stream", "telemetry"]),
    ("cli", &["*"]),
    ("lib", &["*"]),
    ("main", &["*"]),
];

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The module below `src/` that a file belongs to.
fn module(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().iter().next().unwrap().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn steps_know_the_words_and_nothing_of_each_other() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let from = module(&path);
        let allowed = IMPORTS.iter().find(|(m, _)| *m == from);
        let allowed = allowed.unwrap_or_else(|| panic!("module `{from}` is not in this test's table")).1;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for import in line.split("crate::").skip(1) {
                let to: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = IMPORTS.iter().any(|(m, _)| *m == to);
                if known && to != from && !allowed.contains(&"*") && !allowed.contains(&to.as_str()) {
                    wrong.push(format!("{}: `{from}` imports `{to}`", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The floors of `stream`, lowest first: a file imports from its own floor and from those below it.
const FLOORS: &[&str] = &["plan", "state_log", "pipeline", "engine", "lane", "shards"];

/// A file's floor, by the folder below `stream` that it stands in; everything else there is on top.
fn floor(folder: &str) -> usize {
    FLOORS.iter().position(|floor| *floor == folder).unwrap_or(FLOORS.len())
}

#[test]
fn floors_of_a_stream_import_downwards() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src/stream") {
        let stream = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stream");
        let own = path.strip_prefix(stream).unwrap().iter().next().unwrap().to_string_lossy().into_owned();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for import in line.split("crate::stream::").skip(1) {
                let to: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if floor(&to) > floor(&own) {
                    wrong.push(format!("{}: `{own}` imports `{to}`, which is above it", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let long: Vec<String> = sources("src")
        .into_iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// What neither the language nor a library of ours can do otherwise.
fn may_be_unsafe(path: &Path) -> bool {
    ["wasm/cache.rs", "src/priority.rs", "src/allocator.rs"].iter().any(|file| path.ends_with(file))
}

#[test]
fn nothing_is_left_undone_or_hidden() {
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!("), "#[ignore"];
    let mut wrong = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        for (i, line) in text.lines().enumerate() {
            let marked = words.iter().any(|w| line.contains(w)) && !path.ends_with("tidy.rs");
            let unsafe_code = line.contains("unsafe ") && !line.trim_start().starts_with("//") && !may_be_unsafe(&path);
            if marked || unsafe_code && path.starts_with(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
                wrong.push(format!("{}:{}: {line}", path.display(), i + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
