//! `buffer.object_size`: how near to it objects come.

use crate::rig::service::{Service, scale};
use hydrant::stream::supervise::Status;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is asked for.
const WANTED: u64 = 64 << 10;
/// Less than 40 objects take that have 128 KiB of rows and 64 KiB of encoded bytes in memory, which nothing shortens.
const SCARCE: &str = "{ size: 20MiB, intake_share: 60% }";
const SCHEMA: &str =
    "  at: timestamp\n  customer: string\n  path: string\n  agent: string\n  ms: double\n  bytes: bigint\n";

fn next(random: &mut u64, below: u64) -> u64 {
    *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*random >> 33) % below
}

/// Of a web server, more or less.
fn record(random: &mut u64, customer: usize) -> Vec<u8> {
    let mut next = |below| next(random, below);
    let (path, page, ms, bytes) = (next(40), next(100_000), next(90_000), next(5_000_000));
    let at = 1_790_000_000_000 + next(100_000_000);
    format!(
        r#"{{"at":{at},"customer":"c{customer}","path":"/shop/{path}/page-{page}.html","ms":{}.{:02},"bytes":{bytes}}}"#,
        ms / 100,
        ms % 100
    )
    .into_bytes()
}

/// The sizes of all objects of a stream of that format that was given records of so many bytes for each of `customers`, which
/// have a prefix each; without the smallest of each prefix, which is what was left at the end. That some ended early is told if
/// memory is `SCARCE`.
fn sizes(memory: &str, format: &str, customers: usize, bytes: usize) -> Vec<u64> {
    sizes_of(memory, format, (customers, bytes), |random, customer, _| record(random, customer))
}

/// The same of records that `record` makes: of a random number, a customer, and of how much was put before.
fn sizes_of(
    memory: &str,
    format: &str,
    customers_and_bytes: (usize, usize),
    record: impl Fn(&mut u64, usize, usize) -> Vec<u8>,
) -> Vec<u64> {
    sizes_with(SCHEMA, memory, format, customers_and_bytes, record)
}

/// The same with columns of their own.
fn sizes_with(
    columns: &str,
    memory: &str,
    format: &str,
    (customers, bytes): (usize, usize),
    record: impl Fn(&mut u64, usize, usize) -> Vec<u8>,
) -> Vec<u64> {
    let mut service = Service::new();
    std::fs::write(service.dir.path().join("schema.yaml"), format!("columns:\n{columns}")).unwrap();
    let module = format!("{}/transforms/blueprints/mask.wasm", env!("CARGO_MANIFEST_DIR"));
    let transform = format!(
        "    transform: [ {{ wasm: {{ module: {module}, config: {{ partition_keys: {{ customer: customer }} }} }} }} ]\n"
    );
    let (transform, prefix) = match customers {
        1 => ("", "all/"),
        _ => (transform.as_str(), "!{partitionKeyFromLambda:customer}/"),
    };
    service.configure(
        &format!("memory: {memory}\n"),
        &format!(
            "  s:\n{format}{transform}    buffer: {{ object_size: 64KiB, interval: 15m }}\n    \
             destination: {{ local: {{ dir: DIR/b, prefix: \"{prefix}\", error_prefix: \"bad/!{{firehose:error-output-type}}/\" }} }}\n"
        ),
    );
    service.restart();
    let (mut random, mut put, mut customer) = (1, 0, (0..customers).cycle());
    while put < bytes * customers {
        let records: Vec<Vec<u8>> = (0..500).map(|_| record(&mut random, customer.next().unwrap(), put)).collect();
        put += records.iter().map(Vec::len).sum::<usize>();
        assert_eq!(service.put("s", &records.iter().map(Vec::as_slice).collect::<Vec<_>>()), 200);
    }
    let is_read = |status: &Status| status.lane.contains(&format!("read to [{},", status.accepted));
    loop {
        let before = service.status("s");
        if is_read(&before) {
            break;
        }
        service.until("more is read", |service| {
            let now = service.status("s");
            is_read(&now) || now.pending < before.pending
        });
    }
    let cut_early = service.status("s").objects_cut_early;
    let is_scarce = memory == SCARCE;
    // Where 1,000 are open at once a few may have to.
    assert!((cut_early > 0) == is_scarce || customers == 1000, "{cut_early} objects ended early");
    // The end of a service cuts what is not full.
    assert_eq!(service.terminate(), Some(0));
    let mut of_folders: BTreeMap<PathBuf, Vec<u64>> = BTreeMap::new();
    for (path, bytes) in service.objects("b").into_iter().filter(|(path, _)| !path.contains("/_ledger/")) {
        of_folders.entry(PathBuf::from(path).parent().unwrap().into()).or_default().push(bytes.len() as u64);
    }
    assert_eq!(of_folders.len(), customers, "{of_folders:?}");
    let whole = of_folders.into_values().flat_map(|mut sizes| {
        sizes.sort();
        sizes.split_off(1)
    });
    whole.collect()
}

