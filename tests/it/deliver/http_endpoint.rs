//! The `http` destination against an endpoint that does what it is told, and against one that we did not write. What the
//! endpoint took and what stands under the error prefix is what was put, each record once, whatever goes wrong.

use crate::api::clients;
use crate::rig::double::{Double, Fault};
use crate::rig::endpoint::{Answer, Arrived, Endpoint};
use crate::rig::eye::Eye;
use crate::rig::pace::Pace;
use crate::rig::service::{Service, scale};
use crate::rig::store::Store;
use crate::rig::telegraf::Telegraf;
use rustix::process::Signal;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

/// Memory that the service may take more of, whatever an endpoint answers.
const GROWTH_KIB_MAX: u64 = 64 << 10;
/// No answer is read beyond this; the system's buffers on both sides hold some more.
const TAKEN_BYTES_MAX: u64 = 16 << 20;

/// Where what failed goes if nothing else is said: a directory named as the stream.
const FAILED: &str = "mode: failed, local: { dir: DIR/failed/NAME, prefix: \"raw/\", error_prefix: \
                      \"errors/!{firehose:error-output-type}/\" }";

/// A stream to `url`; `more` replaces and adds keys of `http`.
pub fn stream(name: &str, url: &str, more: &[(&str, &str)], backup: &str) -> String {
    let mut keys: BTreeMap<&str, &str> = [
        ("name", "test"),
        ("access_key", "k1"),
        ("content_encoding", "gzip"),
        ("common_attributes", "{ a: b }"),
        ("retry_duration", "60s"),
        ("retry_first", "50ms"),
        ("retry_max", "200ms"),
        ("timeout", "2s"),
        ("concurrency", "4"),
        ("ordered", "false"),
    ]
    .into();
    keys.extend(more.iter().copied());
    let keys: String = keys.iter().map(|(key, value)| format!(", {key}: {value}")).collect();
    let backup = backup.replace("NAME", name);
    format!(
        "  {name}:\n    buffer: {{ size: 1MiB, interval: 1s }}\n    destination:\n      http: {{ url: \"{url}\"{keys} \
         }}\n    backup: {{ {backup}, buffer: {{ size: 1MiB, interval: 1s }}, compress: none }}\n"
    )
}

/// A line under the error prefix.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Failure {
    attempts_made: u64,
    arrival_timestamp: u64,
    error_code: String,
    error_message: String,
    attempt_ending_timestamp: u64,
    raw_data: String,
    subsequence_number: u64,
    data_id: String,
}

impl Failure {
    /// Its record.
    fn data(&self) -> Vec<u8> {
        base64_simd::STANDARD.decode_to_vec(&self.raw_data).expect("base64")
    }
}

/// The failures that objects hold.
fn failures(objects: Vec<(String, Vec<u8>)>) -> Vec<Failure> {
    let mut found = Vec::new();
    for (name, bytes) in objects.into_iter().filter(|(name, _)| name.contains("errors/")) {
        assert!(name.contains("errors/http-endpoint-failed/"), "{name}");
        for line in String::from_utf8(bytes).expect("text").lines() {
            let failure: Failure = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(failure.arrival_timestamp <= failure.attempt_ending_timestamp, "{line}");
            found.push(failure);
        }
    }
    let ids: BTreeSet<_> = found.iter().map(|f| (&f.data_id, f.subsequence_number)).collect();
    assert_eq!(ids.len(), found.len(), "no two have one id");
    found
}

fn failed(service: &Service, name: &str) -> Vec<Failure> {
    failures(service.objects(&format!("failed/{name}")))
}

/// What the endpoint took and what failed is what was put, each record once.
#[track_caller]
fn assert_once(what: &str, put: &[Vec<u8>], accepted: Vec<Vec<u8>>, failed: &[Failure]) {
    let (taken, gone) = (accepted.len(), failed.len());
    let mut found: Vec<_> = accepted.into_iter().chain(failed.iter().map(Failure::data)).collect();
    let mut put = put.to_vec();
    found.sort();
    put.sort();
    let same = found == put;
    assert!(same, "{what}: {} were put, {taken} accepted, {gone} failed, or others than were put", put.len());
}

fn assert_audit(service: &Service) {
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 0 && text.contains("gap 0"), "{text}");
}

/// Records of this many bytes that begin with their number.
fn numbered(numbers: std::ops::Range<u32>, bytes: usize) -> Vec<Vec<u8>> {
    numbers.map(|n| format!("{n:06}{}", "x".repeat(bytes - 6)).into_bytes()).collect()
}

fn numbers(records: &[Vec<u8>]) -> Vec<u32> {
    records.iter().map(|r| std::str::from_utf8(&r[..6]).unwrap().parse().unwrap()).collect()
}

/// Puts in batches that are small enough.
fn put(service: &Service, stream: &str, records: &[Vec<u8>]) {
    for batch in records.chunks(10) {
        let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        assert_eq!(service.put(stream, &batch), 200);
    }
}

