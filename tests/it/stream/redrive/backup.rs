//! What was backed up is put in again where the ledger makes certain where each record ends, and else left.

use super::{Service, assert_audit, put, redrive};

const STREAM: &str = "  s:
    buffer: { size: 1MiB, interval: 100ms }
    format: lines
    destination: { local: { dir: DIR/out } }
    backup:
      mode: all
      local: { dir: DIR/raw, prefix: \"raw/\" }
      compress: gzip
      buffer: { size: 1MiB, interval: 100ms }
";

fn put_and_back_up(service: &mut Service, records: &[&str]) {
    let objects = service.objects("raw/raw").len();
    put(service, &records.iter().map(|r| r.as_bytes().to_vec()).collect::<Vec<_>>());
    service.until("they are backed up", |s| s.objects("raw/raw").len() > objects);
}

fn delivered(service: &Service) -> Vec<String> {
    let objects = service.objects("out").into_iter().filter(|(name, _)| !name.contains("_hydrant"));
    let text: Vec<u8> = objects.flat_map(|(_, bytes)| bytes).collect();
    let mut lines: Vec<String> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_was_backed_up_is_put_in_again_once_where_the_ends_of_records_are_certain() {
    let mut service = Service::start(STREAM);
    put_and_back_up(&mut service, &[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);
    service.settled(3);
    let (code, text) = redrive(&service, &[]);
    assert!(code == 0 && text.contains("0 objects: 0 records put in"), "a backup is no failure: {text}");
    let (code, text) = redrive(&service, &["--prefix", "raw/"]);
    assert!(code == 1 && text.contains("put in again with the kind `backup`"), "{text}");
    let (code, text) = redrive(&service, &["--kind", "backup", "--to", "2030-01-01T00:00:00Z"]);
    assert!(code == 1 && text.contains("neither code nor arrival"), "{text}");

    service.terminate();
    service.restart_to_die(Some(("redrive.put", 1)));
    let (code, text) = redrive(&service, &["--kind", "backup"]);
    assert_ne!(code, 0, "{text}");
    service.reap();
    service.restart();
    let (code, text) = redrive(&service, &["--kind", "backup"]);
    assert!(code == 0 && text.contains("1 objects: 0 records put in, 3 were before"), "{text}");
    service.settled(6);
    assert_eq!(delivered(&service), [1, 1, 2, 2, 3, 3].map(|n| format!("{{\"n\":{n}}}")));

    // Two records and two JSON values, and yet not the same; then what sources send with a newline.
    put_and_back_up(&mut service, &["{\"a\":", "1}{\"b\":2}"]);
    put_and_back_up(&mut service, &["a\n", "b\n"]);
    service.settled(10);
    let backed_up = service.objects("raw/raw").len();
    assert_eq!(backed_up, 3, "what is put in again is not backed up again");
    let (code, text) = redrive(&service, &["--kind", "backup", "--prefix", "raw/2"]);
    assert!(code == 0 && text.contains("3 objects: 2 records put in (2 at `transform`), 3 were before"), "{text}");
    assert!(text.contains("is left: its 2 records are not one to a line nor one JSON value each"), "{text}");
    service.settled(12);
    let (code, text) = redrive(&service, &["--kind", "backup"]);
    assert!(code == 0 && text.contains("0 records put in, 5 were before"), "{text}");
    assert_audit(&service);
}
