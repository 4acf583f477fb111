//! Records that a table does not take: each becomes an error record alone, and the others are loaded once.

use super::{Place, Put, assert_audit, outlet, put, put_rows, row};
use crate::deliver::warehouse::{BOTH, Dialect};
use crate::rig::eye::Eye;
use crate::rig::postgres::SHARED;
use crate::rig::service::Service;
use base64_simd::STANDARD;
use serde_json::Value;

/// The lines of a stream's error objects of one kind: what stands in each, decoded, and why.
fn failed(eye: &Eye, stream: &str, kind: &str) -> Vec<(Vec<u8>, Value)> {
    let is_of = |name: &String| name.contains(kind) && name.contains(&format!("/{stream}-"));
    let objects = eye.names().into_iter().filter(|name| is_of(name));
    let lines = objects.flat_map(|name| {
        String::from_utf8(eye.bytes(&name)).expect("it is text").lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let read = |line: String| {
        let line: Value = serde_json::from_str(&line).expect("an error record is JSON");
        let raw = STANDARD.decode_to_vec(line["rawData"].as_str().expect("text")).expect("base64");
        (raw, line)
    };
    lines.map(read).collect()
}

/// What a table `(n bigint PRIMARY KEY, s text REFERENCES known)` with a trigger does not take, and a part of what is said.
const BAD: [(&[u8], &str); 9] = [
    (br#"{"n":1000,"s":"bad\u0000nul"}"#, "the character NUL"),
    (br#"{"n":1001,"s":"\ud800"}"#, "record"),
    (br#"{"n":"one","s":"x"}"#, "invalid input syntax for type bigint"),
    (br#"[1]"#, "it is no JSON object"),
    (b"\xEF\xBB\xBF{\"n\":1002}", "it is no JSON"),
    (br#"{"n":7,"s":"x"}"#, "duplicate key"),
    (br#"{"n":1003,"s":"nobody knows"}"#, "violates foreign key"),
    (br#"{"n":1004,"s":"#, "it is no JSON"),
    (br#"{"n":-1,"s":"x"}"#, "no negative number"),
];

#[test]
fn what_postgres_does_not_take_fails_alone() {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run(
        "CREATE TABLE known (s text PRIMARY KEY); INSERT INTO known VALUES ('x'); \
         CREATE TABLE picky (n bigint PRIMARY KEY, s text REFERENCES known); \
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF NEW.n < 0 THEN RAISE 'no negative number'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER looks BEFORE INSERT ON picky FOR EACH ROW EXECUTE FUNCTION look(); \
         CREATE TABLE later (n bigint PRIMARY KEY, s text REFERENCES known DEFERRABLE INITIALLY DEFERRED)",
    );
    let (_, address) = Dialect::Postgres.front(&database);
    let place = Place { dialect: Dialect::Postgres, address, database: &database, bucket: &eye.bucket };
    let mut service = Service::start(&(place.stream("picky", &[]) + &place.stream("later", &[])));
    let good = |n: u64| format!("{{\"n\":{n},\"s\":\"x\"}}").into_bytes();
    // The bad ones stand among good ones, some side by side, the last one last.
    let mut records: Vec<Vec<u8>> = (0..50).map(good).collect();
    for (i, (bad, _)) in BAD.iter().enumerate() {
        records.insert(records.len().min(9 + 5 * i), bad.to_vec());
    }
    records.push(br#"{"n":3}{"n":4}"#.to_vec());
    assert_eq!(put(service.client(), "picky", &records), Put::Taken);
    let deferred: Vec<Vec<u8>> = [good(1), br#"{"n":2,"s":"nobody"}"#.to_vec(), good(3)].into();
    assert_eq!(put(service.client(), "later", &deferred), Put::Taken);
    service.settled(records.len() as u64 + deferred.len() as u64);

    let rows = database.rows("SELECT count(*), min(n), max(n) FROM picky");
    assert_eq!(rows, [["50", "0", "49"].map(|v| Some(v.to_owned()))]);
    assert_eq!(outlet(&service, "picky", "destination"), 50);
    assert_eq!(outlet(&service, "picky", "delivery-failed"), BAD.len() as u64 + 1);
    let mut failed_of = failed(&eye, "picky", "postgres-failed");
    for (bad, why) in BAD.iter().chain([&(&br#"{"n":3}{"n":4}"#[..], "duplicate key")]) {
        let at = failed_of.iter().position(|(raw, _)| raw == bad);
        let (_, line) =
            failed_of.swap_remove(at.unwrap_or_else(|| panic!("{} did not fail", String::from_utf8_lossy(bad))));
        let message = line["errorMessage"].as_str().expect("text");
        assert!(message.contains(why), "{message}, expected `{why}`");
        assert_eq!(
            (&line["errorCode"], &line["attemptsMade"]),
            (&"Postgres.DataLoadFailed".into(), &1.into()),
            "{line}"
        );
    }
    assert_eq!(failed_of, []);
    assert!(!eye.names().iter().any(|name| name.starts_with("errors/manifests/")), "{:?}", eye.names());
    assert_eq!(database.value("SELECT count(*) || ' ' || sum(n) FROM later"), "2 4");
    assert_eq!(failed(&eye, "later", "postgres-failed").len(), 1);
    let status = service.status("picky");
    assert_eq!((status.gap, status.alarm.as_deref()), (0, None), "{status:?}");
    assert_audit(&service);

    // Mended, what was wrong with the table's rules is right.
    database.run("INSERT INTO known VALUES ('nobody knows'); DROP TRIGGER looks ON picky");
    let config = service.config().display().to_string();
    let (code, text) = service.command_with(&["redrive", &config, "picky"]);
    // Most of them fail again.
    assert!(code == 1 && text.contains("10 records put in (10 at `deliver`)"), "{text}");
    service.until("it is all settled again", |s| s.status("picky").pending == 0);
    assert_eq!(database.value("SELECT count(*) FROM picky WHERE n IN (-1, 1003)"), "2");
    assert_eq!(database.value("SELECT count(*) FROM picky"), "52");
    assert_audit(&service);
}

#[test]
fn what_has_no_row_fails_and_is_counted() {
    let eye = Eye::new();
    let databases = BOTH.map(|dialect| (dialect, SHARED.database()));
    for (dialect, database) in &databases {
        let (_front, address) = dialect.front(database);
        let name = format!("blank_{dialect:?}").to_lowercase();
        database.run(&format!("CREATE TABLE {name} (n bigint, s text)"));
        let place = Place { dialect: *dialect, address, database, bucket: &eye.bucket };
        let mut service = Service::start(&place.stream(&name, &[]));
        let records = [row(1), b"".to_vec(), b" \n\t\r\n".to_vec(), row(2)];
        assert_eq!(put(service.client(), &name, &records), Put::Taken);
        service.settled(4);
        assert_eq!(database.value(&format!("SELECT count(*) FROM {name}")), "2");
        let counts = ["destination", "format-conversion-failed"].map(|o| outlet(&service, &name, o));
        assert_eq!(counts, [2, 2], "{name}");
        for (_, line) in failed(&eye, &name, "format-conversion-failed") {
            assert_eq!(line["lastErrorCode"], "DataFormatConversion.MalformedData");
            assert_eq!(line["lastErrorMessage"], "The record was empty or contained only whitespace.");
        }
        assert_audit(&service);
    }
}

#[test]
fn a_record_that_redshift_names_is_cut_out() {
    let (eye, database) = (Eye::new(), SHARED.database());
    let (_front, address) = Dialect::Redshift.front(&database);
    database.run("CREATE TABLE cut (n bigint, s text)");
    let place = Place { dialect: Dialect::Redshift, address, database: &database, bucket: &eye.bucket };
    let mut service = Service::start(&place.stream("cut", &[]));
    let bad = |n: &str| format!("{{\"n\":\"{n}\"}}").into_bytes();
    let records = [bad("first"), row(1), row(2), bad("fourth"), row(3), bad("last")];
    assert_eq!(put(service.client(), "cut", &records), Put::Taken);
    service.settled(6);
    assert_eq!(database.value("SELECT count(*) || ' ' || sum(n) FROM cut"), "3 6");
    let mut raw: Vec<Vec<u8>> = failed(&eye, "cut", "redshift-failed").into_iter().map(|(raw, _)| raw).collect();
    raw.sort();
    assert_eq!(raw, [bad("first"), bad("fourth"), bad("last")]);
    assert_eq!(["destination", "delivery-failed"].map(|o| outlet(&service, "cut", o)), [3, 3]);
    assert_audit(&service);
}

#[test]
fn a_table_that_takes_no_record_is_waited_for() {
    let eye = Eye::new();
    let databases = BOTH.map(|dialect| (dialect, SHARED.database()));
    for (dialect, database) in &databases {
        let (_front, address) = dialect.front(database);
        let name = format!("none_{dialect:?}").to_lowercase();
        database.run(&format!("CREATE TABLE {name} (n bigint, s text, more text NOT NULL)"));
        let place = Place { dialect: *dialect, address, database, bucket: &eye.bucket };
        let mut service = Service::start(&place.stream(&name, &[]));
        // More than are looked at before one is taken.
        let records = if *dialect == Dialect::Redshift { 40 } else { 3000 };
        put_rows(&service, &name, 0..records);
        let says = |alarm: &String| alarm.contains("DataLoadFailed") || alarm.contains("NotNull");
        service.until("an alarm", |s| s.status(&name).alarm.as_ref().is_some_and(says));
        database.run(&format!("ALTER TABLE {name} ALTER more DROP NOT NULL"));
        service.settled(records);
        let [loaded, failed] = ["destination", "delivery-failed"].map(|o| outlet(&service, &name, o));
        // Redshift names one record a time: some are given up on before it shows.
        let expected = if *dialect == Dialect::Redshift { 30..41 } else { records..records + 1 };
        assert!(expected.contains(&loaded) && loaded + failed == records, "{name}: {loaded} loaded, {failed} failed");
        assert_eq!(database.value(&format!("SELECT count(*) FROM {name}")), loaded.to_string());
    }
}

/// The table is mended while its object is gone through record by record.
#[test]
fn a_table_that_is_mended_while_records_are_looked_at_takes_all_of_them() {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run(
        "CREATE SEQUENCE looked; CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM nextval('looked'), pg_sleep(0.2); RETURN NEW; END $$; \
         CREATE TABLE slow (n bigint, s text, CONSTRAINT none CHECK (n < 0)); \
         CREATE TRIGGER looks BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION look()",
    );
    let (_, address) = Dialect::Postgres.front(&database);
    let place = Place { dialect: Dialect::Postgres, address, database: &database, bucket: &eye.bucket };
    let mut service = Service::start(&place.stream("slow", &[]));
    put_rows(&service, "slow", 0..12);
    // The first record is looked at when all are loaded at once, and then each.
    database.until("SELECT last_value >= 4 FROM looked");
    database.run("DROP TRIGGER looks ON slow; ALTER TABLE slow DROP CONSTRAINT none");
    service.settled(12);
    assert_eq!(["destination", "delivery-failed"].map(|o| outlet(&service, "slow", o)), [12, 0]);
    assert_eq!(database.value("SELECT count(*) FROM slow"), "12");
    assert_audit(&service);
}

/// Of some things in comma-separated values PostgreSQL does not complain: they would take the records behind them along.
#[test]
fn what_would_end_or_swallow_other_rows_fails_alone() {
    let (eye, database) = (Eye::new(), SHARED.database());
    let (_, address) = Dialect::Postgres.front(&database);
    database.run("CREATE TABLE csv (n bigint, s text)");
    let place = Place { dialect: Dialect::Postgres, address, database: &database, bucket: &eye.bucket };
    let mut service = Service::start(&place.stream("csv", &[("input", "csv")]));
    let records: [&[u8]; 7] = [b"1,a", b"\\.", b"2,\"b\nb\"\n", b"3,\"c", b"4,d", b"five,e", b"6,\"f"];
    assert_eq!(put(service.client(), "csv", &records.map(<[u8]>::to_vec)), Put::Taken);
    service.settled(7);
    assert_eq!(database.value("SELECT count(*) || ' ' || sum(n) FROM csv"), "3 7");
    let mut raw: Vec<Vec<u8>> = failed(&eye, "csv", "postgres-failed").into_iter().map(|(raw, _)| raw).collect();
    raw.sort();
    assert_eq!(raw, [&b"3,\"c"[..], b"6,\"f", b"\\.", b"five,e"]);
    assert_audit(&service);
}

#[test]
fn a_manifest_whose_object_has_a_bad_record_is_put_in_record_by_record() {
    let eye = Eye::new();
    let databases = BOTH.map(|dialect| (dialect, SHARED.database()));
    for (dialect, database) in &databases {
        let (_front, address) = dialect.front(database);
        let name = format!("told_{dialect:?}").to_lowercase();
        let place = Place { dialect: *dialect, address, database, bucket: &eye.bucket };
        let mut service = Service::start(&place.stream(&name, &[("retry_duration", "0s")]));
        let records = [row(1), br#"{"n":"no number"}"#.to_vec(), row(2)];
        assert_eq!(put(service.client(), &name, &records), Put::Taken);
        service.settled(3);
        assert_eq!(outlet(&service, &name, "delivery-failed"), 3, "there is no table");
        database.run(&format!("CREATE TABLE {name} (n bigint, s text)"));
        let config = service.config().display().to_string();
        let (code, text) = service.command_with(&["redrive", &config, &name]);
        // One of them fails again, alone.
        assert!(code == 1 && text.contains("3 records put in (3 at `deliver`)"), "{text}");
        service.until("it is all settled", |s| s.status(&name).pending == 0);
        assert_eq!(database.value(&format!("SELECT count(*) || ' ' || sum(n) FROM {name}")), "2 3");
        let kind = format!("{dialect:?}-failed").to_lowercase();
        assert_eq!(failed(&eye, &name, &kind).len(), 1, "{name}");
        let (code, text) = service.command_with(&["redrive", "--kind", "manifests", &config, &name]);
        assert!(code == 0 && text.contains("0 records put in"), "{text}");
        assert_eq!(database.value(&format!("SELECT count(*) FROM {name}")), "2");
        assert_audit(&service);
    }
}
