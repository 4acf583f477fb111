//! What a warehouse refuses: said while it is tried, mended in time it is loaded, else it stands in a manifest.

use super::{Place, Put, assert_audit, outlet, put, put_rows, row};
use crate::deliver::warehouse::Dialect;
use crate::rig::eye::Eye;
use crate::rig::postgres::{Database, Postgres, SHARED};
use crate::rig::service::Service;
use hydrant::deliver::warehouse::manifest;
use std::io::Read;

/// What is wrong: the stream's name, the code that it leads to and a part of the message.
const CAUSES: [(&str, &str, &str); 4] = [
    ("rows", "DataLoadFailed", "invalid input syntax for type bigint"),
    ("missing", "TableNotFound", "does not exist"),
    ("password", "AuthenticationFailed", "password authentication failed for user"),
    ("down", "ConnectionFailed", "connect to `127.0.0.1:"),
];
/// Redshift names one row, never all of them: it is cut out.
fn causes(dialect: Dialect) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    CAUSES.iter().skip(usize::from(dialect == Dialect::Redshift))
}

/// A stream is given up on, the other is patient.
const KINDS: [(&str, &str); 2] = [("brief", "2s"), ("patient", "10m")];

/// The records that are put first.
fn refused_rows() -> Vec<Vec<u8>> {
    (0..3).map(row).collect()
}

fn tables(cause: &str) -> [String; 2] {
    KINDS.map(|(kind, _)| format!("{cause}_{kind}"))
}

/// Gives every table of a cause something to complain of.
fn break_it(cause: &str, database: &Database, role: &str) {
    for table in tables(cause) {
        match cause {
            "rows" => database.run(&format!("CREATE TABLE {table} (n text, s bigint)")),
            "missing" => {}
            _ => database.run(&format!("CREATE TABLE {table} (n text, s text)")),
        }
        if cause == "password" {
            database.run(&format!("ALTER TABLE {table} OWNER TO {role}"));
        }
    }
}

fn mend(cause: &str, database: &Database, role: &str) {
    match cause {
        "password" => database.run(&format!("ALTER ROLE {role} PASSWORD 'other'")),
        "down" => database.server.restart(),
        _ => tables(cause).iter().for_each(|table| {
            database.run(&match cause {
                "rows" => format!("ALTER TABLE {table} ALTER s TYPE text"),
                _ => format!("CREATE TABLE {table} (n text, s text)"),
            });
        }),
    }
}

/// Whether a name is that of a manifest by the hour.
fn is_of_an_hour(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let is_number = |part: &str, digits| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
    let [a, b, year, month, day, hour, file] = parts[..] else { return false };
    [(a, "errors"), (b, "manifests")].iter().all(|(found, expected)| found == expected)
        && is_number(year, 4)
        && [month, day, hour].iter().all(|part| is_number(part, 2))
        && !file.is_empty()
}

/// The manifest of a stream that was given up on names what is there, and its plan.
fn assert_manifest(eye: &Eye, service: &Service, dialect: Dialect, cause: &(&str, &str, &str), manifests: &[String]) {
    let (stream, code) = (format!("{}_brief", cause.0), dialect.code(cause.1));
    let read = |name: &String| manifest::read(&eye.bytes(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let prefix = format!("staged/{stream}/");
    let ours: Vec<_> = manifests.iter().map(read).filter(|m| m.loads[0].object.starts_with(&prefix)).collect();
    let [manifest] = &ours[..] else { panic!("{stream}: {} manifests", ours.len()) };
    let (found, message) = manifest.error.as_ref().expect("it says why");
    assert_eq!(*found, code, "{message}");
    assert!(message.contains(cause.2), "{message}");
    let [load] = &manifest.loads[..] else { panic!("{stream}: {manifest:?}") };
    assert_eq!((&load.bucket, load.outputs, load.content_encoding.as_deref()), (&eye.bucket, 3, Some("gzip")));
    let staged = eye.bytes(&load.object);
    assert_eq!(load.bytes, Some(staged.len() as u64));
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(&staged[..]).read_to_end(&mut text).expect("it is packed");
    let expected: Vec<u8> = refused_rows().into_iter().flat_map(|row| [row, b"\n".to_vec()].concat()).collect();
    assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&expected));
    let log = service.log();
    let given_up = log.lines().find(|l| l.contains("is given up on") && l.contains(&format!("\"{stream}\"")));
    assert!(given_up.is_some_and(|line| line.contains(&load.plan.to_string())), "plan {}: {given_up:?}", load.plan);
}

