//! The house rules that a machine can see, read as text: who may import whom, how long files are, what must not stand in
//! the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines of a source file, without its tests, before it has to be split.
const LINES_MAX: usize = 400;
/// Files of a circle of imports.
const CIRCLE_MAX: usize = 3;

/// Which modules a module may import from the crate; `*` for all. Steps know the words and nothing of each other.
const IMPORTS: &[(&str, &[&str])] = &[
    ("alarm", &["error"]),
    ("aws", &["error"]),
    ("clock", &[]),
    ("destination", &["error"]),
    // Of each destination, in its folder below `deliver`; the floor is that of `config`, which joins them.
    ("settings", &["config", "destination", "units"]),
    ("error", &[]),
    ("json", &[]),
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
    ("deliver", &["aws", "compress", "config", "destination", "error", "fs", "json", "record", "sabotage"]),
    ("config", &["destination", "settings", "units", "error", "format", "partition"]),
    (
        "stream",
        &[
            "alarm",
            "clock",
            "compress",
            "config",
            "deliver",
            "destination",
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
    ("telemetry", &["alarm", "config", "destination", "stream", "threads"]),
    ("api", &["clock", "config", "error", "json", "record", "sabotage", "stream", "telemetry"]),
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

/// The module of that table that a path of modules leads into.
fn module(path: &[String]) -> &str {
    match path {
        [deliver, _, settings, ..] if deliver == "deliver" && settings == "settings" => "settings",
        [first, ..] => first,
        // `lib.rs` and `main.rs`.
        [] => "lib",
    }
}

#[test]
fn steps_know_the_words_and_nothing_of_each_other() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let from = module_path(&path);
        let from = module(&from);
        let allowed = IMPORTS.iter().find(|(m, _)| *m == from);
        let allowed = allowed.unwrap_or_else(|| panic!("module `{from}` is not in this test's table")).1;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for import in line.split("crate::").skip(1) {
                let names: String = import.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
                let names: ModulePath = names.split("::").map(str::to_owned).collect();
                let to = module(&names);
                let known = IMPORTS.iter().any(|(m, _)| *m == to);
                if known && to != from && !allowed.contains(&"*") && !allowed.contains(&to) {
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

/// A file without the tests at its end.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// Whether a file holds nothing but tests.
fn is_of_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut lengths: Vec<(usize, PathBuf)> = sources("src")
        .into_iter()
        .chain(sources("bench/src"))
        .filter(|(path, _)| !is_of_tests(path))
        .map(|(path, text)| (without_tests(&text).lines().count(), path))
        .collect();
    lengths.sort_by(|one, other| other.cmp(one));
    lengths.iter().take(5).for_each(|(lines, path)| println!("{lines:>4} {}", path.display()));
    assert!(lengths[0].0 <= LINES_MAX, "more than {LINES_MAX} lines: {:#?}", lengths[0]);
}

/// A module by the names that lead to it.
type ModulePath = Vec<String>;

/// The module that a file of `src` is.
fn module_path(path: &Path) -> ModulePath {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let parts = path.strip_prefix(src).unwrap().with_extension("");
    let mut parts: ModulePath = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// The paths that a statement imports, below what `from` calls `crate`, `self` and `super`.
fn imported(from: &[String], statement: &str) -> Vec<ModulePath> {
    let (head, group) = statement.split_once("::{").map_or((statement, ""), |(head, group)| (head, group));
    let mut base: ModulePath = Vec::new();
    for (i, part) in head.split("::").enumerate() {
        match (i, part) {
            (0, "crate") => {}
            (0, "self") => base = from.to_vec(),
            (_, "super") => {
                if i == 0 {
                    base = from.to_vec();
                }
                base.pop();
            }
            (0, _) => return Vec::new(),
            _ => base.push(part.to_owned()),
        }
    }
    let names = group.split([',', '}', '{']).map(str::trim).filter(|name| !name.is_empty());
    let inner = names.map(|name| base.iter().cloned().chain(name.split("::").map(str::to_owned)).collect());
    std::iter::once(base.clone()).chain(inner).collect()
}

/// Which modules each module imports, its own children too.
fn imports_of_all() -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
    let files = sources("src");
    let known: BTreeSet<ModulePath> = files.iter().map(|(path, _)| module_path(path)).collect();
    let mut imports = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| !is_of_tests(path)) {
        let from = module_path(path);
        let code: String = without_tests(text).lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let mut found = BTreeSet::new();
        for statement in code.split("use ").skip(1).filter_map(|rest| rest.split(';').next()) {
            for mut to in imported(&from, statement) {
                while !to.is_empty() && !known.contains(&to) {
                    to.pop();
                }
                if !to.is_empty() && to != from {
                    found.insert(to);
                }
            }
        }
        imports.insert(from, found);
    }
    imports
}

/// Everything that a module reaches by its imports.
fn reached<'m>(
    imports: &'m BTreeMap<ModulePath, BTreeSet<ModulePath>>,
    from: &'m ModulePath,
) -> BTreeSet<&'m ModulePath> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(imports.get(module).into_iter().flatten().filter(|to| seen.insert(*to)));
    }
    seen
}

#[test]
fn circles_of_imports_are_small() {
    let imports = imports_of_all();
    let reach: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
        imports.keys().map(|module| (module, reached(&imports, module))).collect();
    let circle = |module: &ModulePath| -> BTreeSet<String> {
        let back = |to: &&&ModulePath| reach.get(**to).is_some_and(|from| from.contains(module));
        reach[module].iter().filter(back).map(|module| module.join("::")).collect()
    };
    let circles: BTreeSet<BTreeSet<String>> = imports.keys().map(circle).filter(|circle| circle.len() > 1).collect();
    circles.iter().for_each(|circle| println!("{circle:?}"));
    assert!(imports.len() > 200, "{} modules were read", imports.len());
    assert!(circles.iter().all(|circle| circle.len() <= CIRCLE_MAX), "{circles:#?}");
}

/// The name of the type that a line defines, if it defines one outside of every block.
fn type_of(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) => {
            rest.strip_prefix('(').and_then(|rest| Some(rest.split_once(')')?.1)).unwrap_or(rest).trim_start()
        }
        None => line,
    };
    let (keyword, rest) = line.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    ["struct", "enum", "trait", "type"].contains(&keyword).then_some(name)
}

#[test]
fn names_of_types_are_used_once() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources("src").into_iter().filter(|(path, _)| !is_of_tests(path)) {
        for name in without_tests(&text).lines().filter_map(type_of) {
            places.entry(name.to_owned()).or_default().push(path.display().to_string());
        }
    }
    assert!(places.len() > 500, "{} types were found", places.len());
    let twice: Vec<_> = places.into_iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
}

/// Comments name the sections of the page with what is known of Firehose.
#[test]
fn sections_that_comments_name_are_there() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/firehose.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let (mut named, mut wrong) = (0, Vec::new());
    for (path, text) in sources("src").into_iter().chain(sources("bench/src")) {
        for rest in text.split(concat!("docs/firehose", ".md: ")).skip(1) {
            let list = rest.split([')', ';']).next().unwrap_or_default();
            for section in list.split('"').skip(1).step_by(2) {
                named += 1;
                if !sections.contains(section) {
                    wrong.push(format!("{}: \"{section}\"", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty() && named > 20, "{named} are named; not there: {wrong:#?}");
}

/// What neither the language nor a library of ours can do otherwise, or not as fast.
fn may_be_unsafe(path: &Path) -> bool {
    ["wasm/cache.rs", "src/priority.rs", "src/allocator.rs", "json/unchecked.rs"]
        .iter()
        .any(|file| path.ends_with(file))
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
