//! What a warehouse did not take is loaded by `hydrant redrive` under the plan that its manifest names, once.

use super::{Place, assert_audit, outlet, put_rows};
use crate::postgres::SHARED;
use crate::s3::Eye;
use crate::service::Service;
use crate::warehouse::BOTH;

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
