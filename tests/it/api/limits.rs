//! A service that is leaned on: clients that announce and do not send, logs that nobody takes, few descriptors, signals at
//! the wrong time, files that are gone. Each costs who does it and nobody else, and is said.

use crate::rig::service::{PATIENCE, Service, exchange, variable};
use hydrant::api::sigv4::{SigningKeys, sign};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const STREAM: &str =
    "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/b } }\n";
/// Room for one request of the largest size.
const SMALL: &str = "memory: { size: 48MiB, intake_share: 25% }";
const CLAIMED: usize = 6 << 20;

/// A connection that has sent the headers of a put, and `body` of the bytes that it says will come.
fn half_request(service: &Service, headers: &str, body: usize) -> TcpStream {
    let mut stream = TcpStream::connect(service.api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-target: \
         Firehose_20150804.PutRecordBatch\r\n{headers}content-length: {CLAIMED}\r\n\r\n",
        service.api
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b' '; body]).unwrap();
    stream
}

/// The status of a put of a body of nearly the largest size, and how long it took.
fn large_put(service: &Service) -> (u16, Duration) {
    let began = Instant::now();
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; 1_000_000]);
    let records = vec![format!("{{\"Data\":\"{data}\"}}"); 4];
    let body = format!("{{\"DeliveryStreamName\":\"s\",\"Records\":[{}]}}", records.join(","));
    let (status, _) = service.call("PutRecordBatch", body.as_bytes()).unwrap_or_default();
    (status, began.elapsed())
}

#[test]
pub fn requests_that_announce_a_body_and_do_not_send_it_hold_no_room() {
    let mut service = Service::start_with(SMALL, STREAM);
    let _half: Vec<TcpStream> = (0..40).map(|i| half_request(&service, "", i % 3)).collect();
    for round in 0..5 {
        let (status, took) = large_put(&service);
        assert_eq!(status, 200, "round {round}, after {took:?}");
    }
    service.settled(20);
}

#[test]
fn beginnings_of_bodies_keep_nobody_out() {
    let mut service = Service::start_with(SMALL, STREAM);
    // With room for all of it, one of them would take all there is, and the others would wait before who comes later.
    let _half: Vec<TcpStream> = (0..12).map(|_| half_request(&service, "", 9 << 10)).collect();
    for round in 0..20 {
        assert_eq!(service.put("s", &[b"one".as_slice()]), 200, "round {round}");
    }
    service.settled(20);
}

#[test]
fn bodies_that_come_too_slowly_give_their_room_to_who_waits_for_it() {
    let mut service = Service::start_with(SMALL, STREAM);
    // Each takes all the room there is for what it says will come.
    let mut slow: Vec<TcpStream> = (0..3).map(|_| half_request(&service, "", 64 << 10)).collect();
    // One after the other is given up; whoever is told to come back has room the next time.
    let mut refused = 0;
    while large_put(&service).0 != 200 {
        refused += 1;
        assert!(refused < 5, "slow clients keep everybody out");
    }
    // Clients try this again. One that took its room later is waited for, too, before it is told that it is too slow for all.
    let ended = AtomicBool::new(false);
    let taken = std::thread::scope(|threads| {
        let puts = threads.spawn(|| {
            let mut taken = 1;
            while !ended.load(Ordering::Relaxed) {
                taken += (large_put(&service).0 == 200) as u64;
                std::thread::sleep(Duration::from_secs(1));
            }
            taken
        });
        let answers = slow.iter_mut().map(|stream| {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).map(|()| String::from_utf8_lossy(&answer).into_owned())
        });
        let answers: Vec<_> = answers.collect();
        ended.store(true, Ordering::Relaxed);
        answers.into_iter().for_each(|answer| assert_eq!(answer.unwrap(), "HTTP/1.1 503"));
        puts.join().unwrap()
    });
    let page = String::from_utf8(service.get("/metrics").unwrap().1).unwrap();
    assert!(page.lines().any(|l| l.starts_with("hydrant_slow_requests ") && !l.ends_with(" 0")), "{page}");
    service.settled(4 * taken);
}

