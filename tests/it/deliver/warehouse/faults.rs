//! What a server does on a bad day.

use super::*;
use crate::rig::postgres::Postgres as Server;

const LONG: Duration = Duration::from_secs(60);

/// Rows of `t` wait for an advisory lock, which the session that is asked for holds.
const SLOW_TABLE: &str = "CREATE TABLE t (a int);
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END';
    CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION wait();
    SELECT pg_advisory_lock(7)";
const A_ROW_WAITS: &str = "SELECT count(*) > 0 FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event = 'advisory'";

#[test]
fn a_server_that_is_killed_amid_a_load_has_nothing_of_it_and_takes_it_later() {
    let server = Server::start();
    for dialect in BOTH {
        let (eye, mut database) = (Eye::new(), server.database());
        database.run(SLOW_TABLE);
        let (_front, address) = dialect.front(&database);
        let sink = dialect.sink(&database, &eye, address, LONG);
        // More than one piece where rows are sent.
        let lines = if dialect == Dialect::Postgres { 50_000 } else { 50 };
        let records: String = (0..lines).map(|i| format!("{{\"a\":{i}}}\n")).collect();
        let object = s3::shipment("object", records.as_bytes());
        let attempt = std::thread::scope(|scope| {
            let attempt = scope.spawn(|| sink.attempt(&object));
            database.until(A_ROW_WAITS);
            server.kill();
            attempt.join().expect("no panic")
        });
        refused(attempt, &dialect.code("ConnectionFailed"));
        refused(sink.attempt(&object), &dialect.code("ConnectionFailed"));
        server.restart();
        database.reconnect();
        assert_eq!(database.value("SELECT count(*) FROM t"), "0");
        stored(sink.attempt(&object));
        stored(sink.attempt(&object));
        let lines = lines.to_string();
        assert_eq!(database.rows("SELECT count(*), count(DISTINCT a) FROM t"), [some(&[&lines, &lines])]);
    }
}

#[test]
fn a_session_that_is_ended_amid_a_load_says_why_and_leaves_nothing() {
    for dialect in BOTH {
        let (eye, database) = (Eye::new(), SHARED.database());
        database.run(SLOW_TABLE);
        let (_front, address) = dialect.front(&database);
        let sink = dialect.sink(&database, &eye, address, LONG);
        let object = s3::shipment("object", br#"{"a":1}"#);
        let attempt = std::thread::scope(|scope| {
            let attempt = scope.spawn(|| sink.attempt(&object));
            database.until(A_ROW_WAITS);
            database.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event = 'advisory'",
            );
            attempt.join().expect("no panic")
        });
        let message = refused(attempt, &dialect.code("ConnectionFailed"));
        assert!(message.contains("terminating connection due to administrator command"), "{message}");
        database.run("SELECT pg_advisory_unlock(7)");
        stored(sink.attempt(&object));
        assert_eq!(database.value("SELECT count(*) FROM t"), "1");
    }
}

#[test]
fn a_load_that_takes_too_long_is_cancelled() {
    for dialect in BOTH {
        let (eye, database) = (Eye::new(), SHARED.database());
        database.run(SLOW_TABLE);
        let (_front, address) = dialect.front(&database);
        let sink = dialect.sink(&database, &eye, address, Duration::from_secs(1));
        let object = s3::shipment("object", br#"{"a":1}"#);
        // The server's own clock may be the first.
        let message = refused(sink.attempt(&object), &dialect.code("DataLoadFailed"));
        let says_so = ["no end within 1s", "statement timeout"].iter().any(|text| message.contains(text));
        assert!(says_so, "{message}");
        let none = A_ROW_WAITS.replace("> 0", "= 0");
        database.until(&none);
        database.run("SELECT pg_advisory_unlock(7)");
        stored(sink.attempt(&object));
        assert_eq!(database.value("SELECT count(*) FROM t"), "1");
    }
}
