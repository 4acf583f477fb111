//! The clauses.

use super::{Nature, Network, Once, Place};
use crate::deliver::s3::noise;
use crate::rig::proxy::{Direction, Proxy};
use hydrant::deliver::{Attempt, Shipment, Sink};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(60);
/// A time-out that is waited for, and what may pass at most until it is noticed on a machine that is busy.
const SHORT: Duration = Duration::from_secs(1);
const NOTICED: Duration = Duration::from_secs(10);
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
/// Attempts at the same time.
const RACERS: usize = 6;

type Clause = fn(&dyn Place);

const CLAUSES: [(&str, Clause); 8] = [
    ("what is delivered is there byte for byte", what_is_delivered_is_there_byte_for_byte),
    ("a repeated attempt finds the first", a_repeated_attempt_finds_the_first),
    ("of attempts at the same time one delivers", of_attempts_at_the_same_time_one_delivers),
    ("an attempt that is cut short is made up for", an_attempt_that_is_cut_short_is_made_up_for),
    ("what is not ours stays, and is not taken for ours", what_is_not_ours_stays),
    ("a look changes nothing", a_look_changes_nothing),
    ("a refusal says what is wrong, and where", a_refusal_says_what_is_wrong),
    ("who is not there or silent is asked again later", who_is_not_there_is_asked_again_later),
];

/// Holds every clause against a new place each.
pub fn hold(place: impl Fn() -> Box<dyn Place>) {
    for (name, clause) in CLAUSES {
        let began = Instant::now();
        println!("{name}");
        clause(&*place());
        println!("  {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// So many records with text of so many bytes, as a shipment.
fn made(place: &dyn Place, records: usize, bytes: usize) -> (Shipment, Vec<Vec<u8>>) {
    let id = Uuid::new_v4();
    let text = base64_simd::STANDARD.encode_to_string(noise(bytes));
    let records: Vec<Vec<u8>> =
        (0..records).map(|n| format!("{{\"p\":\"{id}\",\"n\":{n},\"s\":\"{text}\"}}").into_bytes()).collect();
    // The plan's id is in the name, as the stream sees to.
    let shipment = Shipment { id, ..place.shipment(&format!("p/{id}"), &records) };
    (shipment, records)
}

#[track_caller]
fn stored(attempt: Attempt) -> String {
    match attempt {
        Attempt::Stored { tag } => tag,
        other => panic!("expected Stored, found {other:?}"),
    }
}

/// Attempts until it is decided: a writer that finds the name under way but not yet taken is told to try again.
#[track_caller]
fn decided(sink: &dyn Sink, shipment: &Shipment) -> Attempt {
    loop {
        match sink.attempt(shipment) {
            Attempt::Retry { reason } if reason.starts_with("the name was taken") => {}
            decided => return decided,
        }
    }
}

#[track_caller]
fn assert_there(place: &dyn Place, what: &str, shipment: &Shipment, records: &[Vec<u8>]) {
    let found = place.found(shipment);
    assert!(found == records, "{what}: {} records are there, {} were sent, or others", found.len(), records.len());
}

fn what_is_delivered_is_there_byte_for_byte(place: &dyn Place) {
    let sink = place.sink();
    // Around the sizes of pieces: of requests, of bodies in memory, of scratch.
    let sizes = [(0, 0), (1, 0), (1, 700_000), (1, 790_000), (10_000, 10), (25, 750_000)];
    let sizes = sizes.into_iter().filter(|(records, _)| *records > 0 || place.nature().empty);
    for (things, (records, bytes)) in (1..).zip(sizes) {
        let (shipment, sent) = made(place, records, bytes);
        stored(sink.attempt(&shipment));
        assert_there(place, &format!("{records} records of {bytes} bytes"), &shipment, &sent);
        assert_eq!(place.things(), things, "after {records} records of {bytes} bytes");
    }
}

fn a_repeated_attempt_finds_the_first(place: &dyn Place) {
    let (shipment, sent) = made(place, 100, 10);
    let sink = place.sink();
    let tag = stored(sink.attempt(&shipment));
    assert_eq!(stored(sink.attempt(&shipment)), tag);
    assert_eq!(stored(place.sink().attempt(&shipment)), tag, "a process that has just started finds it too");
    if place.nature().once != Once::RequestId {
        // Rebuilt, a plan may be encoded differently: it is the same plan all the same, and the first stays.
        let rebuilt = Shipment { body: made(place, 50, 20).0.body, ..shipment.clone() };
        assert_eq!(stored(place.sink().attempt(&rebuilt)), tag);
    }
    assert_there(place, "repeated", &shipment, &sent);
    assert_eq!(place.things(), 1);
}

fn of_attempts_at_the_same_time_one_delivers(place: &dyn Place) {
    if !place.nature().shared {
        return;
    }
    let (shipment, sent) = made(place, 100, 10);
    let sinks: Vec<_> = (0..RACERS).map(|_| place.sink()).collect();
    std::thread::scope(|scope| {
        for sink in &sinks {
            scope.spawn(|| stored(decided(&**sink, &shipment)));
        }
    });
    assert_there(place, "raced", &shipment, &sent);
    assert_eq!(place.things(), 1);
}

/// Each larger by a half, and somewhat by chance.
fn distances() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(1_u64), |d| Some(d + d.div_ceil(2))).map(|d| d + rand::random_range(0..d.div_ceil(2)))
}

/// What an attempt may say that did not hear what became of it: no verdict on the object.
#[track_caller]
fn is_open_or_stored(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::Stored { .. } => true,
        Attempt::Retry { .. } | Attempt::Refused { .. } => false,
        other => panic!("cut short, it says {other:?}"),
    }
}