fn is_settled(service: &Service, stream: &str, records: usize) -> bool {
    let s = service.status(stream);
    s.accepted == records as u64 && s.pending == 0 && s.backup_pending == 0
}

fn settled_at(service: &Service, stream: &str, outlet: &str) -> u64 {
    service.status(stream).outlets.get(outlet).map_or(0, |o| o.records)
}

fn alarm_says(service: &Service, stream: &str, text: &str) -> bool {
    service.status(stream).alarm.is_some_and(|a| a.contains(text))
}

const EXCEPTION: &str = "HttpEndpoint.DestinationException";
const INVALID: &str = "HttpEndpoint.InvalidResponseFromDestination";
const UNRECOGNISED: &str = "is not recognized as valid JSON or has unexpected fields. Raw response received: 200 ";
const NULL_ID: &str = "Raw response received: 200 {\"requestId\":null}";

/// All that is no success: the path of its stream, the answer, the code and a part of the message that it leads to.
fn faults(elsewhere: &str) -> Vec<(String, Answer, &'static str, String)> {
    let mut faults = Vec::new();
    for status in [400, 401, 403, 404, 429, 500, 503] {
        let message = format!("The following response was received from the endpoint destination. {status}: ");
        faults.push((format!("status-{status}"), Answer::status(status), EXCEPTION, message + "{\"message\":"));
    }
    let others = [
        ("redirect", Answer::Redirect(elsewhere.to_owned()), EXCEPTION, "endpoint destination. 307: "),
        ("no-content", Answer::Status204, EXCEPTION, "endpoint destination. 204"),
        ("hang", Answer::Hang, "HttpEndpoint.RequestTimeout", ""),
        ("slow-loris", Answer::SlowLoris(20), "HttpEndpoint.RequestTimeout", ""),
        ("huge", Answer::Huge, "HttpEndpoint.ResponseTooLarge", ""),
        ("bomb", Answer::GzipBomb, INVALID, ""),
        ("no-json", Answer::InvalidJson, INVALID, UNRECOGNISED),
        ("another-id", Answer::WrongRequestId, INVALID, UNRECOGNISED),
        ("null-id", Answer::NullRequestId, INVALID, NULL_ID),
        ("no-type", Answer::MissingContentType, INVALID, ""),
        ("unknown-member", Answer::UnknownField, INVALID, UNRECOGNISED),
        ("no-length", Answer::NoContentLength, INVALID, ""),
        ("reset-early", Answer::ResetBefore, "HttpEndpoint.ConnectionReset", ""),
        ("reset-late", Answer::ResetAfter, "HttpEndpoint.ConnectionReset", ""),
        ("stored-unsaid", Answer::CloseAfterStore, "HttpEndpoint.ConnectionReset", ""),
    ];
    faults.extend(others.map(|(name, answer, code, message)| (name.to_owned(), answer, code, message.to_owned())));
    faults
}

/// A stream for each fault, called as its path.
fn streams(endpoint: &Endpoint, faults: &[(String, Answer, &str, String)], more: &[(&str, &str)]) -> String {
    faults.iter().map(|(name, ..)| stream(name, &endpoint.url(&format!("/{name}")), more, FAILED)).collect()
}

/// The first `times` requests to a fault's path meet it; the others are taken.
fn misbehave(
    faults: &[(String, Answer, &str, String)],
    times: usize,
) -> impl Fn(&Arrived) -> Answer + Send + Sync + use<> {
    let answers: BTreeMap<String, Answer> =
        faults.iter().map(|(name, a, ..)| (format!("/{name}"), a.clone())).collect();
    let met = Mutex::new(BTreeMap::<String, usize>::new());
    move |arrived| {
        let mut met = met.lock().expect("nobody panics");
        let met = met.entry(arrived.head.target.clone()).or_default();
        *met += 1;
        if *met > times { Answer::Ok } else { answers.get(&arrived.head.target).cloned().unwrap_or(Answer::Ok) }
    }
}

#[test]
fn requests_are_as_firehose_makes_them() {
    let endpoint = Endpoint::start();
    let plain = [("content_encoding", "none"), ("common_attributes", "{}")];
    let url = endpoint.url("/path/%7e//a?query=1&b=%20");
    let mut service = Service::start(&(stream("s", &url, &[], FAILED) + &stream("plain", &url, &plain, FAILED)));
    endpoint.next([Answer::NullErrorMessage]);
    let records: Vec<Vec<u8>> = ["one", "", "two\n", "{\"three\":3}"].map(|r| r.as_bytes().to_vec()).into();
    put(&service, "s", &records);
    put(&service, "plain", &records);
    service.settled(8);
    let seen = endpoint.requests();
    assert_eq!(seen.len(), 2, "{seen:?}");
    for request in &seen {
        assert_eq!(request.head.target, "/path/%7e//a?query=1&b=%20");
        assert_eq!(request.head.header("x-amz-firehose-access-key"), "k1");
        assert_eq!(request.head.header("user-agent"), "Amazon Kinesis Data Firehose Agent/1.0");
        assert_eq!(request.records, records);
        let (gzip, attributes) = match request.head.header("x-amz-firehose-source-arn").ends_with("/s") {
            true => ("gzip", "{\"commonAttributes\":{\"a\":\"b\"}}"),
            false => ("", ""),
        };
        assert_eq!(request.head.header("content-encoding"), gzip);
        assert_eq!(request.head.header("x-amz-firehose-common-attributes"), attributes);
    }
    endpoint.assert_one_body_per_id();
    for name in ["s", "plain"] {
        assert_eq!((settled_at(&service, name, "destination"), settled_at(&service, name, "delivery-failed")), (4, 0));
        assert!(service.objects(&format!("failed/{name}")).is_empty(), "nothing failed");
    }
    assert_audit(&service);
}

