//! What the sink makes of a store that fails, lies or stays silent.

use super::{MIB, connect, misconfigured, noise, shipment, shipment_in, stored};
use crate::rig::double::{Double, Fault};
use crate::rig::service::{Service, variable};
use hydrant::config::{Conditional, S3 as Settings, Sse};
use hydrant::deliver::object::{Created, Looked, ObjectStore};
use hydrant::deliver::{Attempt, Sink};
use std::time::{Duration, Instant};

const SLOW_DOWN: &str = "<Error><Code>SlowDown</Code><Message>Please reduce\nyour request rate.</Message></Error>";
const INTERNAL_ERROR: &str = "<Error><Code>InternalError</Code><Message>We are sorry.</Message></Error>";
const NOT_IMPLEMENTED: &str = "<Error><Code>NotImplemented</Code><Message>A header is unknown.</Message></Error>";
const TAKEN: &str = "<Error><Code>PreconditionFailed</Code><Message>It is there.</Message></Error>";
const CONFLICT: &str = "<Error><Code>ConditionalRequestConflict</Code><Message>Another is at it.</Message></Error>";
const EXPIRED: &str = "<Error><Code>ExpiredToken</Code><Message>Too old.</Message></Error>";
const DENIED: &str =
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not you.</Message></Error></ErrorResponse>";
const REDIRECT: &str = "<Error><Code>PermanentRedirect</Code><Message>Use the other endpoint.</Message></Error>";
const MALFORMED: &str = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The region is wrong.</Message>\
                         <Region>eu-central-1</Region></Error>";
const NO_SUCH_UPLOAD: &str = "<Error><Code>NoSuchUpload</Code><Message>What upload?</Message></Error>";

#[track_caller]
fn retried(attempt: Attempt, code: &str) -> String {
    match attempt {
        Attempt::Retry { reason } if reason.starts_with(code) => reason,
        other => panic!("expected Retry by `{code}`, found {other:?}"),
    }
}

#[test]
fn a_store_that_is_tired_is_asked_again_later() {
    let (double, ours) = (Double::start(true), shipment("name", b"bytes"));
    let sink = connect(&double.settings());
    double.fail("put", Fault::Answer(503, SLOW_DOWN));
    let reason = retried(sink.attempt(&ours), "S3.SlowDown: ");
    let expected = "S3.SlowDown: put `s3://bucket/name`: HTTP 503, Please reduce your request rate.";
    assert_eq!(reason, expected);
    for (status, code) in [(500, "InternalError"), (502, "BadGateway"), (429, "TooManyRequests"), (599, "Http599")] {
        double.fail("put", Fault::Answer(status, "<html>no S3 here</html>"));
        retried(sink.attempt(&ours), &format!("S3.{code}: "));
    }
    assert_eq!(double.seen(), ["put!"; 5], "nobody but the stream tries again");
    stored(sink.attempt(&ours));
}

#[test]
fn an_answer_that_was_lost_is_found_by_looking() {
    for (fault, code) in [
        (Fault::HangUp, "S3.ConnectionFailed: "),
        (Fault::CutAnswer, "S3.BadAnswer: "),
        (Fault::Hang, "S3.Timeout: put `s3://bucket/name`: "),
    ] {
        let (double, ours) = (Double::start(true), shipment("name", b"bytes"));
        let sink = connect(&Settings { timeout: Duration::from_millis(500), ..double.settings() });
        double.fail("put", fault);
        let begun = Instant::now();
        retried(sink.attempt(&ours), code);
        assert!(begun.elapsed() < Duration::from_secs(4), "one request has one time-out");
        assert_eq!(double.object("name").expect("it was stored").bytes, b"bytes");
        assert_eq!(stored(sink.attempt(&ours)), "tag");
        assert_eq!(double.seen(), ["put!", "put!", "look"]);
    }
    // What took long to send is looked for before it is sent again.
    for fault in [Fault::HangUp, Fault::CutAnswer] {
        let (double, ours) = (Double::start(true), shipment("name", &noise(3 * MIB)));
        let sink = connect(&double.settings());
        double.fail("put", fault.clone());
        stored(sink.attempt(&ours));
        assert_eq!(double.seen(), ["put!", "look", "look"]);
        let lost = shipment("lost", &noise(3 * MIB));
        double.fail("put", fault);
        double.fail("look", Fault::Answer(503, ""));
        retried(sink.attempt(&lost), "S3.");
        stored(sink.attempt(&lost));
        assert_eq!(double.seen(), ["put!", "look", "put!", "look"]);
    }
}