fn an_attempt_that_is_cut_short_is_made_up_for(place: &dyn Place) {
    let (mut things, mut unheard) = (0, 0);
    let mut cut = |attempt: Attempt, at: &str, shipment: &Shipment, sent: &[Vec<u8>]| {
        things += 1;
        let said = is_open_or_stored(&attempt);
        if said {
            assert_there(place, &format!("{at}, stored as it says"), shipment, sent);
        }
        unheard += usize::from(!said && !place.found(shipment).is_empty());
        let repeated = decided(&*place.sink(), shipment);
        assert!(matches!(repeated, Attempt::Stored { .. }), "{at}: {attempt:?}, then {repeated:?}");
        assert_there(place, at, shipment, sent);
        assert_eq!(place.things(), things, "{at}");
    };
    for (operation, power) in (1..).flat_map(|o| [(o, false), (o, true)]) {
        let (shipment, sent) = made(place, 200, 100);
        let Some((attempt, was_cut)) = place.attempt_until(&shipment, operation, power) else { break };
        let end = if power { "without power" } else { "killed" };
        cut(attempt, &format!("{end} at operation {operation}"), &shipment, &sent);
        if power && !was_cut {
            break;
        }
    }
    for direction in [Direction::There, Direction::Back] {
        let Some(network) = place.network() else { break };
        // How many bytes pass in all, if fewer than may.
        let mut attempt = |bytes: u64| {
            let (shipment, sent) = made(place, 200, 100);
            let way = Proxy::cut(network.server(), direction, bytes);
            let attempt = network.sink_at(way.address, LONG).attempt(&shipment);
            let whole = (!way.was_cut()).then(|| way.passed(direction));
            cut(attempt, &format!("{direction:?} after {bytes} bytes"), &shipment, &sent);
            whole
        };
        // Ever larger distances from the beginning, and from the end.
        let whole = distances().find_map(&mut attempt).expect("there are enough");
        distances().take_while(|d| *d < whole / 3).for_each(|d| _ = attempt(whole - d));
    }
    println!("  {things} attempts cut short, {unheard} of these delivered and not heard");
    assert!(things == 0 || unheard > 0, "no answer was lost");
}

fn what_is_not_ours_stays(place: &dyn Place) {
    let Nature { once, compares, .. } = place.nature();
    let (shipment, sent) = made(place, 100, 10);
    let sink = place.sink();
    stored(sink.attempt(&shipment));
    // Another plan that wants the same name.
    let stranger = Shipment { id: Uuid::new_v4(), ..shipment.clone() };
    match once {
        Once::Name | Once::Claim => assert_eq!(place.sink().attempt(&stranger), Attempt::Foreign),
        // Nothing has a name there: it is another request.
        Once::RequestId => _ = stored(sink.attempt(&stranger)),
    }
    assert_there(place, "after a stranger", &shipment, &sent);
    if compares {
        let other = Shipment { outputs: shipment.outputs + 1, ..shipment.clone() };
        let Attempt::Differs { found } = place.sink().attempt(&other) else { panic!("it was made of other outputs") };
        assert!(found.contains(&format!("expected {}", other.outputs)), "{found}");
        let other = Shipment { digest: shipment.digest + 1, ..shipment.clone() };
        assert!(matches!(place.sink().attempt(&other), Attempt::Differs { .. }));
        assert_there(place, "after another list", &shipment, &sent);
    }
    if once == Once::RequestId {
        return;
    }
    let things = place.things();
    place.put_foreign("p/taken", b"theirs");
    for (records, bytes) in [(1, 10), (5, 750_000)] {
        let ours = Shipment { name: "p/taken".to_owned(), ..made(place, records, bytes).0 };
        assert_eq!(sink.attempt(&ours), Attempt::Foreign);
        assert_eq!(place.bytes_at("p/taken"), b"theirs");
        // Where what is delivered is not the object, nothing was.
        assert!(once == Once::Name || place.found(&ours).is_empty());
    }
    assert_eq!(place.things(), things + usize::from(once == Once::Name), "the object of somebody else");
}