#[test]
fn what_is_no_success_is_tried_again_and_nothing_fails() {
    let (endpoint, elsewhere) = (Endpoint::start(), Endpoint::start());
    let faults = faults(&elsewhere.url("/"));
    let mut service = Service::start(&streams(&endpoint, &faults, &[("timeout", "500ms")]));
    endpoint.script(misbehave(&faults, 2));
    let record = vec![b"record".to_vec()];
    faults.iter().for_each(|(name, ..)| put(&service, name, &record));
    service.settled(faults.len() as u64);
    for (name, ..) in &faults {
        let tried: Vec<_> = endpoint.requests().into_iter().filter(|r| r.head.target == format!("/{name}")).collect();
        // One whose body was never read is not seen.
        let expected = if name == "reset-early" { 1 } else { 3 };
        assert_eq!(tried.len(), expected, "{name}: tried again until it is taken, and not after");
        assert!(tried.iter().all(|r| r.id == tried[0].id), "{name}: one id");
        assert_once(name, &record, endpoint.accepted_at(&format!("/{name}")), &failed(&service, name));
        assert!(service.status(name).alarm.is_none(), "{name}");
    }
    endpoint.assert_one_body_per_id();
    assert_eq!(elsewhere.connections(), 0, "no redirect is followed");
    assert_audit(&service);
}

#[test]
fn what_is_never_a_success_fails_with_its_reason_in_bounded_memory() {
    let (endpoint, elsewhere) = (Endpoint::start(), Endpoint::start());
    let faults = faults(&elsewhere.url("/"));
    let mut service = Service::start(&streams(&endpoint, &faults, &[("timeout", "500ms"), ("retry_duration", "1s")]));
    let records: Vec<Vec<u8>> = ["before", "during-1", "during-2", "after"].map(|r| r.as_bytes().to_vec()).into();
    let all = |service: &Service, records: &[Vec<u8>]| faults.iter().for_each(|(n, ..)| put(service, n, records));
    all(&service, &records[..1]);
    service.settled(faults.len() as u64);
    let before = service.resident_kib();
    endpoint.script(misbehave(&faults, usize::MAX));
    all(&service, &records[1..3]);
    let most = Mutex::new(before);
    service.until("all has failed", |s| {
        let mut most = most.lock().unwrap();
        *most = (*most).max(s.resident_kib());
        faults.iter().all(|(name, ..)| is_settled(s, name, 3))
    });
    let growth = most.into_inner().unwrap() - before;
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB more than before");
    let taken = endpoint.huge_taken();
    assert!(taken.iter().all(|t| *t < TAKEN_BYTES_MAX), "of a huge answer were read: {taken:?} bytes");
    endpoint.always(Answer::Ok);
    all(&service, &records[3..]);
    service.settled(4 * faults.len() as u64);
    for (name, _, code, message) in &faults {
        let failed = failed(&service, name);
        for failure in &failed {
            assert_eq!(&failure.error_code, code, "{name}: {failure:?}");
            assert!(failure.error_message.contains(message), "{name}: {failure:?}");
            assert!(failure.attempts_made > 1, "{name}: {failure:?}");
        }
        assert_eq!(failed.len(), 2, "{name}");
        assert_once(name, &records, endpoint.accepted_at(&format!("/{name}")), &failed);
        assert_eq!((settled_at(&service, name, "destination"), settled_at(&service, name, "delivery-failed")), (2, 2));
    }
    endpoint.assert_one_body_per_id();
    assert_eq!(elsewhere.connections(), 0, "no redirect is followed");
    assert_audit(&service);
}

#[test]
fn no_retry_duration_is_one_attempt() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::status(500));
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[("retry_duration", "0s")], FAILED));
    put(&service, "s", &[b"x".to_vec()]);
    service.settled(1);
    assert_eq!(endpoint.requests().len(), 1);
    let failed = failed(&service, "s");
    assert_eq!((failed.len(), failed[0].attempts_made), (1, 1));
    assert_audit(&service);
}