#[test]
fn a_look_that_fails_decides_nothing() {
    let (double, ours) = (Double::start(true), shipment("name", b"bytes"));
    let sink = connect(&double.settings());
    double.put("name", b"theirs");
    double.fail("look", Fault::Answer(503, ""));
    retried(sink.attempt(&ours), "S3.ServiceUnavailable: look at `s3://bucket/name`: ");
    double.fail("look", Fault::Answer(403, ""));
    misconfigured(sink.attempt(&ours), "AccessDenied");
    double.fail("look", Fault::HangUp);
    retried(sink.attempt(&ours), "S3.ConnectionFailed: ");
    assert_eq!(sink.attempt(&ours), Attempt::Foreign);
}

#[test]
fn a_conflict_is_decided_by_looking() {
    let (double, ours) = (Double::start(true), shipment("name", b"bytes"));
    let sink = connect(&double.settings());
    double.fail("put", Fault::Answer(409, CONFLICT));
    retried(sink.attempt(&ours), "the name was taken but nothing stands there");
    stored(sink.attempt(&ours));
}

#[test]
fn a_bucket_that_is_gone_is_not_an_object_that_is_absent() {
    let double = Double::start(true);
    let sink = connect(&double.settings());
    double.fail("bucket", Fault::Answer(404, ""));
    let Looked::Failed(failure) = sink.look("name") else { panic!("the bucket is missing") };
    assert!(failure.misconfigured && failure.reason.starts_with("S3.NoSuchBucket: "), "{failure:?}");
    assert_eq!((sink.look("name"), sink.look("name")), (Looked::Absent, Looked::Absent));
    assert_eq!(double.seen(), ["look", "bucket", "look", "bucket", "look"], "asked until seen");
}

#[test]
fn a_store_that_ignores_the_condition_is_asked_first() {
    let (double, ours) = (Double::start(false), shipment("name", b"bytes"));
    let sink = connect(&double.settings());
    assert!(sink.has_conditions(), "believed until probed");
    assert_eq!(sink.probe("_hydrant/probe-x"), Ok(false));
    assert!(!sink.has_conditions());
    assert_eq!(double.seen(), ["put!", "put!"]);

    double.put("name", b"theirs");
    assert_eq!(sink.attempt(&ours), Attempt::Foreign);
    assert_eq!(double.object("name").expect("it stays").bytes, b"theirs");
    assert_eq!(double.seen(), ["look"]);

    let free = shipment("free", b"bytes");
    assert_eq!((stored(sink.attempt(&free)), stored(sink.attempt(&free))), ("tag".to_owned(), "tag".to_owned()));
    assert_eq!(double.seen(), ["look", "look", "put", "look"]);
}

#[test]
fn an_unconditional_write_never_follows_anything_but_a_look() {
    let double = Double::start(false);
    let sink = connect(&Settings { conditional: Conditional::Head, ..double.settings() });
    assert_eq!((sink.has_conditions(), sink.probe("_hydrant/probe-x")), (false, Ok(false)));
    assert_eq!(double.seen(), [""; 0]);
    // As if conditions had been switched off between the protocol's look and the write.
    double.put("name", b"theirs");
    for bytes in [10, 65 * MIB] {
        let ours = shipment("name", &noise(bytes));
        assert_eq!(sink.create(&ours), Created::Taken);
        double.fail("look", Fault::Answer(503, ""));
        assert!(matches!(sink.create(&ours), Created::Failed(_)));
    }
    assert_eq!(double.object("name").expect("it stays").bytes, b"theirs");
}