#[test]
fn what_a_signature_cannot_mend_is_refused_before_anything_is_held_for_it() {
    let top = format!("{SMALL}\napi: {{ listen: API_ADDRESS, access_keys: {{ KEY: secret, OTHER: other }} }}");
    let service = Service::start_with(&top, STREAM);
    let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let host = service.api.to_string();
    let headers = |key: &str, date: &str| {
        let target = "Firehose_20150804.PutRecordBatch";
        let signed = [("host", host.as_str()), ("x-amz-date", date), ("x-amz-target", target)];
        let authorization = sign(&SigningKeys::default(), (key, "guessed"), ("us-east-1", date), &signed, b"");
        format!("authorization: {authorization}\r\nx-amz-date: {date}\r\n")
    };
    // One who knows a key's name and not its secret holds that key's share, and no more.
    let half = ["".to_owned(), headers("NOBODY", &date), headers("KEY", "20200101T000000Z"), headers("KEY", &date)];
    let _half: Vec<TcpStream> =
        half.iter().flat_map(|h| (0..4).map(|_| half_request(&service, h, 64 << 10)).collect::<Vec<_>>()).collect();
    let body = b"{\"DeliveryStreamName\":\"s\",\"Record\":{\"Data\":\"eA==\"}}";
    for _ in 0..10 {
        let signed =
            [("host", host.as_str()), ("x-amz-date", date.as_str()), ("x-amz-target", "Firehose_20150804.PutRecord")];
        let authorization = sign(&SigningKeys::default(), ("OTHER", "other"), ("us-east-1", &date), &signed, body);
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {date}\r\nx-amz-target: Firehose_20150804.PutRecord\r\n\
             authorization: {authorization}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}",
            body.len(),
            String::from_utf8_lossy(body)
        );
        let (status, answer) = exchange(service.api, request.as_bytes()).unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_body_that_is_too_large_is_read_and_answered_with_an_error_of_the_model() {
    let service = Service::start(STREAM);
    let sizes = [(6 << 20) + 1, 7 << 20, 20 << 20];
    for (size, is_chunked) in sizes.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let mut stream = TcpStream::connect(service.api).unwrap();
        let framing = if is_chunked { "transfer-encoding: chunked".into() } else { format!("content-length: {size}") };
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Firehose_20150804.PutRecordBatch\r\n{framing}\r\n\r\n"
        );
        let mut body = vec![b' '; size];
        if is_chunked {
            let chunks = body.chunks(64 << 10);
            body = chunks.flat_map(|c| [format!("{:x}\r\n", c.len()).as_bytes(), c, b"\r\n"].concat()).collect();
            body.extend(b"0\r\n\r\n");
        }
        stream.write_all(head.as_bytes()).unwrap();
        // A client that is told too early dies of the connection's end.
        stream.write_all(&body).expect("all of the body is read");
        let mut answer = vec![0; 400];
        let n = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("InvalidArgumentException"), "{answer}");
    }
}

#[test]
fn who_connects_while_the_service_stops_is_refused_at_once() {
    let mut service = Service::start(STREAM);
    let _slow = half_request(&service, "", 64 << 10);
    service.signal(Signal::TERM);
    let began = Instant::now();
    while TcpStream::connect_timeout(&service.api, Duration::from_secs(5)).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "it is still accepted, and nobody answers");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    service.terminate();
}

#[test]
fn a_log_that_nobody_takes_fails_nothing() {
    let (reader, closed_pipe) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for log in [full, std::fs::File::from(std::os::fd::OwnedFd::from(closed_pipe))] {
        let mut service = Service::new();
        service.configure("log: { level: debug }", STREAM);
        service.spawn_as(&mut Command::new(variable("HYDRANT_TEST_BIN")), log);
        service.until("it is ready", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
        assert_eq!(service.put("s", &[b"one".as_slice()]), 200);
        service.settled(1);
        let (_, page) = service.get("/metrics").unwrap();
        let page = String::from_utf8(page).unwrap();
        let lost = page.lines().find_map(|l| l.strip_prefix("hydrant_log_lines_lost ")).expect("the metric");
        assert!(lost.parse::<u64>().unwrap() > 0, "{lost}");
        assert_eq!(service.put("s", &[b"two".as_slice()]), 200);
        assert_eq!(service.terminate(), Some(0));
        assert_eq!(service.objects("b").iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), 8, "it has drained");
    }
}

