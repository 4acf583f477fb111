//! What a database refuses, by its code and in words that lead to the cause.

use super::*;
use crate::rig::endpoint::tls_config;
use crate::rig::postgres::CERTIFICATE;
use std::io::Read;

const ANOTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/another.pem");

#[test]
fn postgres_says_what_is_wrong() {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run(
        "CREATE TABLE t (a int, b text); CREATE TABLE strict (a int NOT NULL CHECK (a > 0), b text); \
         CREATE VIEW made AS SELECT 1 AS x",
    );
    let user = format!("reader_{}", database.name);
    database.run(&format!("CREATE ROLE {user} LOGIN PASSWORD 'x'; GRANT SELECT ON t TO {user}"));
    let object = s3::shipment("object", br#"{"a":1}{"a":-2,"b":"x"}{"a":"x"}"#);
    let case = |code: &str, parts: &[&str], change: &dyn Fn(&mut Postgres)| {
        let mut settings = postgres(&database, &eye);
        change(&mut settings);
        let message = refused(postgres_sink(&settings, &eye).attempt(&object), &format!("Postgres.{code}"));
        for part in parts {
            assert!(message.contains(part), "{code}: {message} has no `{part}`");
        }
        assert!(!message.contains(PASSWORD), "{message}");
    };
    let port = database.server.port;
    let url = |rest: &str| format!("postgres://127.0.0.1:{port}/{rest}");
    case("AuthenticationFailed", &["28P01", USER], &|s| s.password = Some("wrong".to_owned().into()));
    case("AuthenticationFailed", &["password missing"], &|s| s.password = None);
    case("AuthenticationFailed", &["nobody"], &|s| s.username = "nobody".to_owned());
    case("DatabaseNotFound", &["\"nowhere\" does not exist"], &|s| s.url = url("nowhere"));
    case("ConnectionFailed", &["connect to `127.0.0.1:1`", "refused"], &|s| s.url = "postgres://127.0.0.1:1/d".into());
    case("TableNotFound", &["\"nothing\" does not exist"], &|s| s.table = "nothing".to_owned());
    case("SchemaNotFound", &["\"nowhere\" does not exist"], &|s| s.table = "nowhere.t".to_owned());
    case("ColumnNotFound", &["there is no `c`, found `a`, `b`"], &|s| s.columns = vec!["c".to_owned()]);
    case("ColumnNotFound", &["\"c\" of relation \"t\""], &|s| {
        (s.columns, s.input) = (vec!["c".to_owned()], WarehouseInput::Csv);
    });
    case("ColumnSpecifiedMoreThanOnce", &["\"a\""], &|s| s.columns = vec!["a".to_owned(), "a".to_owned()]);
    case("DataLoadFailed", &["invalid input syntax", "line 3, column a: \"x\""], &|_| {});
    case("DataLoadFailed", &["check constraint", "line 2"], &|s| s.table = "strict".to_owned());
    case("ColumnNotNullWithoutDefault", &["\"a\"", "line 1"], &|s| {
        (s.table, s.columns) = ("strict".to_owned(), vec!["b".to_owned()]);
    });
    let as_reader = |s: &mut Postgres| (s.username, s.password) = (user.clone(), Some("x".to_owned().into()));
    database.run(&format!("DROP TABLE hydrant_loads; CREATE SCHEMA own AUTHORIZATION {user}"));
    case("InsufficientPrivilege", &["create the table \"hydrant_loads\"", "schema public"], &as_reader);
    case("InsufficientPrivilege", &["permission denied for table t"], &|s| {
        as_reader(s);
        s.claims_table = "own.loads".to_owned();
    });
    database.run(&format!("ALTER ROLE {user} SET default_transaction_read_only = on"));
    case("ReadOnlyCluster", &["claim a plan in \"own\".\"loads\"", "read-only"], &|s| {
        as_reader(s);
        s.claims_table = "own.loads".to_owned();
    });
    let sink = postgres_sink(&postgres(&database, &eye), &eye);
    for (name, bytes, part) in [
        ("nul", r#"{"a":1}{"b":"\u0000"}"#, "record 2, column `b`: found the character NUL"),
        ("array", r#"{"a":1}[1]"#, "record 2: it is no JSON object"),
        ("cut", r#"{"a":1}{"a":"#, "record 2: it is no JSON"),
    ] {
        let message = refused(sink.attempt(&s3::shipment(name, bytes.as_bytes())), "Postgres.DataLoadFailed");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(database.value("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM strict)"), "0");
    assert_eq!(database.value("SELECT count(*) FROM own.loads"), "0");
}

#[test]
fn redshift_says_what_is_wrong() {
    let (eye, database) = (Eye::new(), SHARED.database());
    let front = Front::of(&database);
    database.run("CREATE TABLE t (a int, b text)");
    let case = |code: &str, parts: &[&str], bytes: &[u8], change: &dyn Fn(&mut Redshift)| {
        let mut settings = redshift(front.address, &database, &eye);
        change(&mut settings);
        let object = s3::shipment(&uuid::Uuid::new_v4().to_string(), bytes);
        let message = refused(redshift_sink(&settings, &eye).attempt(&object), &format!("Redshift.{code}"));
        for part in parts {
            assert!(message.contains(part), "{code}: {message} has no `{part}`");
        }
    };
    let good = br#"{"a":1}"#;
    case("AuthenticationFailed", &["28P01"], good, &|s| s.password = Some("wrong".to_owned().into()));
    case("TableNotFound", &["\"nothing\""], good, &|s| s.table = "nothing".to_owned());
    case("ColumnNotFound", &["\"c\" does not exist"], good, &|s| s.columns = vec!["c".to_owned()]);
    case("SyntaxError", &["at or near \"colour\""], good, &|s| s.copy_options = "json 'auto' colour".to_owned());
    case("IncorrectJsonPathsFile", &["JSONPath"], good, &|s| s.copy_options = "json 's3://b/paths'".to_owned());
    case("DataLoadFailed", &["Check 'sys_load_error_detail'", "line 2", "integer"], br#"{"a":1}{"a":"x"}"#, &|_| {});
    case("DataLoadFailed", &["gzip"], good, &|s| s.copy_options = "json 'auto' gzip".to_owned());
    case("MissingS3File", &["NoSuchKey"], good, &|s| s.s3.bucket = "no-such-bucket".to_owned());
    assert_eq!(database.rows("SELECT * FROM t"), Vec::<Vec<Option<String>>>::new());
    assert_eq!(database.value("SELECT count(*) FROM hydrant_loads"), "0");
}

#[test]
fn the_servers_certificate_is_looked_at_as_the_settings_say() {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run("CREATE TABLE t (a int)");
    let settings = |mode, ca: Option<&str>| {
        let tls = WarehouseTls { mode, ca: ca.map(Into::into) };
        Postgres { tls, ..postgres(&database, &eye) }
    };
    let attempt =
        |settings: &Postgres, name: &str| postgres_sink(settings, &eye).attempt(&s3::shipment(name, br#"{"a":1}"#));
    stored(attempt(&settings(WarehouseTlsMode::Verify, Some(CERTIFICATE)), "trusted"));
    stored(attempt(&settings(WarehouseTlsMode::Require, None), "whoever"));
    let message =
        refused(attempt(&settings(WarehouseTlsMode::Verify, Some(ANOTHER)), "another"), "Postgres.ConnectionFailed");
    assert!(message.contains("certificate"), "{message}");
    // For another host than it was made for.
    let elsewhere = settings(WarehouseTlsMode::Verify, Some(CERTIFICATE));
    let elsewhere = Postgres { url: elsewhere.url.replace("127.0.0.1", "127.0.0.2"), ..elsewhere };
    refused(attempt(&elsewhere, "elsewhere"), "Postgres.ConnectionFailed");
    // Who wants TLS does not go without.
    let front = Front::of(&database);
    let plain = settings(WarehouseTlsMode::Require, None);
    let plain = Postgres { url: format!("postgres://{}/{}", front.address, database.name), ..plain };
    let message = refused(attempt(&plain, "plain"), "Postgres.ConnectionFailed");
    assert!(message.contains("TLS"), "{message}");
    let wrong = settings(WarehouseTlsMode::Verify, Some("/nowhere/ca.pem"));
    let wrong = Warehouse::connect(wrong.target(), Arc::new(eye.sink()), RUNTIME.handle().clone());
    assert!(wrong.is_err_and(|e| e.to_string().starts_with("read `/nowhere/ca.pem`: ")));
    assert_eq!(database.value("SELECT count(*) FROM t"), "2");
}

/// Listens as a database that shows a certificate among the tests' data, and hangs up after the handshake; whether it came
/// to its end.
fn shaken(certificate: &'static str, ca: &str) -> bool {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        tcp.read_exact(&mut [0; 8]).unwrap();
        tcp.write_all(b"S").unwrap();
        let mut tls = rustls::ServerConnection::new(tls_config(certificate, "self")).unwrap();
        // What comes first is said by whoever trusts it.
        matches!(rustls::Stream::new(&mut tls, &mut tcp).read(&mut [0; 1]), Ok(1))
    });
    let (eye, database) = (Eye::new(), SHARED.database());
    let ca = format!("{}/tests/data/tls/{ca}.pem", env!("CARGO_MANIFEST_DIR"));
    let tls = WarehouseTls { mode: WarehouseTlsMode::Verify, ca: Some(ca.into()) };
    let settings = Postgres { url: format!("postgres://{address}/d"), tls, ..postgres(&database, &eye) };
    refused(postgres_sink(&settings, &eye).attempt(&s3::shipment("o", b"{}")), "Postgres.ConnectionFailed");
    server.join().unwrap()
}

#[test]
fn a_self_signed_certificate_that_ca_names_is_the_servers_own() {
    assert!(shaken("self", "self"));
    assert!(shaken("self-nameless", "self-nameless"));
    assert!(!shaken("self", "another"));
    assert!(!shaken("self-expired", "self-expired"));
}

#[test]
fn a_check_finds_what_would_keep_loads_from_working() {
    let (eye, database) = (Eye::new(), SHARED.database());
    let front = Front::of(&database);
    let user = format!("checked_{}", database.name);
    database
        .run(&format!("CREATE TABLE t (a int); CREATE ROLE {user} LOGIN PASSWORD 'x'; GRANT SELECT ON t TO {user}"));
    let in_postgres = |change: &dyn Fn(&mut Postgres)| {
        let mut settings = postgres(&database, &eye);
        change(&mut settings);
        postgres_sink(&settings, &eye).check()
    };
    let in_redshift = |change: &dyn Fn(&mut Redshift)| {
        let mut settings = redshift(front.address, &database, &eye);
        change(&mut settings);
        redshift_sink(&settings, &eye).check()
    };
    assert_eq!((in_postgres(&|_| {}), in_redshift(&|_| {})), (vec![], vec![]));
    // Nothing of it stays.
    assert_eq!(database.value("SELECT to_regclass('hydrant_loads') IS NULL"), "t");
    assert_eq!(database.value("SELECT count(*) FROM t"), "0");

    let problems = |found: Vec<String>, expected: &[&[&str]]| {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (problem, parts) in found.iter().zip(expected) {
            assert!(parts.iter().all(|part| problem.contains(part)), "{problem} lacks one of {parts:?}");
        }
    };
    problems(in_postgres(&|s| s.table = "T".to_owned()), &[&["\"T\" does not exist", "upper case is kept"]]);
    problems(in_redshift(&|s| s.table = "T".to_owned()), &[&["\"T\" does not exist", "upper case is kept"]]);
    problems(in_postgres(&|s| s.columns = vec!["x".to_owned()]), &[&["there is no `x`", "check `columns`"]]);
    problems(in_redshift(&|s| s.columns = vec!["x".to_owned()]), &[&["\"x\" does not exist", "check `columns`"]]);
    problems(in_postgres(&|s| s.username = "nobody".to_owned()), &[&["check `username` and `password` of nobody"]]);
    problems(in_postgres(&|s| s.url = "postgres://127.0.0.1:1/d".to_owned()), &[&["`127.0.0.1:1`", "check `url`"]]);
    let expected: &[&[&str]] = &[
        &["load into \"t\"", &format!("grant it to {user}")],
        &["create the table \"hydrant_loads\"", &format!("grant it to {user}")],
    ];
    problems(in_postgres(&|s| (s.username, s.password) = (user.clone(), Some("x".to_owned().into()))), expected);
    problems(in_redshift(&|s| (s.username, s.password) = (user.clone(), Some("x".to_owned().into()))), expected);
}
