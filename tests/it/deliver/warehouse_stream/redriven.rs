//! What a warehouse did not take is loaded by `hydrant redrive` under the plan that its manifest names, once.

use super::{Place, Put, assert_audit, outlet, put, put_rows, row};
use crate::deliver::warehouse::BOTH;
use crate::rig::eye::Eye;
use crate::rig::postgres::SHARED;
use crate::rig::service::Service;
use hydrant::deliver::warehouse::manifest;

fn redrive(service: &Service, stream: &str, options: &[&str]) -> (i32, String) {
    let config = service.config().display().to_string();
    service.command_with(&[&["redrive"], options, &[&config, stream]].concat())
}

#[test]
fn a_manifest_is_loaded_again_once_and_only_by_its_own_stream() {
    let eye = Eye::new();
    let databases = BOTH.map(|dialect| (dialect, SHARED.database()));
    let places = databases.each_ref().map(|(dialect, database)| {
        let (front, address) = dialect.front(database);
        (front, Place { dialect: *dialect, address, database, bucket: &eye.bucket })
    });
    let name = |place: &Place| format!("again_{:?}", place.dialect).to_lowercase();
    let streams: String = places.iter().map(|(_, p)| p.stream(&name(p), &[("retry_duration", "0s")])).collect();
    let mut service = Service::start(&streams);
    for (_, place) in &places {
        put_rows(&service, &name(place), 0..300);
    }
    service.settled(600);
    for (_, place) in &places {
        let stream = name(place);
        assert_eq!(outlet(&service, &stream, "delivery-failed"), 300, "{stream}");
        // Nothing is mended yet: it stays where it is.
        let (code, text) = redrive(&service, &stream, &[]);
        assert!(code == 1 && text.contains(&place.dialect.code("TableNotFound")), "{text}");
        place.database.run(&format!("CREATE TABLE {stream} (n bigint, s text)"));
        let (code, text) = redrive(&service, &stream, &["--kind", "manifests", "--dry-run"]);
        assert!(code == 0 && text.contains("300 records would be put in (300 at `manifests`)"), "{text}");
        let (code, text) = redrive(&service, &stream, &["--kind", "manifests"]);
        assert!(code == 0 && text.contains("300 records put in"), "{text}");
        let (code, text) = redrive(&service, &stream, &[]);
        assert!(code == 0 && text.contains("0 records put in, 300 were before"), "{text}");
        let found = place.database.value(&format!("SELECT count(*) || ' ' || count(DISTINCT n) FROM {stream}"));
        assert_eq!(found, "300 300", "{stream}");
    }
    assert_audit(&service);
    let (_, text) = service.command(&["audit", "--deep"]);
    assert_eq!(text.matches("in failure objects 300, of these redriven 300").count(), 2, "{text}");
}

/// Manifests and other objects behind one that is broken, or whose object is gone, are put in all the same.
#[test]
fn a_manifest_that_cannot_be_loaded_keeps_no_other_one_from_being_loaded() {
    let eye = Eye::new();
    let database = SHARED.database();
    let (_front, address) = BOTH[0].front(&database);
    let place = Place { dialect: BOTH[0], address, database: &database, bucket: &eye.bucket };
    let mut service = Service::start(&place.stream("s", &[("retry_duration", "0s")]));
    for batch in 0..3 {
        put_rows(&service, "s", batch * 100..batch * 100 + 100);
        service.settled(100 * (batch + 1));
    }
    let manifests: Vec<String> = eye.names().into_iter().filter(|name| name.contains("/manifests/")).collect();
    assert_eq!(manifests.len(), 3, "{manifests:?}");
    let bytes = eye.bytes(&manifests[0]);
    eye.put(&manifests[0], &bytes[..bytes.len() / 2]);
    let staged = manifest::read(&eye.bytes(&manifests[1])).expect("it is whole").loads[0].object.clone();
    eye.remove(&staged);
    database.run("CREATE TABLE s (n bigint, s text)");
    let (code, text) = redrive(&service, "s", &["--kind", "manifests"]);
    assert!(code == 1 && text.contains("100 records put in (100 at `manifests`)"), "{text}");
    assert!(text.contains("2 objects cannot be put in as they are"), "{text}");
    for left in &manifests[..2] {
        assert!(text.contains(&format!("`{left}` is left: ")), "{text}");
    }
    assert!(text.contains("found no manifest") && text.contains(&staged), "{text}");
    assert_eq!(database.value("SELECT count(*) FROM s"), "100");
    eye.put(&manifests[0], &bytes);
    let (code, text) = redrive(&service, "s", &["--kind", "manifests"]);
    assert!(code == 1 && text.contains("100 records put in (100 at `manifests`), 100 were before"), "{text}");
    assert_eq!(database.value("SELECT count(*) || ' ' || count(DISTINCT n) FROM s"), "200 200");
}

/// However many of them there are in front.
#[test]
fn objects_that_are_gone_keep_nothing_behind_them_from_being_put_in() {
    let eye = Eye::new();
    let database = SHARED.database();
    let (_front, address) = BOTH[0].front(&database);
    let place = Place { dialect: BOTH[0], address, database: &database, bucket: &eye.bucket };
    let mut service = Service::start(&place.stream("s", &[("retry_duration", "0s")]));
    for n in 0..12 {
        put_rows(&service, "s", n..n + 1);
        service.settled(n + 1);
    }
    let manifests: Vec<String> = eye.names().into_iter().filter(|name| name.contains("/manifests/")).collect();
    for name in &manifests[..11] {
        eye.remove(&manifest::read(&eye.bytes(name)).expect("it is whole").loads[0].object);
    }
    database.run("CREATE TABLE s (n bigint, s text)");
    let (code, text) = redrive(&service, "s", &[]);
    assert!(code == 1 && text.contains("1 records put in") && text.contains("11 objects cannot be put in"), "{text}");
    assert_eq!(database.value("SELECT count(*) FROM s"), "1");
}

/// A run that died has put some of an object's records in and says so in the plan log only. One that selects nothing of it
/// does not have that forgotten.
#[test]
#[cfg(feature = "sabotage")]
fn what_a_run_that_died_has_put_in_is_known_behind_a_run_that_selects_nothing() {
    let eye = Eye::new();
    let database = SHARED.database();
    let (_front, address) = BOTH[0].front(&database);
    let place = Place { dialect: BOTH[0], address, database: &database, bucket: &eye.bucket };
    let mut service = Service::start(&place.stream("s", &[("retry_duration", "0s")]));
    let bad = br#"{"n":"no number","s":"x"}"#.to_vec();
    let records: Vec<Vec<u8>> = std::iter::once(bad).chain((0..100).map(row)).collect();
    assert_eq!(put(service.client(), "s", &records), Put::Taken);
    service.settled(101);
    database.run("CREATE TABLE s (n bigint, s text)");
    service.terminate();
    service.restart_to_die(Some(("redrive.put", 1)));
    redrive(&service, "s", &["--kind", "manifests"]);
    service.reap();
    service.restart();
    service.until("what was put in is loaded", |s| outlet(s, "s", "destination") == 100);
    let (_, text) = redrive(&service, "s", &["--kind", "manifests", "--code", "Other"]);
    assert!(text.contains("0 records put in"), "{text}");
    let (_, text) = redrive(&service, "s", &["--kind", "manifests"]);
    assert!(text.contains("0 records put in"), "{text}");
    assert_eq!(database.value("SELECT count(*) || ' ' || count(DISTINCT n) FROM s"), "100 100");
}