#[test]
fn waits_between_attempts_double_up_to_the_longest() {
    let endpoint = Endpoint::start();
    endpoint.next(vec![Answer::status(500); 6]);
    let pace = [("retry_first", "50ms"), ("retry_max", "400ms")];
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &pace, FAILED));
    put(&service, "s", &[b"x".to_vec()]);
    service.settled(1);
    let seen = endpoint.requests();
    assert_eq!(seen.len(), 7);
    for (n, pair) in seen.windows(2).enumerate() {
        let (waited, least) = (pair[1].arrived - pair[0].arrived, f64::from((50_u32 << n).min(400)) * 0.85);
        // Not at most: the machine may be busy.
        assert!(waited.as_secs_f64() * 1000.0 >= least, "wait {n}: {waited:?}, expected {least} ms or more");
    }
    assert_audit(&service);
}

#[test]
fn what_is_too_large_is_split_down_to_the_record_that_is() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::TooLarge413 { bytes: 1000, records: 3 });
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[], FAILED));
    let mut records = numbered(0..40, 100);
    records[17] = numbered(17..18, 1001).remove(0);
    put(&service, "s", &records);
    service.settled(40);
    let failed = failed(&service, "s");
    assert_eq!(failed.len(), 1, "only the one that is too large by itself: {failed:?}");
    assert_eq!((failed[0].data(), failed[0].error_code.as_str()), (records[17].clone(), EXCEPTION));
    assert!(failed[0].error_message.contains("endpoint destination. 413: "), "{failed:?}");
    assert_once("split", &records, endpoint.accepted(), &failed);
    assert!(endpoint.successes().iter().all(|r| r.records.len() <= 3));
    endpoint.assert_one_body_per_id();
    put(&service, "s", &numbered(40..41, 100));
    service.settled(41);
    assert_eq!(numbers(&endpoint.accepted()).into_iter().max(), Some(40));
    assert_audit(&service);
}

#[test]
fn order_is_kept_where_a_request_is_split() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::TooLarge413 { bytes: usize::MAX, records: 3 });
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[("ordered", "true")], FAILED));
    put(&service, "s", &numbered(0..50, 100));
    service.settled(50);
    assert_eq!(numbers(&endpoint.accepted()), (0..50).collect::<Vec<_>>());
    endpoint.assert_one_body_per_id();
    assert_audit(&service);
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_named_while_it_is_tried_and_in_what_fails() {
    let (mut refusing, secured, plain) = (Endpoint::start(), Endpoint::start_tls(), Endpoint::start());
    refusing.stop();
    let https = plain.url("/").replace("http:", "https:");
    let cases = [
        ("refused", refusing.url("/"), "HttpEndpoint.ConnectionFailed"),
        ("untrusted", secured.url("/"), "HttpEndpoint.SSLHandshakeFailure"),
        ("no-tls", https, "HttpEndpoint.SSLHandshakeFailure"),
    ];
    let brief = [("retry_duration", "500ms")];
    let both = cases
        .iter()
        .map(|(name, url, _)| stream(name, url, &[], FAILED) + &stream(&format!("{name}-brief"), url, &brief, FAILED));
    let mut service = Service::start(&both.collect::<String>());
    for (name, ..) in &cases {
        put(&service, name, &[b"x".to_vec()]);
        put(&service, &format!("{name}-brief"), &[b"x".to_vec()]);
    }
    for (name, _, code) in &cases {
        service.until(&format!("{name}: an alarm by {code}"), |s| alarm_says(s, name, code));
        let brief = format!("{name}-brief");
        service.until(&format!("{name}: given up"), |s| is_settled(s, &brief, 1));
        let failed = failed(&service, &brief);
        assert_eq!((failed.len(), failed[0].error_code.as_str()), (1, *code), "{failed:?}");
        assert!(failed[0].attempts_made > 1, "{failed:?}");
    }
    assert!(secured.requests().is_empty() && plain.requests().is_empty(), "nothing is sent without trust");
    refusing.restart();
    service.until("it is delivered", |s| is_settled(s, "refused", 1));
    service.until("no alarm", |s| s.status("refused").alarm.is_none());
    assert_eq!(refusing.accepted(), [b"x"]);
    assert_audit(&service);
}