/// Nine of ten are at most a tenth off.
fn are_near(what: &str, sizes: &[u64], least: usize) {
    let near = sizes.iter().filter(|bytes| bytes.abs_diff(WANTED) <= WANTED / 10).count();
    let mut sorted = sizes.to_vec();
    sorted.sort();
    println!(
        "{what}: {near} of {} objects within a tenth of {WANTED}, {:?} to {:?}",
        sizes.len(),
        sorted.first(),
        sorted.last()
    );
    assert!(sizes.len() >= least, "{what}: {sorted:?}");
    assert!(near * 10 >= sizes.len() * 9, "{what}: {near} of {}: {sorted:?}", sizes.len());
}

const PARQUET: &str = "    format: { parquet: { schema: schema.yaml } }\n";
const SORTED: &str =
    "    format: { parquet: { schema: schema.yaml, writer: { sorting_columns: [ { column: bytes } ] } } }\n";
const ORC: &str = "    format: { orc: { schema: schema.yaml } }\n";
const GZIP: &str = "    format: lines\n    compress: gzip\n";
const LINES: &str = "    format: lines\n";

#[test]
fn objects_have_the_size_that_is_asked_for() {
    let formats =
        [("parquet", PARQUET, 6 << 20), ("sorted", SORTED, 6 << 20), ("orc", ORC, 6 << 20), ("gzip", GZIP, 6 << 20)];
    for (what, format, bytes) in formats.into_iter().chain([("lines", LINES, 2 << 20)]) {
        are_near(what, &sizes("1GiB", format, 1, bytes), 20);
    }
}

#[test]
fn objects_of_many_partitions_have_the_size_that_is_asked_for() {
    let partitions = if scale() < 1.0 { &[40][..] } else { &[100, 1000] };
    for (what, format) in [("parquet", PARQUET), ("gzip", GZIP)] {
        for &partitions in partitions {
            let sizes = sizes("1GiB", format, partitions, 1 << 20);
            are_near(&format!("{what}, {partitions} partitions"), &sizes, 2 * partitions);
        }
    }
}

#[test]
fn row_groups_end_before_objects_do_when_memory_is_scarce() {
    are_near("parquet, 40 partitions, 8 MiB", &sizes(SCARCE, PARQUET, 40, 1 << 20), 80);
}

#[test]
fn when_records_change_the_next_objects_have_the_size_that_is_asked_for() {
    const BYTES: usize = 20 << 20;
    // Two thirds of the bytes are the same in all records at first, then at random, then the same again, and at random.
    let changing = |random: &mut u64, customer: usize, put: usize| {
        let mut record = String::from_utf8(record(random, customer)).unwrap();
        let digits = |random: &mut u64| (0..240).map(|_| char::from(b'a' + next(random, 26) as u8)).collect::<String>();
        let agent = if (put / (BYTES / 4)).is_multiple_of(2) { "x".repeat(240) } else { digits(random) };
        record.insert_str(1, &format!("\"agent\":\"{agent}\","));
        record.into_bytes()
    };
    for (what, format) in [("parquet", PARQUET), ("orc", ORC), ("gzip", GZIP)] {
        are_near(&format!("{what}, changing"), &sizes_of("1GiB", format, (1, BYTES), changing), 20);
    }
}

#[test]
fn what_every_object_has_does_not_leave_it_without_rows() {
    const COLUMNS: u64 = 300;
    let schema = (0..COLUMNS).map(|column| format!("  c{column}: string\n")).collect::<String>();
    let record = |random: &mut u64, _, _| {
        let members = (0..40).map(|i| format!("\"c{}\":\"{}\"", i * 7 + next(random, 7), next(random, 1_000_000)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into_bytes()
    };
    for (what, format) in [("parquet", PARQUET), ("orc", ORC)] {
        let sizes = sizes_with(&schema, "1GiB", format, (1, 2 << 20), record);
        println!("{what} of {COLUMNS} columns: {sizes:?}");
        // Metadata of that many columns is larger than what is asked for: there is as much of rows.
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(*least > WANTED * 9 / 10 && *most < 6 * WANTED && sizes.len() < 60, "{what}: {sizes:?}");
    }
}
