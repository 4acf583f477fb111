//! The `s3` sink: against a real MinIO what S3 is expected to do, against a double of our own ([`double`]) what stores
//! do on a bad day ([`faults`]).

mod faults;

use crate::rig::eye::{Eye, connect, settings};
use crate::rig::service::{Service, variable};
use hydrant::config::{Checksum, S3 as Settings, Sse};
use hydrant::deliver::body::Scratch;
use hydrant::deliver::object::{Created, Looked, ObjectStore};
use hydrant::deliver::s3::S3Sink;
use hydrant::deliver::{Attempt, Shipment, Sink, Spool};
use hydrant::fs::real::RealFs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

const MIB: usize = 1 << 20;

/// A shipment called `name` whose body lies in memory up to 1 MiB, in the scratch file above.
fn shipment_in(bytes: &[u8]) -> (Shipment, PathBuf) {
    static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory is made"));
    let dir = DIR.path().join(Uuid::new_v4().to_string());
    let scratch = Scratch::open(Arc::new(RealFs), dir.clone(), MIB).expect("scratch is made");
    let mut spool = Spool::new(&scratch);
    for piece in bytes.chunks(3 * MIB) {
        spool.tail().extend_from_slice(piece);
        spool.settle().expect("scratch can be written");
    }
    let file = std::fs::read_dir(&dir).expect("it lists").next().map_or(dir, |f| f.expect("it lists").path());
    let body = Arc::new(spool.finish(false));
    let (id, digest) = (Uuid::new_v4(), 0x00ab << 64 | 5);
    let shipment = Shipment {
        plan: 1,
        id,
        outputs: 7,
        digest,
        name: "name".to_owned(),
        planned_ms: 0,
        content_encoding: None,
        body,
        only_look: false,
    };
    (shipment, file)
}

pub fn shipment(name: &str, bytes: &[u8]) -> Shipment {
    Shipment { name: name.to_owned(), ..shipment_in(bytes).0 }
}

/// The same object under another plan.
fn stranger(shipment: &Shipment) -> Shipment {
    Shipment { id: Uuid::new_v4(), ..shipment.clone() }
}

/// Bytes without a pattern that a compressor or a repeated piece could hide behind.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    });
    let mut out: Vec<u8> = words.take(bytes.div_ceil(8)).flatten().collect();
    out.truncate(bytes);
    out
}

#[track_caller]
fn stored(attempt: Attempt) -> String {
    match attempt {
        Attempt::Stored { tag } => tag,
        other => panic!("expected Stored, found {other:?}"),
    }
}

#[track_caller]
fn misconfigured(attempt: Attempt, code: &str) -> String {
    match attempt {
        Attempt::Misconfigured { reason } | Attempt::Nowhere { reason }
            if reason.starts_with(&format!("S3.{code}: ")) =>
        {
            reason
        }
        other => panic!("expected Misconfigured by `S3.{code}`, found {other:?}"),
    }
}

#[test]
fn an_object_carries_its_owner_and_its_attributes() {
    let eye = Eye::new();
    let mut settings = settings(&eye.bucket);
    settings.storage_class = Some("REDUCED_REDUNDANCY".to_owned());
    for bytes in [0, 10, MIB, MIB + 1, 9 * MIB, 65 * MIB] {
        let bytes = noise(bytes);
        let name = format!("{}.gz", bytes.len());
        let ours = Shipment { content_encoding: Some("gzip"), ..shipment(&name, &bytes) };
        let sink = connect(&settings);
        stored(sink.attempt(&ours));
        assert_eq!(sink.create(&ours), Created::Taken, "{name}");
        let head = eye.head(&name);
        assert_eq!(head.content_type(), Some("application/octet-stream"));
        assert_eq!(head.content_encoding(), Some("gzip"), "{name}");
        assert_eq!(head.storage_class().map(|c| c.as_str()), Some("REDUCED_REDUNDANCY"));
        let metadata = head.metadata().expect("there is metadata");
        assert_eq!(metadata["hydrant-plan"], ours.id.to_string());
        assert_eq!(metadata["hydrant-outputs"], "7");
        assert_eq!(metadata["hydrant-digest"], "00000000000000ab0000000000000005");
        let Looked::Present { owner: Some(_), tag } = sink.look(&name) else { panic!("it is ours") };
        assert_eq!(Some(format!("\"{tag}\"").as_str()), head.e_tag());
        assert!(head.checksum_crc64_nvme().is_some(), "{name}");
        assert!(eye.bytes(&name) == bytes, "{name} came back different");
    }
}