#[test]
fn a_store_that_refuses_the_condition_is_asked_first() {
    for answer in [Fault::Answer(501, NOT_IMPLEMENTED), Fault::Answer(400, NOT_IMPLEMENTED), Fault::Answer(501, "")] {
        let (double, ours) = (Double::start(false), shipment("name", b"bytes"));
        let sink = connect(&double.settings());
        double.fail("put", answer.clone());
        retried(sink.attempt(&ours), "S3.NotImplemented: ");
        assert!(!sink.has_conditions());
        stored(sink.attempt(&ours));
        assert_eq!(double.seen(), ["put!", "look", "bucket", "look", "put"]);

        let sink = connect(&double.settings());
        double.fail("put", answer.clone());
        assert_eq!(sink.probe("_hydrant/probe-x"), Ok(false));
        // It is something else if it is refused without the condition too.
        let sink = connect(&double.settings());
        double.fail("put", answer.clone());
        double.fail("put", answer);
        let failure = sink.probe("_hydrant/probe-x").expect_err("nothing was put");
        assert!(failure.misconfigured && failure.reason.starts_with("S3.NotImplemented: "), "{failure:?}");
    }
}

#[test]
fn a_probe_that_fails_says_nothing_about_conditions() {
    let double = Double::start(true);
    let sink = connect(&double.settings());
    double.fail("put", Fault::Answer(503, SLOW_DOWN));
    let failure = sink.probe("_hydrant/probe-x").expect_err("the store is tired");
    assert!(!failure.misconfigured && sink.has_conditions());
    assert_eq!(sink.probe("_hydrant/probe-x"), Ok(true));
}

#[test]
fn an_upload_in_parts_that_fails_is_aborted_and_starts_again() {
    let (double, bytes) = (Double::start(true), noise(66 * MIB));
    let (sink, ours) = (connect(&double.settings()), shipment("name", &bytes));
    let whole = ["begin", "part", "part", "part", "part", "part"];

    double.fail("begin", Fault::Answer(503, SLOW_DOWN));
    retried(sink.attempt(&ours), "S3.SlowDown: begin parts of `s3://bucket/name`: ");
    double.fail("begin", Fault::Answer(200, "<InitiateMultipartUploadResult/>"));
    retried(sink.attempt(&ours), "S3.BadAnswer: begin parts of ");
    double.seen();

    double.fail("part", Fault::Answer(503, SLOW_DOWN));
    retried(sink.attempt(&ours), "S3.SlowDown: send part 1 of ");
    assert_eq!(double.seen(), ["begin", "part", "abort"]);

    // A 200 may hold an error.
    double.fail("complete", Fault::Answer(200, INTERNAL_ERROR));
    retried(sink.attempt(&ours), "S3.InternalError: complete `s3://bucket/name`: HTTP 200, We are sorry.");
    assert_eq!(double.seen(), [&whole[..], &["complete!", "look", "abort"]].concat());
    double.fail("complete", Fault::Answer(200, ""));
    retried(sink.attempt(&ours), "S3.BadAnswer: complete ");
    assert!(double.object("name").is_none());

    for op in ["begin", "part"] {
        // These carry no condition that could be the cause.
        double.fail(op, Fault::Answer(501, NOT_IMPLEMENTED));
        misconfigured(sink.attempt(&ours), "NotImplemented");
        assert!(sink.has_conditions());
    }
    double.fail("complete", Fault::Answer(501, NOT_IMPLEMENTED));
    double.fail("abort", Fault::Answer(500, ""));
    retried(sink.attempt(&ours), "S3.NotImplemented: complete ");
    double.seen();
    stored(sink.attempt(&ours));
    assert_eq!(double.seen(), [&["look"], &whole[..], &["look", "complete"]].concat());
    assert_eq!(double.object("name").expect("it is there").bytes, bytes);
}

