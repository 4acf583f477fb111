//! What a stream does with records from Kinesis on their way: transforms see where they stood, and what fails is redriven.

use super::source::numbered;
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::proxy::{Fault, Proxy};
use crate::rig::kinesis::servers::KinesisLocal;
use crate::rig::service::{Service, collect};
use std::time::Duration;

/// A stream `r` that reads `s` and takes these steps.
fn reads(endpoint: &str, steps: &str) -> String {
    format!(
        "  r:\n    source:\n      kinesis: {{ stream: s, start: trim_horizon, endpoint: \"{endpoint}\", access_key_id: a, \
         secret_access_key: b, poll_interval: 200ms, shards_interval: 300ms }}\n{steps}    buffer: {{ size: 1MiB, interval: \
         200ms }}\n    destination:\n      local: {{ dir: DIR/out, error_prefix: \
         \"errors/!{{firehose:error-output-type}}/\" }}\n"
    )
}

/// Instructions that make the data of an answer `PARTITION-KEY SEQUENCE-NUMBER SUBSEQUENCE-NUMBER`, where the host says it.
const SHOW: &str = r#"
        (if (i32.load8_u offset=24 (local.get $in)) (then
          (local.set $data_n (i32.add (i32.const 3)
            (i32.add (i32.load offset=44 (local.get $in)) (i32.load offset=52 (local.get $in)))))
          (local.set $data (call $bump (local.get $data_n) (i32.const 1)))
          (memory.copy (local.get $data) (i32.load offset=40 (local.get $in)) (i32.load offset=44 (local.get $in)))
          (i32.store8 (i32.add (local.get $data) (i32.load offset=44 (local.get $in))) (i32.const 0x20))
          (memory.copy
            (i32.add (i32.const 1) (i32.add (local.get $data) (i32.load offset=44 (local.get $in))))
            (i32.load offset=48 (local.get $in))
            (i32.load offset=52 (local.get $in)))
          (i32.store8 (i32.add (local.get $data) (i32.sub (local.get $data_n) (i32.const 2))) (i32.const 0x20))
          (i32.store8
            (i32.add (local.get $data) (i32.sub (local.get $data_n) (i32.const 1)))
            (i32.add (i32.const 0x30) (i32.wrap_i64 (i64.load offset=56 (local.get $in)))))
          (i32.store offset=12 (local.get $out) (local.get $data))
          (i32.store offset=16 (local.get $out) (local.get $data_n))))
"#;

#[test]
fn a_transform_is_told_where_a_record_stood() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 2);
    let mut service = Service::new();
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/transforms/faults/v1.wat"));
    let (head, tail) = text.split_once("        (i64.store offset=20").expect("where the answer has no keys");
    let module = wat::parse_str(format!("{head}{SHOW}        (i64.store offset=20{tail}")).expect("a component");
    std::fs::write(service.dir.path().join("show.wasm"), module).unwrap();
    let steps = "    transform: [{ wasm: { module: DIR/show.wasm } }]\n    format: lines\n";
    service.configure("", &reads(&server.endpoint(), steps));
    service.restart();
    let records: Vec<_> = (0..40).map(|i| (format!("key {}", i % 7), b"data".to_vec())).collect();
    let plain = kinesis.put("s", &records[..20]);
    let aggregates = kinesis.put_aggregates("s", &records[20..], 5);
    service.settled(40);
    let of_plain = records.iter().zip(&plain).map(|((key, _), put)| format!("{key} {} 0", put.sequence_number));
    let of_aggregates = records[20..].iter().enumerate().map(|(i, (key, _))| {
        let outer = &aggregates[i / 5].sequence_number;
        format!("{key} {outer} {}", i % 5)
    });
    let mut expected: Vec<String> = of_plain.chain(of_aggregates).collect();
    let objects = service.objects("out");
    let mut found: Vec<String> = objects
        .iter()
        .flat_map(|(_, bytes)| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

/// A lane that is being opened is not among those that are told of a new configuration.
#[test]
fn a_configuration_that_comes_while_shards_are_opened_is_theirs_too() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 2);
    kinesis.put("s", &numbered(0..20));
    let proxy = Proxy::start(server.address);
    let to = |out: &str| reads(&proxy.endpoint(), "    format: lines\n").replace("DIR/out", &format!("DIR/{out}"));
    let held = proxy.next(1, "ListShards", None, Fault::Hold(Duration::from_secs(4)));
    let mut service = Service::start(&to("before"));
    service.until("shards are asked for", |_| proxy.struck(held) == 1);
    service.configure("", &to("behind"));
    service.signal(rustix::process::Signal::HUP);
    service.until("it is reloaded", |s| s.log().contains("\"reloaded\""));
    assert!(!service.log().contains("the shard is read"), "the list of shards was held for too short a time");
    service.settled(20);
    assert_eq!((service.objects("before").len(), service.objects("behind").is_empty()), (0, false));
}