#[test]
fn an_object_in_parts_is_created_whole_or_not_at_all() {
    let (eye, bytes) = (Eye::new(), noise(70 * MIB));
    let ours = shipment("large", &bytes);
    let sink = eye.sink();
    let tag = stored(sink.attempt(&ours));
    assert!(tag.ends_with("-5"), "`{tag}` is not the tag of five parts");
    assert_eq!(sink.create(&ours), Created::Taken);
    assert_eq!(stored(sink.attempt(&ours)), tag);
    assert_eq!(sink.attempt(&stranger(&ours)), Attempt::Foreign);
    assert!(eye.bytes("large") == bytes);

    eye.put("taken", b"theirs");
    assert_eq!(sink.attempt(&Shipment { name: "taken".to_owned(), ..ours }), Attempt::Foreign);
    assert_eq!(eye.bytes("taken"), b"theirs");
    assert_eq!((eye.open_uploads("large"), eye.open_uploads("taken")), (0, 0), "refused uploads are aborted");
}

#[test]
fn a_large_object_is_refused_as_surely_as_a_small_one() {
    let (eye, ours) = (Eye::new(), shipment("taken", &noise(40 * MIB)));
    let sink = eye.sink();
    eye.put("taken", b"theirs");
    // The store may answer and hang up while the body is still under way.
    for _ in 0..10 {
        assert_eq!(sink.attempt(&ours), Attempt::Foreign);
    }
}

#[test]
fn every_checksum_is_accepted() {
    let (eye, large) = (Eye::new(), noise(65 * MIB));
    for checksum in [Checksum::Crc64nvme, Checksum::Crc32, Checksum::Crc32c, Checksum::Sha256, Checksum::None] {
        let sink = connect(&Settings { checksum, ..settings(&eye.bucket) });
        for bytes in [&large[..10], &large[..5 * MIB], &large] {
            let name = format!("{checksum:?}/{}", bytes.len());
            stored(sink.attempt(&shipment(&name, bytes)));
            let head = eye.head(&name);
            let found = [
                head.checksum_crc64_nvme().map(|_| Checksum::Crc64nvme),
                head.checksum_crc32().map(|_| Checksum::Crc32),
                head.checksum_crc32_c().map(|_| Checksum::Crc32c),
                head.checksum_sha256().map(|_| Checksum::Sha256),
            ];
            let found: Vec<_> = found.into_iter().flatten().collect();
            let expected = if checksum == Checksum::None { vec![] } else { vec![checksum] };
            assert_eq!(found, expected, "{name}");
            assert!(eye.bytes(&name) == bytes, "{name} came back different");
        }
    }
}

#[test]
fn what_a_person_has_to_mend_is_said_by_its_code() {
    let (eye, ours) = (Eye::new(), shipment("name", b"bytes"));
    let wrong = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(&eye.bucket);
        change(&mut settings);
        connect(&settings)
    };

    let sink = wrong(&|s| s.secret_access_key = Some("wrong-secret".to_owned().into()));
    let reason = misconfigured(sink.attempt(&ours), "SignatureDoesNotMatch");
    assert!(reason.contains("HTTP 403") && reason.contains(&format!("`s3://{}/name`", eye.bucket)), "{reason}");
    assert!(!reason.contains("wrong-secret") && !reason.contains('\n'), "{reason}");
    let Looked::Failed(failure) = sink.look("name") else { panic!("nobody may look with a wrong secret") };
    assert!(failure.misconfigured && failure.reason.starts_with("S3.AccessDenied: look at"), "{failure:?}");
    assert!(sink.probe("_hydrant/probe-x").expect_err("nobody may put").misconfigured);

    let sink = wrong(&|s| s.access_key_id = Some("nobody".to_owned()));
    misconfigured(sink.attempt(&ours), "InvalidAccessKeyId");

    let sink = wrong(&|s| s.bucket = "no-such-bucket".to_owned());
    misconfigured(sink.attempt(&ours), "NoSuchBucket");
    misconfigured(sink.attempt(&shipment("large", &noise(65 * MIB))), "NoSuchBucket");
    let Looked::Failed(failure) = sink.look("name") else { panic!("without a bucket nothing is known to be absent") };
    assert!(failure.misconfigured && failure.reason.starts_with("S3.NoSuchBucket: "), "{failure:?}");

    let sink = wrong(&|s| s.storage_class = Some("NO_SUCH_CLASS".to_owned()));
    misconfigured(sink.attempt(&ours), "InvalidStorageClass");

    // MinIO has no key store here, and says so as if it were the condition's fault.
    let sink = wrong(&|s| s.sse = Some(Sse::KmsKeyId("key".to_owned())));
    assert!(sink.probe("_hydrant/probe-x").expect_err("it cannot encrypt").misconfigured);

    assert_eq!(eye.sink().look("name"), Looked::Absent);
    assert!(eye.names().is_empty());
}