#[test]
fn a_completed_upload_whose_answer_was_lost_is_found() {
    let bytes = noise(66 * MIB);
    for fault in [Fault::HangUp, Fault::CutAnswer, Fault::Lie(INTERNAL_ERROR), Fault::Lie("")] {
        let (double, ours) = (Double::start(true), shipment("name", &bytes));
        let sink = connect(&double.settings());
        double.fail("complete", fault);
        assert_eq!(stored(sink.attempt(&ours)), "tag");
        let end = ["part", "complete!", "look", "abort", "look"];
        assert!(double.seen().ends_with(&end.map(str::to_owned)));
        assert_eq!(double.object("name").expect("it is there").bytes, bytes);
    }
    let (double, ours) = (Double::start(true), shipment("name", &bytes));
    let sink = connect(&Settings { timeout: Duration::from_secs(2), ..double.settings() });
    double.fail("complete", Fault::Hang);
    retried(sink.attempt(&ours), "S3.Timeout: complete ");
    stored(sink.attempt(&ours));
    // Somebody, such as an earlier request of ours, completed it first.
    let (double, ours) = (Double::start(true), shipment("name", &bytes));
    let sink = connect(&double.settings());
    double.fail("complete", Fault::Answer(404, NO_SUCH_UPLOAD));
    retried(sink.attempt(&ours), "the name was taken but nothing stands there");
    // A part of an upload that is gone decides nothing.
    double.fail("part", Fault::Answer(404, NO_SUCH_UPLOAD));
    retried(sink.attempt(&ours), "S3.NoSuchUpload: send part 1 of ");
}

#[test]
fn an_answer_before_the_body_was_read_is_heard() {
    let (double, ours) = (Double::start(true), shipment("name", &noise(30 * MIB)));
    let sink = connect(&double.settings());
    double.put("name", b"theirs");
    for _ in 0..20 {
        // The connection's reset often overtakes the answer.
        double.fail("put", Fault::AnswerEarly(412, TAKEN));
        assert_eq!(sink.attempt(&ours), Attempt::Foreign);
    }
}

#[test]
fn bytes_that_cannot_be_read_are_never_sent_as_others() {
    let double = Double::start(true);
    let sink = connect(&double.settings());
    for bytes in [2 * MIB, 30 * MIB, 70 * MIB] {
        let (ours, file) = shipment_in(&noise(bytes));
        let scratch = std::fs::OpenOptions::new().write(true).open(file).expect("scratch is a file");
        scratch.set_len(bytes as u64 / 2).expect("it can be cut");
        retried(sink.attempt(&ours), "S3.ScratchUnreadable: ");
        assert!(double.object("name").is_none());
    }
}

#[test]
fn a_request_that_cannot_be_made_waits_for_a_person() {
    let double = Double::start(true);
    let sink = connect(&Settings { endpoint: None, region: "no region!".to_owned(), ..double.settings() });
    misconfigured(sink.attempt(&shipment("name", b"bytes")), "InvalidRequest");
}

#[test]
fn a_session_token_is_sent_along() {
    let double = Double::start(true);
    let sink = connect(&Settings { session_token: Some("token".to_owned().into()), ..double.settings() });
    stored(sink.attempt(&shipment("name", b"bytes")));
    assert_eq!(double.object("name").expect("it is there").headers["x-amz-security-token"], "token");
}