fn a_look_changes_nothing(place: &dyn Place) {
    let (shipment, sent) = made(place, 100, 10);
    let look = Shipment { only_look: true, ..shipment.clone() };
    assert_eq!(place.sink().attempt(&look), Attempt::Absent);
    assert_eq!(place.things(), 0, "nothing was sent");
    let tag = stored(place.sink().attempt(&shipment));
    let expected = if place.nature().looks { Attempt::Stored { tag } } else { Attempt::Absent };
    assert_eq!(place.sink().attempt(&look), expected);
    assert_there(place, "looked at", &shipment, &sent);
    assert_eq!(place.things(), 1);
}

/// What an attempt says that did not work out.
#[track_caller]
fn words(attempt: &Attempt) -> String {
    let words = match attempt {
        Attempt::Retry { reason } | Attempt::Misconfigured { reason } | Attempt::Nowhere { reason } => reason.clone(),
        Attempt::Refused { code, message, .. } => format!("{code}: {message}"),
        other => panic!("it cannot be {other:?}"),
    };
    assert!(!words.contains('\n'), "{words}");
    words
}

#[track_caller]
fn assert_says(attempt: &Attempt, (code, part): &(String, String), secret: Option<String>) {
    let words = words(attempt);
    assert!(words.starts_with(code.as_str()), "{words}, expected `{code}`");
    assert!(words.contains(part.as_str()), "{words}, expected `{part}`");
    assert!(secret.is_none_or(|secret| !words.contains(&secret)), "{words}");
}

fn a_refusal_says_what_is_wrong(place: &dyn Place) {
    let (shipment, sent) = made(place, 100, 10);
    let (sink, code, part) = place.refusing(&shipment);
    let attempt = sink.attempt(&shipment);
    let is_known = matches!(
        attempt,
        Attempt::Misconfigured { .. } | Attempt::Nowhere { .. } | Attempt::Refused { busy: false, .. }
    );
    assert!(is_known, "{attempt:?}");
    assert_says(&attempt, &(code, part), place.network().map(Network::secret));
    assert_eq!(place.things(), 0, "nothing of it is there");
    stored(place.sink().attempt(&shipment));
    assert_there(place, "once it was mended", &shipment, &sent);
}

/// What the next attempt may mend, without anybody's help.
#[track_caller]
fn assert_again(attempt: &Attempt) {
    assert!(matches!(attempt, Attempt::Retry { .. } | Attempt::Refused { .. }), "{attempt:?}");
}

fn who_is_not_there_is_asked_again_later(place: &dyn Place) {
    let Some(network) = place.network() else { return };
    let (shipment, sent) = made(place, 100, 10);
    let nobody = network.sink_at(NOWHERE, LONG).attempt(&shipment);
    assert_again(&nobody);
    assert_says(&nobody, &network.nobody(NOWHERE, &shipment), Some(network.secret()));
    if place.nature().looks {
        let look = network.sink_at(NOWHERE, LONG).attempt(&Shipment { only_look: true, ..shipment.clone() });
        assert!(matches!(look, Attempt::Retry { .. }), "a look that fails decides nothing: {look:?}");
    }
    let server = Proxy::hanging(network.server());
    let sink = network.sink_at(server.address, SHORT);
    let began = Instant::now();
    let silent = sink.attempt(&shipment);
    let took = began.elapsed();
    assert!((SHORT..NOTICED).contains(&took), "it gave up after {took:?}");
    assert_again(&silent);
    assert_says(&silent, &network.silent(server.address, &shipment), Some(network.secret()));
    assert_eq!(place.things(), 0);
    server.forward();
    stored(network.sink_at(server.address, LONG).attempt(&shipment));
    assert_there(place, "later", &shipment, &sent);
    assert_eq!(place.things(), 1);
}