#[test]
fn a_self_signed_certificate_that_ca_names_is_trusted_for_who_it_names() {
    let [own, nameless, elsewhere, expired] =
        ["self", "self-nameless", "self-elsewhere", "self-expired"].map(|name| Endpoint::start_tls_as(name, "self"));
    let data = |name: &str| format!("\"{}/tests/data/tls/{name}.pem\"", env!("CARGO_MANIFEST_DIR"));
    let cases = [
        ("own", own.url("/own"), data("self"), true),
        ("localhost", own.url("/localhost").replace("127.0.0.1", "localhost"), data("self"), true),
        ("nameless", nameless.url("/nameless"), data("self-nameless"), true),
        ("not-named", own.url("/not-named"), data("another"), false),
        ("same-key", own.url("/same-key"), data("self-nameless"), false),
        ("elsewhere", elsewhere.url("/elsewhere"), data("self-elsewhere"), false),
        ("expired", expired.url("/expired"), data("self-expired"), false),
    ];
    let streams = cases.iter().map(|(name, url, ca, _)| stream(name, url, &[("ca", ca)], FAILED));
    let mut service = Service::start(&streams.collect::<String>());
    for (name, _, _, trusted) in &cases {
        put(&service, name, &[name.as_bytes().to_vec()]);
        match trusted {
            true => service.until(&format!("{name}: delivered"), |s| is_settled(s, name, 1)),
            false => service.until(&format!("{name}: an alarm"), |s| alarm_says(s, name, "SSLHandshakeFailure")),
        }
    }
    assert_eq!(own.accepted(), [b"own".to_vec(), b"localhost".to_vec()]);
    assert_eq!((nameless.accepted().len(), elsewhere.arrived(), expired.arrived()), (1, 0, 0));
}

#[test]
fn what_was_stored_and_not_answered_comes_again_with_its_id_also_after_a_kill() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::CloseAfterStore);
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[], FAILED));
    let records = numbered(0..20, 100);
    put(&service, "s", &records);
    service.until("it is stored twice", |_| endpoint.requests().len() > 1);
    service.kill();
    assert!(endpoint.accepted().is_empty());
    endpoint.always(Answer::Ok);
    service.restart();
    service.settled(20);
    endpoint.assert_one_body_per_id();
    assert_once("killed", &records, endpoint.accepted(), &failed(&service, "s"));
    let mut stored = endpoint.stored();
    stored.sort();
    assert_eq!(stored, records, "an endpoint that knows the ids has each record once");
    assert_audit(&service);
}

/// A request of several hundred kilobytes, put in pieces of all sizes: it is made again from the journal, which is read in
/// other pieces, and is the same bytes, not only the same records.
#[test]
fn a_large_request_is_the_same_bytes_after_a_kill() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::status(503));
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[], FAILED));
    let noise = |i: u64| (0..700).map(|j| format!("{:x}", (i * 7919 + j * 104_729) % 65_521)).collect::<String>();
    let records: Vec<Vec<u8>> = (0..300).map(|i| format!("{i:05} {}", noise(i)).into_bytes()).collect();
    let mut rest = records.as_slice();
    for size in [1, 7, 30, 2, 90, 170] {
        let (batch, behind) = rest.split_at(size);
        put(&service, "s", batch);
        rest = behind;
    }
    service.until("it was refused", |_| endpoint.requests().iter().any(|r| r.body.len() > 188 << 10));
    service.kill();
    let before = endpoint.requests().len();
    service.restart();
    service.until("it came again", |_| endpoint.requests().len() > before);
    endpoint.assert_one_body_per_id();
    endpoint.always(Answer::Ok);
    service.settled(300);
    endpoint.assert_one_body_per_id();
}

#[test]
fn a_new_key_takes_effect_on_the_next_retry() {
    let endpoint = Endpoint::start();
    endpoint.script(|arrived| match arrived.head.header("x-amz-firehose-access-key") {
        "right" => Answer::Ok,
        _ => Answer::status(401),
    });
    let streams = |key: &str| stream("s", &endpoint.url("/"), &[("access_key", key)], FAILED);
    let mut service = Service::start(&streams("wrong"));
    put(&service, "s", &numbered(0..5, 10));
    service.until("it is refused", |_| endpoint.requests().len() > 1);
    service.configure("", &streams("right"));
    service.signal(Signal::HUP);
    service.settled(5);
    assert_once("mended", &numbered(0..5, 10), endpoint.accepted(), &failed(&service, "s"));
    endpoint.assert_one_body_per_id();
    for secret in ["wrong", "right"] {
        assert!(!service.log().contains(&format!("\"{secret}\"")), "no key is logged");
    }
    assert_audit(&service);
}

#[test]
fn order_is_kept_where_it_is_asked_for_and_every_request_fails_once() {
    let endpoint = Endpoint::start();
    endpoint.script(|arrived| if arrived.number % 2 == 0 { Answer::status(503) } else { Answer::Ok });
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[("ordered", "true")], FAILED));
    put(&service, "s", &numbered(0..60, 100_000));
    service.settled(60);
    assert_eq!(numbers(&endpoint.accepted()), (0..60).collect::<Vec<_>>());
    assert_eq!(endpoint.take_concurrency_max(), 1);
    assert!(endpoint.successes().len() > 3, "several requests");
    endpoint.assert_one_body_per_id();
    assert_audit(&service);
}

