//! The transform step with real components: those of `transforms/faults`, compiled here from their text, and the
//! prebuilt blueprint.

use hydrant::error::Kind;
use hydrant::record::Records;
use hydrant::transform::wasm::{Module, Settings, WasmTransform, code, inspect};
use hydrant::transform::{RecordTransform, TransformFailure, TransformVerdict, Transformed};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(fault: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/transforms/faults/{fault}.wat")).unwrap()
}

fn compile(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn load(text: &str) -> Module {
    Module::load(&compile(text), None).unwrap()
}

fn start(fault: &str, settings: Settings) -> WasmTransform {
    WasmTransform::new(load(&text(fault)), settings).unwrap()
}

fn mask() -> Vec<u8> {
    std::fs::read(format!("{ROOT}/transforms/blueprints/mask.wasm")).unwrap()
}

/// Enough time for anything but an endless loop, on any machine.
fn patient() -> Settings {
    Settings { timeout: Duration::from_secs(60), ..Settings::default() }
}

fn hasty(millis: u64) -> Settings {
    let timeout = Duration::from_millis(millis);
    Settings { timeout, timeout_per_record: Duration::ZERO, retries: 0, ..Settings::default() }
}

fn run<R: AsRef<[u8]>>(transform: &mut WasmTransform, records: &[R]) -> Transformed {
    let mut batch = Records::default();
    records.iter().for_each(|r| batch.push(r.as_ref()));
    let out = transform.apply(&batch, &vec![1_790_000_000_000; records.len()], &[]).unwrap();
    assert_eq!(out.verdicts.len(), records.len(), "every record has a verdict");
    assert!(out.partition_keys.is_empty() || out.partition_keys.len() == out.outputs.len());
    out
}

/// Records without a meaning to `misbehave`, with `at` replaced.
fn harmless(n: usize, at: &[(usize, &str)]) -> Vec<String> {
    let mut records: Vec<String> = (0..n).map(|i| format!("record {i}")).collect();
    for (i, record) in at {
        records[*i] = (*record).to_owned();
    }
    records
}

/// What became of a record, in words: its outputs, `dropped`, or its code.
fn fate(out: &Transformed, i: usize) -> String {
    match &out.verdicts[i] {
        TransformVerdict::Dropped => "dropped".to_owned(),
        TransformVerdict::Failed(failed) => failed.code.to_owned(),
        TransformVerdict::Kept { first, count } => {
            let output = |o: usize| {
                let keys = out.partition_keys.get(o).into_iter().flatten();
                let keys: String = keys.map(|(k, v)| format!(" {k}={v}")).collect();
                format!("{}{keys}", out.outputs.get(o).escape_ascii())
            };
            (*first..first + count).map(|o| output(o as usize)).collect::<Vec<_>>().join(" | ")
        }
    }
}

fn fates(out: &Transformed) -> Vec<String> {
    (0..out.verdicts.len()).map(|i| fate(out, i)).collect()
}

fn failed(out: &Transformed, i: usize) -> &TransformFailure {
    match &out.verdicts[i] {
        TransformVerdict::Failed(failed) => failed,
        other => panic!("record {i}: {other:?}"),
    }
}

/// That all records but these came through as they were.
fn others_unchanged(records: &[String], out: &Transformed, guilty: &[usize]) {
    for (i, record) in records.iter().enumerate().filter(|(i, _)| !guilty.contains(i)) {
        assert_eq!(fate(out, i), *record);
    }
}

#[test]
fn each_way_to_misbehave_has_its_code() {
    let mut t = start("misbehave", patient());
    let mut short_of_time = start("misbehave", hasty(100));
    let codes: [(&[u8], &str, &str); 6] = [
        (b"P", code::TRAP, "wasm trap: wasm `unreachable` instruction executed"),
        (b"L", code::TIMEOUT, "it ran longer than 100ms"),
        (b"M", code::OUT_OF_MEMORY, "it wanted 67174400 bytes of memory, the limit is 67108864: "),
        (b"S", code::STACK_OVERFLOW, "it called itself until its stack of 524288 bytes ended"),
        (b"F", code::PROCESSING_FAILED, "asked to fail"),
        (b"K\xff", code::TRAP, "invalid utf-8"),
    ];
    for (record, code, begins) in codes {
        let out = run(if code == code::TIMEOUT { &mut short_of_time } else { &mut t }, &[record]);
        let failed = failed(&out, 0);
        assert_eq!((failed.code, failed.attempts), (code, 1), "{failed:?}");
        assert!(failed.message.starts_with(begins), "{failed:?}");
        assert!(failed.message.ends_with(&format!(" (module {})", &t.module().sha256()[..12])), "{failed:?}");
        assert_eq!(failed.may_differ, code == code::TIMEOUT);
        assert!(out.outputs.is_empty());
    }
    let good = ["", "plain", "D", "K", "Kx", "2two"];
    assert_eq!(fates(&run(&mut t, &good)), ["", "plain", "dropped", "K k=", "Kx k=x", "2two k=a | 2two k=b"]);
    assert!(t.peak_memory() > 60 << 20, "{}", t.peak_memory());
}

#[test]
fn one_poison_record_of_500_costs_only_itself() {
    for poison in [0, 123, 499] {
        let mut t = start("misbehave", patient());
        let records = harmless(500, &[(poison, "Poison")]);
        let out = run(&mut t, &records);
        assert_eq!(fate(&out, poison), code::TRAP);
        others_unchanged(&records, &out, &[poison]);
        assert!((17..=19).contains(&t.calls()), "{} calls", t.calls());
    }
}

#[test]
fn three_poison_records_of_three_kinds_cost_only_themselves() {
    let mut t = start("misbehave", patient());
    let records = harmless(500, &[(7, "P"), (250, "M"), (251, "S")]);
    let out = run(&mut t, &records);
    assert_eq!([7, 250, 251].map(|i| fate(&out, i)), [code::TRAP, code::OUT_OF_MEMORY, code::STACK_OVERFLOW]);
    others_unchanged(&records, &out, &[7, 250, 251]);
    assert!(t.calls() <= 64, "{} calls", t.calls());
}

#[test]
fn an_endless_loop_among_500_costs_only_itself() {
    let mut t = start("misbehave", Settings { retries: 1, ..hasty(300) });
    let records = harmless(500, &[(321, "Loop")]);
    let out = run(&mut t, &records);
    let looping = failed(&out, 321);
    assert_eq!((looping.code, looping.attempts, looping.may_differ), (code::TIMEOUT, 2, true));
    others_unchanged(&records, &out, &[321]);
    // One more than a trap would take for the whole batch, one more for the record alone; a slow machine needs others.
    assert!((19..=64).contains(&t.calls()), "{} calls", t.calls());
}

#[test]
fn what_is_not_told_apart_within_the_calls_fails_together() {
    let mut t = start("misbehave", Settings { isolate_max_calls: 3, ..patient() });
    let records = harmless(8, &[(6, "P")]);
    let out = run(&mut t, &records);
    others_unchanged(&records, &out, &[4, 5, 6, 7]);
    for i in 4..8 {
        let failed = failed(&out, i);
        assert_eq!((failed.code, failed.may_differ), (code::ISOLATION_BUDGET, true));
        assert!(failed.message.contains("within 3 calls") && failed.message.contains(code::TRAP), "{failed:?}");
    }
    assert_eq!(t.calls(), 3);
}

#[test]
fn a_time_out_may_end_otherwise_another_time() {
    let out = run(&mut start("misbehave", hasty(30)), &["T"]);
    assert_eq!((failed(&out, 0).code, failed(&out, 0).may_differ), (code::TIMEOUT, true));
    assert_eq!(fates(&run(&mut start("misbehave", patient()), &["T"])), ["T"]);
}

#[test]
fn a_batch_too_large_for_memory_or_output_is_only_halved() {
    let records = vec!["x".repeat(100_000); 16];
    let mut t = start("misbehave", Settings { memory_bytes: 1 << 20, ..patient() });
    assert_eq!(fates(&run(&mut t, &records)), records);
    assert!(t.calls() > 1 && t.peak_memory() <= 1 << 20);

    let mut t = start("misbehave", Settings { output_bytes: 300_000, ..patient() });
    assert_eq!(fates(&run(&mut t, &records)), records);
    let out = run(&mut t, &["x".repeat(300_001)]);
    assert_eq!(failed(&out, 0).code, code::OUTPUT_TOO_LARGE);
    assert!(failed(&out, 0).message.starts_with("it handed over more than 300000 bytes"), "{:?}", failed(&out, 0));
}

#[test]
fn ids_that_are_missing_twice_or_unknown_cost_one_record_and_one_call() {
    for (fault, code, at) in [
        ("missing_id", code::MISSING_RECORD_ID, 4),
        ("duplicate_id", code::DUPLICATE_RECORD_ID, 0),
        ("unknown_id", code::UNKNOWN_RECORD_ID, 0),
    ] {
        let mut t = start(fault, patient());
        let records = harmless(5, &[]);
        let out = run(&mut t, &records);
        assert_eq!((failed(&out, at).code, failed(&out, at).may_differ), (code, true), "{fault}");
        let missing_too = if fault == "duplicate_id" { &[0, 4][..] } else { &[at][..] };
        others_unchanged(&records, &out, missing_too);
        assert_eq!(t.calls(), 1, "{fault}");
        let out = run(&mut t, &["alone"]);
        assert_eq!((failed(&out, 0).code, failed(&out, 0).may_differ), (code, false), "{fault}");
    }
}

#[test]
fn outputs_and_keys_stand_in_the_order_of_the_records() {
    let mut t = start("misbehave", patient());
    let out = run(&mut t, &["2a", "D", "plain", "P", "Kz", "F", "2b", "end"]);
    let expected = [
        "2a k=a | 2a k=b",
        "dropped",
        "plain",
        code::TRAP,
        "Kz k=z",
        code::PROCESSING_FAILED,
        "2b k=a | 2b k=b",
        "end",
    ];
    assert_eq!(fates(&out), expected);
    let outputs: Vec<&[u8]> = out.outputs.iter().collect();
    assert_eq!(outputs, [&b"2a"[..], b"2a", b"plain", b"Kz", b"2b", b"2b", b"end"]);
    assert_eq!(out.partition_keys.len(), 7);
}

#[test]
fn a_record_meets_the_same_fate_in_any_company() {
    let kinds = ["P", "M", "S", "F", "D", "2", "K", "Kq", "K\u{7f}", "", "x", "y", "z"];
    let mut state = 42u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let mut t = start("misbehave", Settings { isolate_max_calls: 1000, memory_bytes: 1 << 20, ..patient() });
    let alone: Vec<String> = kinds.iter().map(|kind| fate(&run(&mut t, &[kind]), 0)).collect();
    for _ in 0..20 {
        let picks: Vec<usize> = (0..random(40)).map(|_| random(kinds.len())).collect();
        let records: Vec<&str> = picks.iter().map(|p| kinds[*p]).collect();
        let out = run(&mut t, &records);
        let expected: Vec<&String> = picks.iter().map(|p| &alone[*p]).collect();
        assert_eq!(fates(&out).iter().collect::<Vec<_>>(), expected, "{records:?}");
        let again = run(&mut t, &records);
        assert_eq!((&out.verdicts, &out.outputs), (&again.verdicts, &again.outputs), "{records:?}");
    }
}

#[test]
fn each_batch_meets_a_fresh_instance() {
    let counting = text("v1")
        .replace(
            "(memory (export \"memory\") 1)",
            "(memory (export \"memory\") 1) (global $n (mut i32) (i32.const 0x30))",
        )
        .replace(
            "(i32.const 0x31)",
            "(block (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))",
        );
    let mut t = WasmTransform::new(load(&counting), Settings { max_records: 2, ..patient() }).unwrap();
    assert_eq!(fates(&run(&mut t, &["a", "b", "c", "d", "e"])), ["1a", "2b", "1c", "2d", "1e"]);
    assert_eq!((t.batch_limits(), t.calls()), ((2, 3 << 20), 3));
}

#[test]
fn two_versions_of_a_module_run_side_by_side() {
    let (one, two) = (load(&text("v1")), load(&text("v2")));
    assert_ne!(one.sha256(), two.sha256());
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let (module, first) = if n % 2 == 0 { (one.clone(), "1") } else { (two.clone(), "2") };
            std::thread::spawn(move || {
                let mut t = WasmTransform::new(module, patient()).unwrap();
                let expected: Vec<String> = (0..100).map(|i| format!("{first}record {i}")).collect();
                assert_eq!(fates(&run(&mut t, &harmless(100, &[]))), expected);
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// The kind and the sentence with which settings are refused.
fn refused(module: &Module, settings: Settings) -> (Kind, String) {
    let error = WasmTransform::new(module.clone(), settings).err().unwrap();
    (error.kind, error.to_string().replace(&module.sha256()[..12], "<hash>"))
}

#[test]
fn a_module_that_cannot_start_stops_the_transform_and_no_record() {
    let misconfigured = |sentence: &str| (Kind::Misconfigured, sentence.to_owned());
    let expected = misconfigured("Transform.InitFailed: `init` says: no thanks (module <hash>)");
    assert_eq!(refused(&load(&text("init_fails")), patient()), expected);

    let expected = misconfigured("there is a `config`, but the module <hash> does not export `init`");
    assert_eq!(refused(&load(&text("v1")), Settings { config: Some(json!({"a": 1})), ..patient() }), expected);

    let small = Settings { memory_bytes: 65_535, ..patient() };
    let sentence = "it wants 65536 bytes of memory to begin with, the limit is 65535 (module <hash>)";
    assert_eq!(refused(&load(&text("v1")), small), misconfigured(&format!("Transform.InitFailed: {sentence}")));

    let memory = "(memory (export \"memory\") 1)";
    let spins = text("v1").replace(memory, &format!("{memory} (func $s (loop $l (br $l))) (start $s)"));
    let sentence = "Transform.InitFailed: it ran longer than 50ms (module <hash>)";
    assert_eq!(refused(&load(&spins), hasty(50)), misconfigured(sentence));

    let traps = text("v1").replace(memory, &format!("{memory} (func $s unreachable) (start $s)"));
    let sentence = "Transform.InitFailed: wasm trap: wasm `unreachable` instruction executed (module <hash>)";
    assert_eq!(refused(&load(&traps), patient()), misconfigured(sentence));
}

/// The sentence with which bytes are refused.
fn not_loaded(bytes: &[u8]) -> String {
    let error = Module::load(bytes, None).err().unwrap();
    assert_eq!(error.kind, Kind::Misconfigured);
    error.to_string()
}

#[test]
fn what_is_not_a_transform_is_refused_with_a_reason() {
    let fault = |name: &str| not_loaded(&compile(&text(name)));
    assert_eq!(fault("no_export"), "the module does not export `transform`");
    assert_eq!(
        fault("core_module"),
        "the module is a core module, not a component: `wasm-tools component new` makes it one"
    );
    assert_eq!(fault("bad_import"), "the module imports `acme:files/read`, which this host does not have");
    assert_eq!(
        fault("newer_version"),
        "the module was built for `hydrant:transform/types@0.2.0`, this host has `0.1.x` of `hydrant:transform`"
    );
    let wasi = text("bad_import").replace("acme:files/read", "wasi:filesystem/types@0.2.3");
    let sentence = "the module imports `wasi:filesystem/types@0.2.3`: WASI components are not there yet";
    assert_eq!(not_loaded(&compile(&wasi)), sentence);
    assert_eq!(
        not_loaded(&compile("(component)")),
        "the module does not import `hydrant:transform/types`: it was not built for Hydrant"
    );
    let whole = compile(&text("v1"));
    let damaged = not_loaded(&whole[..whole.len() / 2]);
    assert!(damaged.starts_with("the module does not compile: "), "{damaged}");
    for none in [&b""[..], b"\0asm", b"hello, world"] {
        assert!(not_loaded(none).contains("is not WebAssembly") || none.starts_with(b"\0asm"), "{none:?}");
    }
    assert_eq!(not_loaded(&vec![0; (64 << 20) + 1]), "the module has 67108865 bytes, a module has at most 67108864");
}

#[test]
fn what_has_the_right_names_and_the_wrong_types_is_refused() {
    let misnamed = text("v1").replace("\"partition-keys\"", "\"partition-key-list\"");
    let sentence = not_loaded(&compile(&misnamed));
    assert!(sentence.starts_with("the module does not keep to the contract: "), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
    let more = "(export \"subtract\" (func (param \"name\" string))) (export \"add\" (func";
    let sentence = not_loaded(&compile(&text("chatty").replacen("(export \"add\" (func", more, 1)));
    assert!(sentence.contains("subtract"), "{sentence}");
}

#[test]
fn a_newer_patch_of_the_contract_is_understood() {
    for fault in ["v1", "chatty"] {
        let module = load(&text(fault).replace("@0.1.0", "@0.1.9"));
        assert_eq!(module.version(), "0.1.9");
        run(&mut WasmTransform::new(module, patient()).unwrap(), &["x"]);
    }
}

/// The cache's only entry.
fn entry(dir: &Path) -> PathBuf {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0)
}

#[test]
fn a_module_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let v1 = compile(&text("v1"));
    let first = Module::load(&v1, Some(&cache)).unwrap();
    assert!(!first.was_cached());
    assert!(entry(&cache).file_name().unwrap().to_str().unwrap().starts_with(first.sha256()));
    let second = Module::load(&v1, Some(&cache)).unwrap();
    assert!(second.was_cached());
    assert_eq!((second.sha256(), second.version()), (first.sha256(), first.version()));
    assert_eq!(fates(&run(&mut WasmTransform::new(second, patient()).unwrap(), &["x"])), ["1x"]);
    for (path, mode) in [(cache.clone(), 0o700), (entry(&cache), 0o600)] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    // Checks are not cached.
    assert!(Module::load(&compile(&text("no_export")), Some(&cache)).is_err());
    assert!(Module::load(&compile(&text("no_export")), Some(&cache)).is_err());
}

#[test]
fn a_damaged_cache_entry_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let v1 = compile(&text("v1"));
    Module::load(&v1, Some(&cache)).unwrap();
    let path = entry(&cache);
    let whole = std::fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let end = whole.len() - 1;
    let damages =
        [vec![], whole[..31].to_vec(), whole[..end].to_vec(), flipped(0), flipped(40), flipped(end / 2), flipped(end)];
    for damaged in damages {
        std::fs::write(&path, &damaged).unwrap();
        let again = Module::load(&v1, Some(&cache)).unwrap();
        assert!(!again.was_cached());
        assert_eq!(fates(&run(&mut WasmTransform::new(again, patient()).unwrap(), &["x"])), ["1x"]);
        assert!(Module::load(&v1, Some(&cache)).unwrap().was_cached());
    }
}

#[test]
fn code_that_others_could_have_put_there_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let (v1, v2) = (compile(&text("v1")), compile(&text("v2")));
    Module::load(&v1, Some(&cache)).unwrap();
    let of_v1 = entry(&cache);
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!Module::load(&v1, Some(&cache)).unwrap().was_cached());
    assert!(!Module::load(&v2, Some(&cache)).unwrap().was_cached());
    assert_eq!(entry(&cache), of_v1, "nothing is written there either");
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(Module::load(&v1, Some(&cache)).unwrap().was_cached());

    // One module's code under another one's name.
    let (sha1, sha2) = (Module::load(&v1, None).unwrap(), Module::load(&v2, None).unwrap());
    let of_v2 = cache.join(of_v1.file_name().unwrap().to_str().unwrap().replace(sha1.sha256(), sha2.sha256()));
    std::fs::copy(&of_v1, &of_v2).unwrap();
    let module = Module::load(&v2, Some(&cache)).unwrap();
    assert!(!module.was_cached());
    assert_eq!(fates(&run(&mut WasmTransform::new(module, patient()).unwrap(), &["x"])), ["2x"]);
}

