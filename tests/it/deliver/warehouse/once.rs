//! Each plan once, whatever is repeated.

use super::*;
use crate::rig::proxy::{Go, Proxy};
use hydrant::deliver::s3::S3Sink;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(60);
const OBJECT: &[u8] = br#"{"a":1}{"a":2}"#;

/// Whether a session waits for another's transaction.
const ONE_WAITS: &str = "SELECT count(*) > 0 FROM pg_stat_activity \
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";

fn table(database: &Database) {
    database.run("CREATE TABLE t (a int)");
}

#[track_caller]
fn loaded_once(database: &Database) {
    assert_eq!(database.rows("SELECT a FROM t ORDER BY a"), [some(&["1"]), some(&["2"])]);
    assert_eq!(database.value("SELECT count(*) FROM hydrant_loads"), "1");
}

/// Counts the attempts that reach the stage.
struct Counted(S3Sink, AtomicUsize);

impl Sink for Counted {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.attempt(shipment)
    }
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_by_the_next_attempt() {
    for dialect in BOTH {
        let (eye, database) = (Eye::new(), SHARED.database());
        table(&database);
        let (_front, address) = dialect.front(&database);
        let proxy = Proxy::of_commits(address);
        let object = s3::shipment("object", OBJECT);
        let sink = dialect.sink(&database, &eye, proxy.address, LONG);
        proxy.lose_answer();
        let message = refused(sink.attempt(&object), &dialect.code("ConnectionFailed"));
        assert!(message.starts_with("commit: "), "{message}");
        assert_eq!(sink.attempt(&Shipment { only_look: true, ..object.clone() }), sink.attempt(&object));
        loaded_once(&database);
    }
}

#[test]
fn an_attempt_waits_for_a_commit_that_is_under_way() {
    for dialect in BOTH {
        for arrives in [true, false] {
            let (eye, database) = (Eye::new(), SHARED.database());
            table(&database);
            let (_front, address) = dialect.front(&database);
            let proxy = Proxy::of_commits(address);
            let object = s3::shipment("object", OBJECT);
            let (came, go) = proxy.hold();
            let (first, second) = std::thread::scope(|scope| {
                let first = scope.spawn(|| dialect.sink(&database, &eye, proxy.address, LONG).attempt(&object));
                came.recv().expect("a commit comes");
                let second = scope.spawn(|| dialect.sink(&database, &eye, address, LONG).attempt(&object));
                database.until(ONE_WAITS);
                go.send(if arrives { Go::On } else { Go::Nowhere }).expect("it waits");
                (first.join().expect("no panic"), second.join().expect("no panic"))
            });
            match arrives {
                true => _ = stored(first),
                false => _ = refused(first, &dialect.code("ConnectionFailed")),
            }
            stored(second);
            loaded_once(&database);
        }
    }
}

#[test]
fn a_load_that_outlives_its_time_does_not_commit_unseen() {
    for dialect in BOTH {
        let (eye, database) = (Eye::new(), SHARED.database());
        table(&database);
        let (_front, address) = dialect.front(&database);
        let proxy = Proxy::of_commits(address);
        let object = s3::shipment("object", OBJECT);
        let sink = dialect.sink(&database, &eye, proxy.address, Duration::from_secs(1));
        let (came, go) = proxy.hold();
        let message = refused(sink.attempt(&object), &dialect.code("DataLoadFailed"));
        assert!(message.contains("no end within 1s"), "{message}");
        came.recv().expect("a commit came");
        let second = dialect.sink(&database, &eye, address, LONG);
        std::thread::scope(|scope| {
            // The commit comes late, while or before the next attempt asks.
            let second = scope.spawn(|| second.attempt(&object));
            go.send(Go::On).expect("it waits");
            stored(second.join().expect("no panic"));
        });
        loaded_once(&database);
    }
}

#[test]
fn a_claim_says_what_was_loaded() {
    for dialect in BOTH {
        let (eye, database) = (Eye::new(), SHARED.database());
        table(&database);
        let (_front, address) = dialect.front(&database);
        let sink = dialect.sink(&database, &eye, address, LONG);
        let object = s3::shipment("object", OBJECT);
        stored(sink.attempt(&object));
        let claim = database.rows("SELECT plan, object, outputs, digest FROM hydrant_loads");
        let digest = format!("{:032x}", object.digest);
        assert_eq!(claim, [some(&[&object.id.to_string(), "object", "7", &digest])]);
        let look = Shipment { only_look: true, ..object.clone() };
        assert_eq!(sink.attempt(&Shipment { id: Uuid::new_v4(), ..look.clone() }), Attempt::Absent);
        // The claim counts, not only what is staged.
        database.run("UPDATE hydrant_loads SET outputs = 8");
        assert!(matches!(sink.attempt(&look), Attempt::Differs { .. }));
        assert!(matches!(sink.attempt(&object), Attempt::Differs { .. }));
        let nobody = dialect.sink(&database, &eye, ([127, 0, 0, 1], 1).into(), LONG);
        let Attempt::Retry { reason } = nobody.attempt(&look) else { panic!("nobody is there") };
        assert!(reason.starts_with(&dialect.code("ConnectionFailed: connect to `127.0.0.1:1`")), "{reason}");
    }
}

#[test]
fn an_object_is_staged_once_and_its_trouble_is_not_the_databases() {
    let (eye, database) = (Eye::new(), SHARED.database());
    let front = Front::of(&database);
    let stage = Arc::new(Counted(eye.sink(), AtomicUsize::new(0)));
    let settings = redshift(front.address, &database, &eye);
    let sink = Warehouse::connect(settings.target(), stage.clone(), RUNTIME.handle().clone()).expect("they are sound");
    let object = s3::shipment("object", OBJECT);
    for _ in 0..3 {
        refused(sink.attempt(&object), "Redshift.TableNotFound");
    }
    assert_eq!(stage.1.load(Ordering::Relaxed), 2, "the object and its manifest");
    // Another name is another object.
    refused(sink.attempt(&Shipment { name: "again".to_owned(), ..object.clone() }), "Redshift.TableNotFound");
    assert_eq!(stage.1.load(Ordering::Relaxed), 4);

    let nowhere = eye::connect(&hydrant::config::S3 { bucket: "no-such-bucket".to_owned(), ..*settings.s3.clone() });
    let sink =
        Warehouse::connect(settings.target(), Arc::new(nowhere), RUNTIME.handle().clone()).expect("they are sound");
    assert!(matches!(sink.attempt(&object), Attempt::Nowhere { .. }));
}