#[test]
fn an_endpoint_that_is_busy_is_asked_less_at_once_and_later_more_again() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::busy(429, 2, Answer::after(100, Answer::Ok)));
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[("concurrency", "8")], FAILED));
    let records = numbered(0..400, 100_000);
    put(&service, "s", &records[..200]);
    service.settled(200);
    let (tried, taken) = (endpoint.requests().len(), endpoint.successes().len());
    let late: Vec<_> = endpoint.requests().split_off(tried / 2).iter().map(|r| r.in_flight).collect();
    let mean = late.iter().sum::<usize>() as f64 / late.len() as f64;
    println!("{tried} requests, {taken} taken, {mean:.1} at once in the second half");
    assert!(taken < tried, "it was busy at least once");
    assert!(tried < 2 * taken, "{tried} requests, {taken} taken: most are not refused");
    assert!(mean < 4.0, "{mean:.1} requests at once in the second half");
    endpoint.take_concurrency_max();
    endpoint.always(Answer::after(200, Answer::Ok));
    put(&service, "s", &records[200..]);
    service.settled(400);
    let grown = endpoint.take_concurrency_max();
    assert!((3..=8).contains(&grown), "{grown} requests at once when it is not busy any more");
    assert_once("busy", &records, endpoint.accepted(), &failed(&service, "s"));
    endpoint.assert_one_body_per_id();
    assert_audit(&service);
}

#[test]
fn an_endpoint_that_comes_back_is_not_overrun_and_order_is_kept() {
    let (mut any, mut ordered) = (Endpoint::start(), Endpoint::start());
    let streams = stream("any", &any.url("/"), &[], FAILED)
        + &stream("ordered", &ordered.url("/"), &[("ordered", "true")], FAILED);
    let mut service = Service::start(&streams);
    any.stop();
    ordered.stop();
    let records = numbered(0..120, 100_000);
    for name in ["any", "ordered"] {
        put(&service, name, &records);
        service.until("an alarm", |s| alarm_says(s, name, "HttpEndpoint.ConnectionFailed"));
        assert_eq!((service.status(name).pending, service.status(name).gap), (120, 0));
    }
    for endpoint in [&mut any, &mut ordered] {
        endpoint.always(Answer::after(30, Answer::Ok));
        endpoint.restart();
    }
    service.settled(240);
    assert_once("any", &records, any.accepted(), &failed(&service, "any"));
    assert!((2..=4).contains(&any.take_concurrency_max()), "as many at once as configured");
    assert_eq!(numbers(&ordered.accepted()), (0..120).collect::<Vec<_>>());
    assert_eq!(ordered.take_concurrency_max(), 1);
    for endpoint in [&any, &ordered] {
        endpoint.assert_one_body_per_id();
    }
    service.until("no alarm", |s| s.statuses().iter().all(|s| s.alarm.is_none()));
    assert_audit(&service);
}

#[test]
fn a_hanging_endpoint_holds_up_nobody_else() {
    let (hanging, other) = (Endpoint::start(), Endpoint::start());
    hanging.always(Answer::Hang);
    let streams =
        stream("s", &hanging.url("/"), &[("timeout", "60s")], FAILED) + &stream("other", &other.url("/"), &[], FAILED);
    let mut service = Service::start(&streams);
    let records = numbered(0..80, 100_000);
    put(&service, "s", &records);
    // One that never answered is not given more at once.
    service.until("it hangs", |_| hanging.requests().len() == 1);
    let before = service.resident_kib();
    for round in 0..3 {
        put(&service, "other", &records[..10]);
        service.until("others are served", |s| is_settled(s, "other", 10 * (round + 1)));
    }
    assert_eq!(hanging.requests().len(), 1, "no more than allowed are under way");
    let growth = service.resident_kib().saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB");
    hanging.always(Answer::Ok);
    hanging.release();
    service.settled(80 + 30);
    assert_once("released", &records, hanging.accepted(), &failed(&service, "s"));
    hanging.assert_one_body_per_id();
    assert_audit(&service);
}

#[test]
fn a_hanging_endpoint_slows_down_nobody_else() {
    let [mut calm, mut troubled] = [(), ()].map(|()| {
        let (hanging, other) = (Endpoint::start(), Endpoint::start());
        let streams = stream("s", &hanging.url("/"), &[("timeout", "60s")], FAILED)
            + &stream("other", &other.url("/"), &[], FAILED);
        (Service::start(&streams), hanging, other)
    });
    let mut pace = Pace::default();
    for _ in 0..2 {
        let (service, hanging, _) = &mut troubled;
        hanging.always(Answer::Hang);
        for service in [&calm.0, &*service] {
            put(service, "s", &numbered(0..80, 100_000));
        }
        calm.0.until("the like is delivered", |s| s.status("s").pending == 0);
        service.until("it hangs", |_| hanging.requests().len() > hanging.successes().len());
        pace.half(&calm.0, service, "other", &numbered(0..20, 50));
        service.until("others are served", |s| s.status("other").pending == 0);
        assert!(service.status("s").pending > 0, "still hanging");
        hanging.always(Answer::Ok);
        hanging.release();
        service.until("what hung is delivered", |s| s.status("s").pending == 0);
        std::mem::swap(&mut calm, &mut troubled);
    }
    pace.assert_same();
}