#[test]
fn what_failed_is_redriven_when_it_is_mended() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 2);
    let root = env!("CARGO_MANIFEST_DIR");
    let steps = |keys: &str| {
        let steps = format!(
            "    transform: [{{ wasm: {{ module: {root}/transforms/blueprints/mask.wasm, config: {{ mask_fields: [email], \
             partition_keys: {{ {keys} }} }} }} }}]\n    format: {{ parquet: {{ schema: DIR/schema.yaml }} }}\n"
        );
        reads(&server.endpoint(), &steps)
    };
    let mut service = Service::new();
    let schema = service.dir.path().join("schema.yaml");
    std::fs::write(&schema, "columns: { email: string, n: int }\n").unwrap();
    service.configure("", &steps("country: country"));
    service.restart();
    let record = |i: usize| {
        let data = match i % 3 {
            0 => format!("{{\"email\":\"ann@example.com\",\"n\":{i},\"country\":\"NO\"}}"),
            1 => format!("{{\"email\":\"bob@example.com\",\"n\":{i}}}"),
            _ => format!("{{\"email\":\"eve@example.com\",\"n\":\"no {i}\",\"country\":\"NO\"}}"),
        };
        (format!("key {i}"), data.into_bytes())
    };
    kinesis.put("s", &(0..30).map(record).collect::<Vec<_>>());
    service.settled(30);
    let count = |service: &Service, outlet: &str| service.status("r").outlets[outlet].records;
    assert_eq!((count(&service, "processing-failed"), count(&service, "format-conversion-failed")), (10, 10));
    std::fs::write(&schema, "columns: { email: string, n: string }\n").unwrap();
    service.configure("", &steps(""));
    service.signal(rustix::process::Signal::HUP);
    service.until("the mended configuration is in force", |s| s.status("r").epoch == 2);
    let config = service.config().display().to_string();
    let (code, text) = service.command_with(&["redrive", &config, "r"]);
    assert!(code == 0 && text.contains("20 records put in (10 at `format`, 10 at `transform`)"), "{text}");
    service.settled(50);
    assert_eq!(count(&service, "destination"), 30);
    let (code, text) = service.command_with(&["redrive", &config, "r"]);
    assert!(code == 0 && text.contains("0 records put in, 20 were before"), "{text}");
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
    // Failure objects have done what they were there for: whichever shard's they are, nobody misses them.
    let mut objects = Vec::new();
    collect(&service.dir.path().join("out"), &mut objects);
    let failed: Vec<_> =
        objects.into_iter().filter(|(name, _)| name.contains("-failed/") && !name.contains("_hydrant")).collect();
    assert!(failed.len() >= 4, "of two shards: {}", failed.len());
    failed.iter().for_each(|(name, _)| std::fs::remove_file(name).expect("it is removed"));
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
    // What comes later is read under the mended configuration, by the shards too.
    kinesis.put("s", &(30..60).map(record).collect::<Vec<_>>());
    service.settled(80);
    assert_eq!(count(&service, "destination"), 60);
}