#[test]
fn a_cache_that_cannot_be_written_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    for bad in [file.clone(), file.join("below")] {
        assert!(!Module::load(&compile(&text("v1")), Some(&bad)).unwrap().was_cached());
    }
}

#[test]
fn inspection_tells_what_a_component_asks_for_and_why_it_is_refused() {
    let seen = inspect(&mask()).unwrap();
    assert_eq!((seen.version.as_deref(), seen.has_init, seen.refusal), (Some("0.1.0"), true, None));
    assert!(seen.exports.contains(&"transform".to_owned()) && seen.exports.contains(&"init".to_owned()));
    assert!(seen.imports.iter().all(|i| i.starts_with("hydrant:transform/")), "{:?}", seen.imports);
    assert_eq!(seen.bytes, mask().len());
    let sums = std::fs::read_to_string(format!("{ROOT}/transforms/blueprints/SHA256SUMS")).unwrap();
    assert!(sums.contains(&seen.sha256), "{sums}");

    let seen = inspect(&compile(&text("newer_version"))).unwrap();
    assert_eq!((seen.version.as_deref(), seen.has_init), (Some("0.2.0"), false));
    assert!(seen.refusal.unwrap().contains("this host has `0.1.x`"));
    assert_eq!(inspect(&compile(&text("bad_import"))).unwrap().imports.len(), 2);
    assert!(inspect(b"hello").is_err());
}