/// The only test that touches the files that `tests/run` names to the AWS SDKs; nobody else needs them.
#[test]
fn credentials_that_appear_or_change_are_found() {
    let eye = Eye::new();
    let file = variable("AWS_SHARED_CREDENTIALS_FILE");
    let write = |secret: &str| {
        let id = variable("HYDRANT_TEST_S3_ACCESS_KEY");
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        std::fs::write(&file, text).expect("the file can be written");
    };
    let sink = connect(&Settings { access_key_id: None, secret_access_key: None, ..settings(&eye.bucket) });
    let ours = shipment("name", b"bytes");
    misconfigured(sink.attempt(&ours), "CredentialsNotLoaded");
    write("wrong");
    misconfigured(sink.attempt(&ours), "SignatureDoesNotMatch");
    write(&variable("HYDRANT_TEST_S3_SECRET_KEY"));
    stored(sink.attempt(&ours));
    std::fs::remove_file(&file).expect("the file can be removed");
}

#[test]
fn conditions_are_found_where_they_are_heeded() {
    let eye = Eye::new();
    let sink = eye.sink();
    for _ in 0..3 {
        assert_eq!(sink.probe("_hydrant/probe-clicks"), Ok(true));
        assert!(sink.has_conditions());
    }
    assert_eq!(eye.names(), ["_hydrant/probe-clicks"]);
}

#[test]
fn of_many_racing_plans_one_gets_the_name() {
    let eye = Eye::new();
    let sink = eye.sink();
    for (name, bytes) in [("small", 100), ("streamed", 2 * MIB)] {
        let object = shipment(name, &noise(bytes));
        let racers: Vec<Shipment> = (0..16).map(|_| stranger(&object)).collect();
        let won: Vec<&Shipment> = race(&sink, &racers)
            .into_iter()
            .zip(&racers)
            .filter_map(|(attempt, racer)| match attempt {
                Attempt::Stored { .. } => Some(racer),
                Attempt::Foreign => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(won.len(), 1, "{name}");
        let owner = eye.head(name).metadata().expect("there is metadata")["hydrant-plan"].clone();
        assert_eq!(owner, won[0].id.to_string());
    }
}

/// Attempts all at once. A writer that finds the name under way but not yet taken is told to try again, and does.
fn race(sink: &S3Sink, racers: &[Shipment]) -> Vec<Attempt> {
    let again = |racer: &Shipment| loop {
        match sink.attempt(racer) {
            Attempt::Retry { reason } => assert!(reason.starts_with("the name was taken"), "{reason}"),
            decided => return decided,
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = racers.iter().map(|racer| scope.spawn(move || again(racer))).collect();
        threads.into_iter().map(|t| t.join().expect("no racer panics")).collect()
    })
}

#[test]
fn an_object_says_how_it_is_encoded_unless_it_is_told_not_to() {
    let eye = Eye::new();
    let stream = |name: &str, more: &str| {
        format!(
            "  {name}:\n    compress: gzip\n    buffer: {{ size: 1MiB, interval: 100ms }}\n    destination:\n      s3: {{ \
             bucket: {}, prefix: \"{name}/\", endpoint: \"{}\", access_key_id: {}, secret_access_key: {}{more} }}\n",
            eye.bucket,
            variable("HYDRANT_TEST_S3_ENDPOINT"),
            variable("HYDRANT_TEST_S3_ACCESS_KEY"),
            variable("HYDRANT_TEST_S3_SECRET_KEY"),
        )
    };
    let both = stream("says", "") + &stream("silent", ", content_encoding: none");
    let mut service = Service::start(&both);
    for name in ["says", "silent"] {
        assert_eq!(service.put(name, &[b"one\n"]), 200);
    }
    service.settled(2);
    for (name, expected) in [("says", Some("gzip")), ("silent", None)] {
        let object = eye.names().into_iter().find(|n| n.starts_with(name)).expect("an object");
        assert!(object.ends_with(".gz"), "{object}");
        assert_eq!(eye.head(&object).content_encoding(), expected, "{name}");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&*eye.bytes(&object)), &mut text).unwrap();
        assert_eq!(text, "one\n");
    }
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}