#[test]
fn a_backup_of_all_holds_every_record_and_what_failed_besides() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::of(|r| match r.records.iter().any(|r| r.starts_with(b"bad")) {
        true => Answer::status(400),
        false => Answer::Ok,
    }));
    let all = FAILED.replace("mode: failed", "mode: all");
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[("retry_duration", "500ms")], &all));
    let (good, bad) = (vec![b"good;".to_vec()], vec![b"bad-1;".to_vec(), b"bad-2;".to_vec()]);
    put(&service, "s", &good);
    service.settled(1);
    put(&service, "s", &bad);
    service.settled(3);
    let records = [good, bad].concat();
    assert_once("all", &records, endpoint.accepted(), &failed(&service, "s"));
    let raw: Vec<u8> =
        service.objects("failed/s").into_iter().filter(|(n, _)| n.contains("/raw/")).flat_map(|(_, b)| b).collect();
    let mut raw: Vec<Vec<u8>> = raw.split_inclusive(|b| *b == b';').map(<[u8]>::to_vec).collect();
    raw.sort();
    let mut expected = records;
    expected.sort();
    assert_eq!(raw, expected, "every source record as it came");
    assert_eq!(settled_at(&service, "s", "backup"), 3);
    assert_audit(&service);
}

/// The backup in a bucket of a store of the test's own.
fn in_store(store: &Store, mode: &str) -> String {
    format!(
        "mode: {mode}, s3: {{ bucket: failed, prefix: \"raw/\", error_prefix: \"errors/!{{firehose:error-output-type}}/\", \
         endpoint: \"http://{}\", access_key_id: tests, secret_access_key: tests-secret, timeout: 5s }}",
        store.address
    )
}

/// What stands in that bucket.
fn stored(store: &Store) -> Vec<(String, Vec<u8>)> {
    let keys = ("tests".to_owned(), "tests-secret".to_owned());
    let eye = Eye::at(&format!("http://{}", store.address), keys, "failed");
    eye.names().into_iter().map(|n| (n.clone(), eye.bytes(&n))).collect()
}

#[test]
fn what_failed_is_held_until_its_bucket_is_there() {
    let endpoint = Endpoint::start();
    let mut store = Store::start();
    let mut service =
        Service::start(&stream("s", &endpoint.url("/"), &[("retry_duration", "500ms")], &in_store(&store, "failed")));
    let records = numbered(0..31, 50);
    endpoint.always(Answer::status(500));
    put(&service, "s", &records[..10]);
    // No bucket: a person has to mend that.
    service.until("an alarm about the bucket", |s| alarm_says(s, "s", "S3.NoSuchBucket"));
    assert_eq!((settled_at(&service, "s", "delivery-failed"), service.status("s").pending), (0, 10));
    store.make_bucket("failed");
    service.until("it is stored", |s| settled_at(s, "s", "delivery-failed") == 10);
    // No store: it may come back by itself. A kill changes nothing.
    store.stop();
    put(&service, "s", &records[10..20]);
    service.until("an alarm about the store", |s| alarm_says(s, "s", "S3."));
    service.kill();
    service.restart();
    put(&service, "s", &records[20..30]);
    service.until("all that was put is held", |s| s.status("s").pending == 20);
    assert_eq!(settled_at(&service, "s", "delivery-failed"), 10);
    store.run();
    service.settled(30);
    endpoint.always(Answer::Ok);
    put(&service, "s", &records[30..]);
    service.settled(31);
    let failed = failures(stored(&store));
    assert_eq!(failed.len(), 30);
    assert_once("held", &records, endpoint.accepted(), &failed);
    assert!(failed.iter().all(|f| f.error_code == EXCEPTION && f.attempts_made > 1), "{failed:?}");
    service.until("no alarm", |s| s.status("s").alarm.is_none());
    endpoint.assert_one_body_per_id();
    assert_audit(&service);
}

#[test]
fn the_endpoint_is_served_while_the_backup_is_down_and_the_backup_is_made_up_for() {
    let endpoint = Endpoint::start();
    let mut store = Store::start();
    store.make_bucket("failed");
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[], &in_store(&store, "all")));
    let records = numbered(0..30, 50);
    put(&service, "s", &records[..10]);
    service.settled(10);
    store.stop();
    put(&service, "s", &records[10..20]);
    service.until("the endpoint is served", |s| settled_at(s, "s", "destination") == 20);
    service.until("the backup waits, with an alarm", |s| {
        s.status("s").backup_pending == 10 && s.status("s").alarm.is_some()
    });
    put(&service, "s", &records[20..]);
    service.until("it is served still", |s| settled_at(s, "s", "destination") == 30);
    store.run();
    service.settled(30);
    service.until("no alarm", |s| s.status("s").alarm.is_none());
    assert_once("endpoint", &records, endpoint.accepted(), &[]);
    let raw: Vec<u8> = stored(&store).into_iter().filter(|(n, _)| n.starts_with("raw/")).flat_map(|(_, b)| b).collect();
    let mut raw: Vec<Vec<u8>> = raw.chunks(50).map(<[u8]>::to_vec).collect();
    raw.sort();
    assert_eq!(raw, records, "the backup has each record once");
    assert_audit(&service);
}