#[test]
fn the_mask_blueprint_masks_drops_and_sets_keys() {
    let config = json!({
        "drop_if": {"level": "debug"},
        "mask_fields": ["email"],
        "partition_keys": {"customer": "customer_id"},
        "drop_fields": ["password", "request.cookie"],
    });
    let module = Module::load(&mask(), None).unwrap();
    let mut t = WasmTransform::new(module.clone(), Settings { config: Some(config), ..patient() }).unwrap();
    let out = run(
        &mut t,
        &[
            r#"{"level":"info","email":"alice@example.com","customer_id":7,"password":"x","request":{"cookie":"c","n":1}}"#,
            r#"{"level":"debug","customer_id":1}"#,
            "not json",
            "[1,2]",
            r#"{"level":"info"}"#,
            r#"{"customer_id":"acme","email":5}"#,
        ],
    );
    let expected = [
        r#"{\"level\":\"info\",\"email\":\"a***@example.com\",\"customer_id\":7,\"request\":{\"n\":1}}\n customer=7"#,
        "dropped",
        code::PROCESSING_FAILED,
        code::PROCESSING_FAILED,
        code::PROCESSING_FAILED,
        r#"{\"customer_id\":\"acme\",\"email\":\"***\"}\n customer=acme"#,
    ];
    assert_eq!(fates(&out), expected);
    assert!(failed(&out, 4).message.contains("customer"), "{:?}", failed(&out, 4));
    assert_eq!(t.calls(), 1);

    let mut plain = WasmTransform::new(module.clone(), patient()).unwrap();
    assert_eq!(fates(&run(&mut plain, &["{\"a\": 1}"])), [r#"{\"a\":1}\n"#]);
    let (kind, sentence) = refused(&module, Settings { config: Some(json!({"mask": []})), ..patient() });
    assert_eq!(kind, Kind::Misconfigured);
    assert!(sentence.starts_with("Transform.InitFailed: `init` says: mask: unknown field `mask`"), "{sentence}");
}

/// Log lines of this thread, as JSON.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `act` and gives the log lines it wrote: target, level, message.
fn logged(act: impl FnOnce()) -> Vec<(String, String, String)> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = lines.0.lock().unwrap().clone();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .map(|v: serde_json::Value| (text(&v["target"]), text(&v["level"]), text(&v["fields"]["message"])))
        .collect()
}

#[test]
fn log_lines_are_written_on_one_line_each_up_to_a_number() {
    let mut t = start("chatty", Settings { log_lines: 2, ..patient() });
    let long = "x".repeat(5000);
    let lines = logged(|| drop(run(&mut t, &["two\nlines\u{1b}", &long, "third", "fourth"])));
    let (target, level) = ("hydrant::transform".to_owned(), "INFO".to_owned());
    let line = |message: &str| (target.clone(), level.clone(), message.to_owned());
    let cut = format!("{}...", "x".repeat(1024));
    assert_eq!(lines, [line("two\\nlines\\u{1b}"), line(&cut), line("more log lines than `limits.log_lines`")]);
}

#[test]
fn a_failed_record_bears_the_last_line_that_was_logged() {
    let mut t = start("chatty", Settings { log_lines: 0, ..patient() });
    let out = run(&mut t, &["a", "Panic at\nthe disco", "b"]);
    let module = &t.module().sha256()[..12];
    let sentence = "wasm trap: wasm `unreachable` instruction executed";
    let expected = format!("{sentence}; it last logged: Panic at\\nthe disco (module {module})");
    assert_eq!((failed(&out, 1).code, failed(&out, 1).message.as_str()), (code::TRAP, expected.as_str()));
}

#[test]
fn metrics_are_counted_once_per_record_however_often_its_batch_was_halved() {
    let mut t = start("chatty", Settings { max_records: 7, ..patient() });
    run(&mut t, &harmless(20, &[(3, "P"), (9, "P")]));
    assert_eq!(t.take_metrics(), [("records".to_owned(), 18)]);
    assert_eq!((t.take_metrics(), t.take_refused_metrics()), (vec![], 0));

    let mut t = start("chatty", Settings { metric_names: 0, ..patient() });
    run(&mut t, &harmless(20, &[]));
    assert_eq!((t.take_metrics(), t.take_refused_metrics()), (vec![], 20));
}

const SHORT_OF_ADDRESSES: &str = "HYDRANT_TEST_SHORT_OF_ADDRESSES";

/// A program of its own, since the engine is the process's.
#[test]
fn where_address_space_is_short_transforms_run_all_the_same() {
    if std::env::var_os(SHORT_OF_ADDRESSES).is_some() {
        let lines = logged(each_way_to_misbehave_has_its_code);
        assert!(lines.iter().any(|(.., message)| message.contains("without a pool")), "{lines:?}");
        return one_poison_record_of_500_costs_only_itself();
    }
    let name = "stream::transform::where_address_space_is_short_transforms_run_all_the_same";
    let done = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 4000000 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(SHORT_OF_ADDRESSES, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
}
