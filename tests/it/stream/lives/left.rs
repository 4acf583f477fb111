//! Plans that outlive their configuration through a restart: those of a stream that the file does not name any more, and
//! those to places that it does not lead to any more.

use super::{alarm_says, audit, bucket, in_bucket, local, minio, put, records};
use crate::deliver::http_endpoint::stream;
use crate::rig::endpoint::{Answer, Endpoint};
use crate::rig::eye::Eye;
use crate::rig::proxy::Proxy;
use crate::rig::service::{Service, collect, variable};

/// Failures of a stream that sends to an endpoint.
const FAILED: &str = "mode: failed, local: { dir: DIR/failed }";

/// A service of a stream `s` to an endpoint that refuses, killed while records are on their way there, and started again
/// with a file that names another stream only. `key`: as the file says it; what is in the file `key` beside it is `first`.
fn left(endpoint: &Endpoint, key: &str) -> Service {
    endpoint.always(Answer::status(503));
    let mut service = Service::new();
    std::fs::write(service.config().with_file_name("key"), "first").unwrap();
    let s = stream("s", &endpoint.url("/in"), &[("access_key", key), ("retry_duration", "2h")], FAILED);
    service.configure("", &(local("other", "") + &s));
    service.restart();
    put(&service, "s", "held", 20);
    service.until("records were sent", |s| s.status("s").open_plans > 0 && endpoint.arrived() > 0);
    service.kill();
    service.configure("", &local("other", ""));
    service
}

#[test]
fn a_stream_that_left_the_file_before_a_start_delivers_with_the_settings_it_had() {
    let endpoint = Endpoint::start();
    let mut service = left(&endpoint, "\"${file:key}\"");
    for _ in 0..2 {
        let arrived = endpoint.arrived();
        service.restart();
        service.until("it is sent again", |_| endpoint.arrived() > arrived);
        assert_eq!(service.status("s").state, "retired");
        service.kill();
    }
    // A secret is what it refers to today.
    std::fs::write(service.config().with_file_name("key"), "second").unwrap();
    endpoint.always(Answer::Ok);
    service.restart();
    service.settled(20);
    let taken = endpoint.successes();
    assert!(taken.iter().all(|request| request.head.header("x-amz-firehose-access-key") == "second"));
    assert_eq!(endpoint.accepted().len(), 20);
    audit(&service);
}

#[test]
fn a_secret_that_stood_in_the_file_is_not_kept_and_what_waits_for_it_says_so() {
    let endpoint = Endpoint::start();
    let mut service = left(&endpoint, "a-literal-key");
    service.restart_until("/healthz");
    let expected = "`destination.http.access_key`: it stood in the configuration itself and is not kept";
    service.until("the alarm says why", |s| alarm_says(s, expected));
    let mut files = Vec::new();
    collect(&service.config().with_file_name("data"), &mut files);
    assert!(files.iter().any(|(name, _)| name.ends_with("PLACES")), "nothing is kept");
    let holds = |bytes: &[u8]| bytes.windows(13).any(|window| window == b"a-literal-key");
    assert!(files.iter().all(|(_, bytes)| !holds(bytes)), "the secret is kept");
    endpoint.always(Answer::Ok);
    service.kill();
    let s = stream("s", &endpoint.url("/in"), &[("access_key", "a-literal-key")], FAILED);
    service.configure("", &(local("other", "") + &s));
    service.restart();
    service.settled(20);
    assert_eq!(endpoint.accepted().len(), 20);
}

#[test]
fn places_that_the_file_does_not_lead_to_any_more_get_what_is_on_its_way_there_after_starts() {
    let (endpoint, eye, proxy) = (Endpoint::start(), Eye::new(), Proxy::hanging(minio()));
    endpoint.always(Answer::status(503));
    let mut service = Service::new();
    let secret = variable("HYDRANT_TEST_S3_SECRET_KEY");
    std::fs::write(service.config().with_file_name("secret"), &secret).unwrap();
    let backup = bucket(&eye.bucket, proxy.address, "2s").replace(&secret, "${file:secret}");
    let backup = format!("mode: all, {backup}");
    let keys = [("retry_duration", "2h"), ("access_key", "\"${file:secret}\"")];
    service.configure("", &stream("s", &endpoint.url("/in"), &keys, &backup));
    service.restart();
    put(&service, "s", "first", 20);
    service.until("both are on their way", |s| {
        s.status("s").open_plans == 2 && endpoint.arrived() > 0 && proxy.hung() > 0
    });
    // Neither the endpoint nor the backup is in the file any more, and then the settings of `local` are changed, too.
    for more in ["", "", "    time_zone: Europe/Berlin\n"] {
        service.kill();
        service.configure("", &local("s", more));
        service.restart_until("/healthz");
    }
    put(&service, "s", "second", 10);
    service.until("the new destination has these", |s| s.status("s").outlets["destination"].records == 10);
    assert_eq!(service.status("s").open_plans, 2);
    endpoint.always(Answer::Ok);
    proxy.forward();
    service.until("everything is where it had to go", |s| {
        let status = s.status("s");
        status.pending == 0 && status.backup_pending == 0 && status.open_plans == 0
    });
    assert_eq!(endpoint.accepted().len(), 20);
    assert_eq!(in_bucket(&eye), records("first", 20).into_iter().collect());
    service.until("no alarm is left", |s| s.status("s").alarm.is_none());
}
