//! Every command with every kind of destination: what it ends with, and that it never panics, while the service runs, after
//! it has ended, and where the destination is not there.

use crate::deliver::http_endpoint;
use crate::deliver::warehouse::Dialect;
use crate::deliver::warehouse_stream::Place;
use crate::rig::endpoint::Endpoint;
use crate::rig::eye::Eye;
use crate::rig::postgres::SHARED;
use crate::rig::service::{Service, variable};
use std::collections::BTreeSet;
use std::process::Command;

/// A stream `s` whose destination is there, and the same where it is not.
struct Case {
    there: String,
    gone: String,
    /// What `check --online` says then.
    complaint: &'static str,
}

/// What the commands of this file are.
const TRIED: [&str; 11] =
    ["check", "put", "convert", "status", "redrive", "pause", "resume", "abandon", "acknowledge", "audit", "repair"];
/// `run` is what they talk to; the others have no configuration.
const OTHERS: [&str; 5] = ["run", "demo", "schema", "transform", "help"];

fn s3(bucket: &str) -> String {
    format!(
        "{{ bucket: {bucket}, endpoint: \"{}\", access_key_id: {}, secret_access_key: {} }}",
        variable("HYDRANT_TEST_S3_ENDPOINT"),
        variable("HYDRANT_TEST_S3_ACCESS_KEY"),
        variable("HYDRANT_TEST_S3_SECRET_KEY"),
    )
}

/// A stream to a store, backed up into another one.
fn objects(destination: &str, backup: &str) -> String {
    format!(
        "  s:\n    format: lines\n    buffer: {{ size: 1MiB, interval: 100ms }}\n    destination: {{ {destination} }}\n    \
         backup: {{ {backup}, buffer: {{ size: 1MiB, interval: 100ms }} }}\n"
    )
}

/// Runs a command and holds it to its exit code.
#[track_caller]
fn ends(service: &Service, code: i32, arguments: &[&str]) -> String {
    let config = service.config().display().to_string();
    let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "CONFIG" { config.as_str() } else { a }).collect();
    let (found, text) = service.command_with(&arguments);
    assert!(found == code && !text.contains("panicked"), "`{}` ended with {found}: {text}", arguments.join(" "));
    text
}