fn what_is_refused_is_mended_in_time_or_told_of(dialect: Dialect) {
    let (eye, server) = (Eye::new(), Postgres::start());
    let (up, mut down) = (SHARED.database(), server.database());
    let role = format!("role_{}", up.name);
    up.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'one'; GRANT ALL ON SCHEMA public TO {role}"));
    let fronts = [&up, &down].map(|database| dialect.front(database));
    let mut streams = String::new();
    for (cause, ..) in causes(dialect) {
        let i = usize::from(*cause == "down");
        let database = [&up, &down][i];
        break_it(cause, database, &role);
        let place = Place { dialect, address: fronts[i].1, database, bucket: &eye.bucket };
        for (kind, duration) in KINDS {
            let mut more = vec![("retry_duration", duration)];
            if *cause == "password" {
                more.extend([("username", role.as_str()), ("password", "other")]);
            }
            streams += &place.stream(&format!("{cause}_{kind}"), &more);
        }
    }
    server.kill();
    let mut service = Service::start(&streams);
    let all: Vec<String> = causes(dialect).flat_map(|(cause, ..)| tables(cause)).collect();
    all.iter().for_each(|stream| assert_eq!(put(service.client(), stream, &refused_rows()), Put::Taken));

    for (cause, code, message) in causes(dialect) {
        let code = format!("{}: ", dialect.code(code));
        service.until(&format!("{cause}: an alarm by {code}"), |s| {
            let alarm = s.status(&format!("{cause}_patient")).alarm.unwrap_or_default();
            alarm.contains("staged/") && alarm.contains(&code) && alarm.contains(message)
        });
    }
    service.until("what is brief is given up on", |s| {
        causes(dialect).all(|(cause, ..)| s.status(&format!("{cause}_brief")).pending == 0)
    });
    let manifests: Vec<String> = eye.names().into_iter().filter(|name| name.starts_with("errors/")).collect();
    assert!(
        manifests.len() == causes(dialect).count() && manifests.iter().all(|name| is_of_an_hour(name)),
        "{manifests:?}"
    );
    for cause in causes(dialect) {
        assert_manifest(&eye, &service, dialect, cause, &manifests);
        let brief = format!("{}_brief", cause.0);
        assert_eq!((outlet(&service, &brief, "delivery-failed"), outlet(&service, &brief, "destination")), (3, 0));
        assert_eq!((service.status(&brief).gap, service.status(&brief).alarm), (0, None), "{brief}");
    }

    for (cause, ..) in causes(dialect) {
        mend(cause, if *cause == "down" { &down } else { &up }, &role);
    }
    all.iter().for_each(|stream| put_rows(&service, stream, 3..5));
    service.settled(5 * all.len() as u64);
    down.reconnect();
    for (cause, ..) in causes(dialect) {
        for (stream, [failed, loaded]) in tables(cause).iter().zip([[3, 2], [0, 5]]) {
            let database = if *cause == "down" { &down } else { &up };
            let counts = ["delivery-failed", "destination"].map(|name| outlet(&service, stream, name));
            assert_eq!(counts, [failed, loaded], "{stream}");
            let rows = database.rows(&format!("SELECT count(*), count(DISTINCT n) FROM {stream}"));
            assert_eq!(rows, [[Some(loaded.to_string()), Some(loaded.to_string())]], "{stream}");
        }
    }
    service.until("no alarm", |s| s.statuses().iter().all(|s| s.alarm.is_none()));
    assert_audit(&service);
    up.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn what_postgres_refuses_is_mended_in_time_or_told_of() {
    what_is_refused_is_mended_in_time_or_told_of(Dialect::Postgres);
}

#[test]
fn what_redshift_refuses_is_mended_in_time_or_told_of() {
    what_is_refused_is_mended_in_time_or_told_of(Dialect::Redshift);
}