#[test]
fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    // A pipe that is full, and that somebody holds without reading it.
    let (_reader, mut pipe) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&pipe, true).unwrap();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&pipe, false).unwrap();
    let mut service = Service::new();
    service.configure("log: { level: debug }", STREAM);
    service.spawn_as(&mut Command::new(variable("HYDRANT_TEST_BIN")), std::os::fd::OwnedFd::from(pipe).into());
    service.until("it is ready", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
    for _ in 0..5 {
        assert_eq!(service.put("s", &[b"one".as_slice()]), 200);
        service.signal(Signal::HUP);
        assert!(service.get("/metrics").is_some_and(|(status, _)| status == 200));
    }
    service.settled(5);
    assert_eq!(service.terminate(), Some(0), "it has drained, and ended");
}

/// A user whose only processes are those of one test.
const OWN_UID: u32 = 54321;

/// More processes than the service may have threads, all of one user.
struct Crowd(Vec<std::process::Child>);

impl Crowd {
    fn of(uid: Option<u32>, processes: usize) -> Crowd {
        use std::os::unix::process::CommandExt;
        let start = |_| {
            let mut sleep = Command::new("sleep");
            if let Some(uid) = uid {
                sleep.uid(uid);
            }
            sleep.arg("600").spawn().unwrap()
        };
        Crowd((0..processes).map(start).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_service_that_gets_no_more_threads_answers_and_goes_on() {
    let mut service = Service::new();
    service.configure("", STREAM);
    let (mut shell, uid) = of_limited_user(&service, OWN_UID, 100);
    let log = service.log_file();
    service.spawn_as(&mut shell, log);
    service.until("it is ready", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
    assert_eq!(service.put("s", &[b"before".as_slice()]), 200);
    service.settled(1);
    // Threads that have nothing to do have ended after ten seconds, which is Tokio's time for them.
    let idle_since = Instant::now();
    service.until("idle threads have ended", |_| idle_since.elapsed() > Duration::from_secs(12));
    let crowd = Crowd::of(uid, 120);
    for i in 0..20 {
        let record = format!("record {i}");
        let answered = service.call("PutRecord", put_of(&record).as_bytes());
        let (status, answer) = answered.expect("an answer");
        assert!(matches!(status, 200 | 503), "{status}: {}", String::from_utf8_lossy(&answer));
        assert!(service.get("/v1/streams").is_some());
    }
    drop(crowd);
    service.until("what it took is delivered", |s| {
        let status = s.status("s");
        status.accepted > 1 && status.pending == 0 && status.gap == 0
    });
    assert!(!service.log().contains("panicked"), "{}", service.log());
    assert_eq!(service.terminate(), Some(0));
}

/// A shell in the service's directory that gives what follows so many threads, and the user that has them.
fn of_limited_user(service: &Service, uid: u32, threads: u32) -> (Command, Option<u32>) {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    // The limit is one of a user, and does not hold for root.
    let program = service.dir.path().join("hydrant");
    std::fs::copy(variable("HYDRANT_TEST_BIN"), &program).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("ulimit -u {threads} && exec \"$0\" \"$@\"")]).arg(&program);
    let uid = rustix::process::geteuid().is_root().then_some(uid);
    if let Some(uid) = uid {
        chown(service.dir.path(), Some(uid), None).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        shell.uid(uid);
    }
    shell.current_dir(service.dir.path());
    (shell, uid)
}

/// A service of a user with so many threads, which has ended if they are too few.
fn start_with_threads(uid: u32, threads: u32, streams: &str) -> Service {
    let mut service = Service::new();
    service.configure("", streams);
    let (mut shell, _) = of_limited_user(&service, uid, threads);
    let log = service.log_file();
    service.spawn_as(&mut shell, log);
    service.until_ready_or_dead();
    service
}

#[test]
fn a_service_that_gets_too_few_threads_to_start_says_so_and_ends() {
    let mut refused = 0;
    for threads in 1..=10 {
        let mut service = start_with_threads(OWN_UID + 1, threads, STREAM);
        assert!(!service.log().contains("panicked"), "{threads}: {}", service.log());
        if service.has_ended() {
            assert!(service.log().contains("ulimit -u"), "{threads}: {}", service.log());
            refused += 1;
        }
        service.kill();
    }
    assert!(refused > 1, "no limit was felt");
}

/// With as few threads as it starts with: lanes share them, and a reload says of each stream how it stands.
#[test]
fn a_reload_with_few_threads_opens_every_stream() {
    let of = |n: usize| STREAM.replace("  s:", &format!("  s{n}:")).replace("DIR/b", &format!("DIR/b{n}"));
    let started = (8..40).map(|threads| start_with_threads(OWN_UID + 2, threads, &of(0)));
    let mut service =
        started.filter_map(|mut service| (!service.has_ended()).then_some(service)).next().expect("a start");
    service.configure("", &(0..6).map(of).collect::<String>());
    service.signal(Signal::HUP);
    service.until("every stream is open", |s| {
        let statuses = s.statuses();
        statuses.len() == 6 && statuses.iter().all(|status| status.state == "running")
    });
    for n in 0..6 {
        assert_eq!(service.put(&format!("s{n}"), &[b"one".as_slice()]), 200);
    }
    service.until("all is delivered", |s| s.statuses().iter().all(|s| s.accepted == 1 && s.pending == 0 && s.gap == 0));
    assert!(!service.log().contains("panicked"), "{}", service.log());
    assert_eq!(service.terminate(), Some(0));
}

fn put_of(record: &str) -> String {
    let data = base64_simd::STANDARD.encode_to_string(record);
    format!("{{\"DeliveryStreamName\":\"s\",\"Record\":{{\"Data\":\"{data}\"}}}}")
}

/// The bit of a signal in what the kernel says of the signals that a process handles.
fn handles(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).unwrap_or("0").trim().to_owned();
    u64::from_str_radix(&caught, 16).unwrap_or(0) >> (signal.as_raw() - 1) & 1 == 1
}

#[test]
fn signals_are_waited_for_before_streams_are_opened() {
    let streams: String = (0..40).map(|i| STREAM.replace("  s:", &format!("  s{i}:"))).collect();
    let mut service = Service::new();
    service.configure("", &streams);
    let log = service.log_file();
    service.spawn_as(&mut Command::new(variable("HYDRANT_TEST_BIN")), log);
    service.until("it waits for signals", |s| handles(s.pid(), Signal::HUP));
    assert!(!service.log().contains("hydrant runs"), "too late to tell");
    service.signal(Signal::HUP);
    service.until("it is ready", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
    assert_eq!(service.put("s7", &[b"one".as_slice()]), 200);
    service.settled(1);
}

#[test]
fn a_file_that_is_just_being_saved_takes_nothing_away() {
    let mut service = Service::start(STREAM);
    let whole = std::fs::read(service.config()).unwrap();
    for half in [0, whole.len() / 3] {
        let before = service.log().matches("is not reloaded").count();
        std::fs::write(service.config(), &whole[..half]).unwrap();
        service.signal(Signal::HUP);
        service.until("it is refused", |s| s.log().matches("is not reloaded").count() > before);
        assert_eq!(service.put("s", &[b"x".as_slice()]), 200);
    }
    std::fs::write(service.config(), whole).unwrap();
    service.settled(2);
}

#[test]
fn clients_never_take_the_descriptors_that_streams_need() {
    let mut service = Service::new();
    service.configure("", STREAM);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", &variable("HYDRANT_TEST_BIN")]);
    let log = service.log_file();
    service.spawn_as(&mut limited, log);
    service.until("it is ready", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
    // One that is connected goes on, whoever else comes.
    let mut own = TcpStream::connect(service.api).unwrap();
    own.set_read_timeout(Some(PATIENCE)).unwrap();
    // Large ones fill segments, and the next one is a file to open.
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; 900_000]);
    let mut put = |what: &str| {
        let body = format!("{{\"DeliveryStreamName\":\"s\",\"Record\":{{\"Data\":\"{data}\"}}}}");
        let request = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Firehose_20150804.PutRecord\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        own.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![0; 1000];
        let n = own.read(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{what}: {}", String::from_utf8_lossy(&answer[..n]));
    };
    put("before");
    let idle: Vec<TcpStream> = (0..100).filter_map(|_| TcpStream::connect(service.api).ok()).collect();
    for i in 0..20 {
        put(&format!("put {i} beside {} connections", idle.len()));
    }
    service.settled(21);
    assert_eq!(service.status("s").alarm, None);
    assert_eq!(service.get("/readyz").unwrap().0, 200);
    // So does who comes now: connections that ask for nothing give their places up.
    assert_eq!(service.put("s", &[b"late".as_slice()]), 200);
    service.settled(22);
}

/// Descriptors of a service that lead into the directories of its streams.
fn descriptors_of_streams(service: &Service) -> usize {
    let dir = service.dir.path().join("data/streams");
    let open = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap();
    let leads_there = |entry: &std::fs::DirEntry| std::fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(&dir));
    open.flatten().filter(leads_there).count()
}

#[test]
fn a_stream_that_has_nothing_to_do_any_more_gives_its_files_back() {
    let mut service = Service::start(STREAM);
    service.until("it has none", |s| descriptors_of_streams(s) == 0);
    for life in 1..=2 {
        assert_eq!(service.put("s", &[b"x".as_slice()]), 200);
        service.settled(life);
        service.until("its files are given back", |s| descriptors_of_streams(s) <= 3);
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_no_end() {
    let mut service = Service::new();
    service.configure("", &STREAM.replace("1s", "0s"));
    let mut limited = Command::new("sh");
    // In blocks of 512 bytes: a journal's third segment would be larger.
    limited.args(["-c", "ulimit -f 400; exec \"$0\" \"$@\"", &variable("HYDRANT_TEST_BIN")]);
    let log = service.log_file();
    service.spawn_as(&mut limited, log);
    service.until("it is ready", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
    let record = vec![b'x'; 4000];
    let mut refused = 0;
    for _ in 0..60 {
        while service.put("s", &[record.as_slice()]) != 200 {
            refused += 1;
            assert!(refused < 100, "{:?}", service.status("s"));
        }
    }
    service.settled(60);
    assert!(service.log().contains("ulimit -f"), "{}", service.log());
}

#[test]
fn clients_that_ask_for_nothing_shut_nobody_out_and_readiness_tells_when_others_do() {
    let top = "api: { listen: API_ADDRESS, max_connections: 8, body_timeout: 60s }";
    let mut service = Service::start_with(&format!("{SMALL}\n{top}"), STREAM);
    let connect = |_| TcpStream::connect(service.api).unwrap();
    let mut idle: Vec<TcpStream> = (0..30).map(connect).collect();
    for put in 0..10 {
        assert_eq!(service.put("s", &[b"x".as_slice()]), 200, "put {put}");
        idle.extend((0..3).map(connect));
    }
    assert_eq!(service.get("/readyz").unwrap().0, 200);
    // Whoever sends a body is being answered.
    let busy: Vec<TcpStream> = (0..8).map(|_| half_request(&service, "", 10)).collect();
    service.until("clients are turned away, and readiness says so", |s| {
        let _ = TcpStream::connect(s.api);
        let (status, text) = s.get("/readyz").unwrap();
        status == 503 && String::from_utf8_lossy(&text).contains("clients are turned away: all of 8 connections")
    });
    drop((busy, idle));
    service.until("others are let in again", |s| s.put("s", &[b"late".as_slice()]) == 200);
    service.until("it is ready again", |s| s.get("/readyz").unwrap().0 == 200);
    service.settled(11);
}

#[test]
fn a_stream_that_refuses_puts_says_why_and_takes_them_again_when_it_can() {
    let mut service = Service::start(STREAM);
    let streams = service.dir.path().join("data/streams");
    let dir = std::fs::read_dir(&streams).unwrap().next().unwrap().unwrap().path();
    let away = service.dir.path().join("away");
    for round in 0..2 {
        std::fs::rename(&dir, &away).unwrap();
        // What has a segment to write to goes on with it until that is full.
        let records = vec![vec![b'x'; 200_000]; 20];
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        service.until("puts are refused", |s| s.put("s", &records) >= 500);
        service.until("status says why", |s| {
            s.status("s")
                .alarm
                .is_some_and(|alarm| alarm.contains("puts are refused") || alarm.contains("not there any more"))
        });
        let (status, page) = service.get("/readyz").unwrap();
        assert_eq!(status, 503, "{}", String::from_utf8_lossy(&page));
        service.until("Describe says so", |s| {
            let (_, answer) = s.call("DescribeDeliveryStream", br#"{"DeliveryStreamName":"s"}"#).unwrap();
            String::from_utf8_lossy(&answer).contains("takes no puts")
        });
        std::fs::rename(&away, &dir).unwrap();
        service.until("puts are taken again", |s| s.put("s", &[b"y".as_slice()]) == 200);
        service.until("and it says so", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
        service.until(&format!("all is delivered in round {round}"), |s| s.statuses().iter().all(|s| s.pending == 0));
        assert_eq!(service.status("s").gap, 0);
    }
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}