fn try_all(case: &Case) {
    let mut service = Service::start(&case.there);
    let file = service.dir.path().join("records").display().to_string();
    std::fs::write(&file, "{\"n\":1,\"s\":\"a\"}\n{\"n\":2,\"s\":\"b\"}\n").unwrap();
    assert_eq!(ends(&service, 0, &["put", "CONFIG", "s", &file]), "2 records acknowledged\n");
    service.settled(2);
    let converted = service.dir.path().join("converted").display().to_string();
    let text = ends(&service, 0, &["convert", &file, "--config", "CONFIG", "--stream", "s", "--output", &converted]);
    assert!(text.starts_with("2 of 2 records in `"), "{text}");
    while_it_runs_or_not(&service);
    ends(&service, 0, &["status", "CONFIG"]);
    ends(&service, 0, &["status", "--json", "CONFIG"]);
    ends(&service, 0, &["redrive", "CONFIG", "s", "--dry-run"]);
    ends(&service, 0, &["redrive", "CONFIG", "s", "--dry-run", "--json", "--kind", "backup"]);
    ends(&service, 0, &["redrive", "CONFIG", "s"]);
    ends(&service, 0, &["pause", "CONFIG", "s"]);
    assert!(ends(&service, 0, &["abandon", "CONFIG", "s"]).contains("0 plans"));
    ends(&service, 0, &["put", "CONFIG", "s", &file]);
    assert!(ends(&service, 0, &["acknowledge", "CONFIG", "s"]).contains("0 lost records"));
    ends(&service, 0, &["resume", "CONFIG", "s"]);
    service.settled(4);
    for verb in ["pause", "resume", "abandon", "acknowledge", "redrive"] {
        assert_eq!(ends(&service, 1, &[verb, "CONFIG", "t"]), "there is no stream `t`\n");
    }
    assert!(ends(&service, 1, &["put", "CONFIG", "t", &file]).contains("ResourceNotFoundException"));
    ends(&service, 1, &["put", "CONFIG", "s", "nowhere"]);
    ends(&service, 2, &["put", "CONFIG"]);
    assert!(ends(&service, 1, &["repair", "CONFIG"]).contains("another process uses it"));
    assert_eq!(service.terminate(), Some(0));
    while_it_runs_or_not(&service);
    assert_eq!(ends(&service, 0, &["repair", "CONFIG"]), "nothing is left to be repaired\n");
    for command in ["status", "pause", "resume", "abandon", "acknowledge", "redrive", "put"] {
        let stream: &[&str] = match command {
            "status" => &["status", "CONFIG"],
            "put" => &["put", "CONFIG", "s", &file],
            verb => &[verb, "CONFIG", "s"],
        };
        assert!(ends(&service, 1, stream).starts_with("connect to `"), "{command}");
    }
    service.configure("", &case.gone);
    ends(&service, 0, &["check", "CONFIG"]);
    let text = ends(&service, 1, &["check", "--online", "CONFIG"]);
    assert!(text.contains("hydrant.yaml:") && text.contains(case.complaint), "{text}");
    let log = service.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// What needs no service.
fn while_it_runs_or_not(service: &Service) {
    assert!(ends(service, 0, &["check", "CONFIG"]).ends_with(": ok\n"));
    assert!(ends(service, 0, &["check", "--online", "CONFIG"]).ends_with(": ok\n"));
    ends(service, 0, &["audit", "CONFIG"]);
    ends(service, 0, &["audit", "--deep", "CONFIG"]);
    ends(service, 0, &["audit", "--deep", "--json", "CONFIG"]);
}

#[test]
fn there_is_no_command_that_is_not_tried() {
    let help = Command::new(variable("HYDRANT_TEST_BIN")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What goes on in the next line is set in deeper.
    let named = listed.filter_map(|line| line.strip_prefix("  ").filter(|name| !name.starts_with(' ')));
    let listed: BTreeSet<&str> = named.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, TRIED.into_iter().chain(OTHERS).collect());
}

#[test]
fn every_command_works_with_a_directory() {
    let there = |dir: &str| objects(&format!("local: {{ dir: DIR/{dir} }}"), "local: { dir: DIR/backup }");
    try_all(&Case { there: there("objects"), gone: there("records/below"), complaint: "no file can be made in" });
}

/// The output of each command, closed by who reads it or on a full disk: the first is no error, the second is said.
#[test]
fn output_that_nobody_takes_is_no_panic() {
    let mut service = Service::start(
        "  s:\n    buffer: { size: 1MiB, interval: 100ms }\n    destination: { local: { dir: DIR/out } }\n    backup: { mode: \
         failed, local: { dir: DIR/failed } }\n",
    );
    let config = service.config().display().to_string();
    let file = service.dir.path().join("records").display().to_string();
    std::fs::write(&file, "one\n").unwrap();
    let converted = service.dir.path().join("converted").display().to_string();
    let run = |command: &str, stdout: std::process::Stdio| {
        let arguments: &[&str] = match command {
            "check" | "status" | "audit" | "repair" => &[&config],
            "put" => &[&config, "s", &file],
            "convert" => &[&file, "--config", &config, "--stream", "s", "--force", "--output", &converted],
            _ => &[&config, "s"],
        };
        let program = variable("HYDRANT_TEST_BIN");
        let output = Command::new(program).arg(command).args(arguments).stdout(stdout).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer.into()
    };
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap().into();
    let try_all = |commands: &[&str]| {
        for command in commands {
            assert_eq!(run(command, closed()), (Some(0), String::new()), "{command}");
            let (code, said) = run(command, full());
            assert!(
                code == Some(1) && said == "standard output: No space left on device (os error 28)\n",
                "{command}: {said}"
            );
        }
    };
    let (stopped, running): (Vec<&str>, Vec<&str>) = TRIED.into_iter().partition(|command| *command == "repair");
    try_all(&running);
    service.settled(2);
    assert_eq!(service.terminate(), Some(0));
    try_all(&stopped);
}

#[test]
fn every_command_works_with_a_bucket() {
    let (eye, backup) = (Eye::new(), Eye::new());
    let of = |bucket: &str| objects(&format!("s3: {}", s3(bucket)), &format!("s3: {}", s3(&backup.bucket)));
    try_all(&Case { there: of(&eye.bucket), gone: of("there-is-none"), complaint: "NoSuchBucket" });
}

#[test]
fn every_command_works_with_an_http_endpoint() {
    let (endpoint, backup) = (Endpoint::start(), Eye::new());
    let backup = format!("mode: all, s3: {}", s3(&backup.bucket));
    let to = |url: &str| http_endpoint::stream("s", url, &[], &backup);
    let gone = to("http://127.0.0.1:1/");
    try_all(&Case { there: to(&endpoint.url("/")), gone, complaint: "Connection refused" });
}

fn try_warehouse(dialect: Dialect) {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run("CREATE TABLE s (n bigint, s text)");
    let (_front, address) = dialect.front(&database);
    let at = |address| {
        let place = Place { dialect, address, database: &database, bucket: &eye.bucket };
        place.stream("s", &[]) + "    backup: { local: { dir: DIR/backup }, buffer: { size: 1MiB, interval: 100ms } }\n"
    };
    let (there, gone) = (at(address), at(([127, 0, 0, 1], 1).into()));
    try_all(&Case { there, gone, complaint: "Connection refused" });
}

#[test]
fn every_command_works_with_postgresql() {
    try_warehouse(Dialect::Postgres);
}

#[test]
fn every_command_works_with_redshift() {
    try_warehouse(Dialect::Redshift);
}