#[test]
fn encryption_is_asked_for() {
    let double = Double::start(true);
    let asked = |sse: Sse, bytes: usize| {
        let ours = shipment(&bytes.to_string(), &noise(bytes));
        stored(connect(&Settings { sse: Some(sse), ..double.settings() }).attempt(&ours));
        let headers = double.object(&ours.name).expect("it is there").headers;
        let encryption = headers.into_iter().filter(|(name, _)| name.starts_with("x-amz-server-side-encryption"));
        encryption.map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(asked(Sse::Aes256, 10), ["AES256"]);
    assert_eq!(asked(Sse::KmsKeyId("alias/key".to_owned()), 65 * MIB), ["aws:kms", "alias/key"]);
}

#[test]
fn a_role_is_assumed_and_assumed_again() {
    let double = Double::start(true);
    // Only the configuration file can say where STS is.
    let services =
        format!("[default]\nservices = test\n[services test]\nsts =\n  endpoint_url = {}\n", double.endpoint);
    std::fs::write(variable("AWS_CONFIG_FILE"), services).expect("the file can be written");
    let role_arn = Some("arn:aws:iam::123456789012:role/hydrant".to_owned());
    let (sink, ours) = (connect(&Settings { role_arn, ..double.settings() }), shipment("name", b"bytes"));

    double.fail("sts", Fault::Answer(403, DENIED));
    let reason = misconfigured(sink.attempt(&ours), "CredentialsNotLoaded");
    assert!(reason.contains("Not you."), "{reason}");
    double.fail("put", Fault::Answer(400, EXPIRED));
    misconfigured(sink.attempt(&ours), "ExpiredToken");
    stored(sink.attempt(&ours));
    let headers = double.object("name").expect("it is there").headers;
    assert!(headers["authorization"].contains("Credential=ROLE/"));
    assert_eq!(headers["x-amz-security-token"], "role-token");
    stored(sink.attempt(&ours));
    assert_eq!(double.seen(), ["sts", "sts", "put!", "sts", "put!", "put!", "look"]);
    std::fs::remove_file(variable("AWS_CONFIG_FILE")).expect("the file can be removed");
}

#[test]
fn a_bucket_elsewhere_is_named_with_its_region() {
    const ELSEWHERE: (&str, &str) = ("x-amz-bucket-region", "eu-central-1");
    const SAID: &str = "the bucket is in `eu-central-1`, this stream says `us-east-1`";
    let (double, ours) = (Double::start(true), shipment("name", b"bytes"));
    let sink = connect(&double.settings());
    for (status, header, body, code) in [
        (301, ELSEWHERE, REDIRECT, "PermanentRedirect"),
        (301, ELSEWHERE, "", "PermanentRedirect"),
        (307, ELSEWHERE, "", "TemporaryRedirect"),
        (400, ELSEWHERE, "", "BadRequest"),
        (400, ("x-other", "1"), MALFORMED, "AuthorizationHeaderMalformed"),
        (403, ELSEWHERE, DENIED, "AccessDenied"),
    ] {
        double.fail("put", Fault::AnswerWith(status, header, body));
        let reason = misconfigured(sink.attempt(&ours), code);
        assert!(reason.starts_with(&format!("S3.{code}: put `s3://bucket/name`: {SAID}")), "{reason}");
    }
    for status in [301, 400, 403] {
        double.fail("look", Fault::AnswerWith(status, ELSEWHERE, ""));
        let Looked::Failed(failure) = sink.look("name") else { panic!("it is elsewhere") };
        assert!(failure.misconfigured && failure.reason.contains(SAID), "{failure:?}");
    }
    // Where it is as the settings say, or the store names no region, nothing is said of it.
    for (header, body) in [(("x-amz-bucket-region", "us-east-1"), DENIED), (("x-other", "1"), DENIED)] {
        double.fail("put", Fault::AnswerWith(403, header, body));
        let reason = misconfigured(sink.attempt(&ours), "AccessDenied");
        assert!(!reason.contains("the bucket is in"), "{reason}");
    }
    // A store may call a region anything.
    double.fail("put", Fault::AnswerWith(301, ("x-amz-bucket-region", "a`b c"), ""));
    let reason = misconfigured(sink.attempt(&ours), "PermanentRedirect");
    assert!(!reason.contains("the bucket is in"), "{reason}");

    let service = Service::new();
    service.configure(
        "",
        &format!(
            "  s: {{ destination: {{ s3: {{ bucket: b, endpoint: \"{}\", access_key_id: a, secret_access_key: b }} }} }}",
            double.endpoint
        ),
    );
    double.fail("put", Fault::AnswerWith(301, ELSEWHERE, ""));
    let (code, text) = service.command(&["check", "--online"]);
    assert!(code == 1 && text.contains(SAID), "{text}");
}