const SLOW_DOWN: &str = "<Error><Code>SlowDown</Code><Message>Slower.</Message></Error>";
const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>Not you.</Message></Error>";
const EXPIRED: &str = "<Error><Code>ExpiredToken</Code><Message>Too old.</Message></Error>";
const CONFLICT: &str = "<Error><Code>ConditionalRequestConflict</Code><Message>At it.</Message></Error>";

#[test]
fn a_failure_bucket_that_misbehaves_has_each_failure_once_in_the_end() {
    let (endpoint, double) = (Endpoint::start(), Double::start(true));
    let backup = format!(
        "mode: failed, s3: {{ bucket: bucket, prefix: \"raw/\", error_prefix: \"errors/!{{firehose:error-output-type}}/\", \
         endpoint: \"{}\", access_key_id: id, secret_access_key: secret, checksum: none, timeout: 1s }}",
        double.endpoint
    );
    let mut service = Service::start(&stream("s", &endpoint.url("/"), &[("retry_duration", "100ms")], &backup));
    endpoint.always(Answer::status(500));
    let records = numbered(0..6, 50);
    put(&service, "s", &records[..1]);
    service.settled(1);
    // By row: 33, 34 and 43, 35, 36, 37, 40.
    let rounds: [&[(&str, Fault)]; 5] = [
        &[("put", Fault::Answer(503, SLOW_DOWN)), ("put", Fault::HangUp)],
        &[("put", Fault::Hang), ("look", Fault::Answer(500, ""))],
        &[("put", Fault::CutAnswer)],
        &[("put", Fault::Answer(403, DENIED)), ("put", Fault::Answer(400, EXPIRED))],
        &[("put", Fault::Answer(409, CONFLICT))],
    ];
    for (round, faults) in rounds.into_iter().enumerate() {
        faults.iter().cloned().for_each(|(op, fault)| double.fail(op, fault));
        put(&service, "s", &records[round + 1..round + 2]);
    }
    service.settled(6);
    let failed = failures(double.objects("errors/"));
    assert_eq!(failed.len(), 6);
    assert_once("misbehaved", &records, endpoint.accepted(), &failed);
    endpoint.assert_one_body_per_id();
}

#[test]
fn a_receiver_that_we_did_not_write_gets_what_was_put() {
    const ATTRIBUTES: [(&str, &str); 3] = [("a", "b"), ("stage", "test 1"), ("owner", "Zoë, \"data\" 😀")];
    let telegraf = Telegraf::start("k1", &["/path"], &ATTRIBUTES.map(|(name, _)| name));
    let attributes = serde_json::json!(BTreeMap::from(ATTRIBUTES)).to_string();
    let stream = |name: &str, url: &str, more: &[(&str, &str)]| {
        stream(name, &telegraf.url(url), &[&[("common_attributes", attributes.as_str())], more].concat(), FAILED)
    };
    let streams = stream("zipped", "/path?query=1", &[])
        + &stream("plain", "/path", &[("content_encoding", "none")])
        + &stream("refused", "/path", &[("access_key", "k2"), ("retry_duration", "500ms")]);
    let mut service = Service::start(&streams);
    let each = (50_000.0 * scale()) as u64;
    let mut expected = Vec::new();
    let began = Instant::now();
    for (i, name) in (0..).zip(["zipped", "plain"]) {
        let sent = clients::put(&service, "boto3", name, "all", i * each..(i + 1) * each);
        expected.extend(std::fs::read_to_string(sent).unwrap().lines().map(str::to_owned));
    }
    put(&service, "refused", &[b"{}".to_vec()]);
    service.settled(2 * each + 1);
    let written = telegraf.until_written(2 * each as usize);
    expected.sort();
    let (bytes, seconds) = (expected.iter().map(String::len).sum::<usize>(), began.elapsed().as_secs_f64());
    println!("{} real records of {bytes} bytes put, {} written, in {seconds:.1} s", expected.len(), written.len());
    let same = written.iter().map(|w| &w.value).eq(&expected);
    assert!(same, "{} records were put, {} are written, or others than were put", expected.len(), written.len());
    let tags: BTreeMap<String, String> =
        [("path", "/path")].into_iter().chain(ATTRIBUTES).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let other = written.iter().find(|w| w.tags != tags);
    assert!(other.is_none(), "{other:?}, expected {tags:?}");
    let failed = failed(&service, "refused");
    assert_eq!(failed.len(), 1);
    assert!(failed[0].error_message.contains("401: "), "{failed:?}");
    assert_audit(&service);
}
