//! The ledger on a disk that is only memory.

use super::*;
use crate::fs::fake::FakeFs;
use crate::stream::plan::Outlet;

fn line(mark: u64) -> Line {
    Line { mark, outlet: "destination".into(), records: 1, ..Line::default() }
}

/// Of lines that were appended together, and are wider than a page, a power cut may leave the last without the first: where
/// their plans are kept, all are written again, and where they are not, they are missed.
#[test]
fn lines_behind_one_that_was_never_written_are_left_out_if_they_can_be_written_again() {
    let fs: Arc<dyn Fs> = Arc::new(FakeFs::new());
    let open = |kept| Ledger::open(fs.clone(), "/ledger".into(), 1 << 20, kept).unwrap();
    open(1).append(&[line(1), line(2), line(3), line(4)]).unwrap();
    let path = Path::new("/ledger/00000000.jsonl");
    let text = crate::fs::read(&*fs, path).unwrap();
    let starts: Vec<usize> =
        text.split_inclusive(|&b| b == b'\n').scan(0, |at, l| Some(std::mem::replace(at, *at + l.len()))).collect();
    let torn = vec![b'\n'; starts[3] - starts[2]];
    for path in [path.to_owned(), copy_of(path)] {
        fs.open(&path).unwrap().write_all_at(&torn, starts[2] as u64).unwrap();
    }
    let missed = open(3);
    assert_eq!((missed.mark(), missed.damage().len()), (4, 1));
    let mut ledger = open(2);
    assert_eq!((ledger.mark(), ledger.damage()), (1, &[][..]));
    ledger.append(&[line(2), line(3), line(4)]).unwrap();
    assert_eq!((open(1).mark(), open(1).sums().outlet(Outlet::Destination).records), (4, 4));
}

/// A header that can be read nowhere is what the file before it says, be it here or archived.
#[test]
fn a_header_is_made_again_from_the_file_before_it() {
    let fs: Arc<dyn Fs> = Arc::new(FakeFs::new());
    let open = || Ledger::open(fs.clone(), "/ledger".into(), 1, u64::MAX);
    let damage = |number| {
        let path = Path::new("/ledger").join(file_name(number));
        [copy_of(&path), path].map(|path| fs.open(&path).unwrap().write_all_at(b"?", 5).unwrap())
    };
    let mut ledger = open().unwrap();
    (1..=3).for_each(|mark| ledger.append(&[line(mark)]).unwrap());
    let sums = ledger.sums().clone();
    let says = |ledger: &Ledger, what: &str| assert!(ledger.damage()[0].contains(what), "{:?}", ledger.damage());
    damage(2);
    let mut ledger = open().unwrap();
    assert_eq!((ledger.sums(), open().unwrap().damage()), (&sums, &[][..]));
    says(&ledger, "its header cannot be read");
    for number in [0, 1] {
        let totals = Some(ledger.read_file(number).unwrap().totals());
        let stub = Stub { store: String::new(), name: String::new(), tag: String::new(), totals };
        ledger.replace_by_stub(number, &stub).unwrap();
    }
    damage(2);
    assert_eq!(open().unwrap().sums(), &sums);
    damage(2);
    fs.remove(Path::new("/ledger/00000001.archived")).unwrap();
    fs.remove(Path::new("/ledger/00000001.archived.copy")).unwrap();
    assert_eq!(open().err().map(|e| e.kind), Some(crate::error::Kind::Corrupt));
}

#[test]
fn marks_that_are_in_other_ledgers_are_passed_and_no_line_behind_them_is_lost() {
    let fs: Arc<dyn Fs> = Arc::new(FakeFs::new());
    let open = || Ledger::open(fs.clone(), "/ledger".into(), 1 << 20, u64::MAX).unwrap();
    let mut ledger = open();
    ledger.append(&[line(1), line(2)]).unwrap();
    ledger.pass_to(1).unwrap();
    ledger.pass_to(44).unwrap();
    ledger.append(&[line(45)]).unwrap();
    ledger.pass_to(69).unwrap();
    ledger.append(&[line(70), line(71)]).unwrap();
    assert_eq!((open().mark(), open().sums().outlet(Outlet::Destination).records), (71, 5));
    let marks = files(&*fs, Path::new("/ledger"))
        .unwrap()
        .into_iter()
        .flat_map(|number| Contents::read(&*fs, Path::new("/ledger"), number).unwrap().unwrap().lines)
        .map(|line| line.mark);
    assert_eq!(marks.collect::<Vec<_>>(), [1, 2, 45, 70, 71]);
}

/// A file may begin behind marks whose lines are in ledgers of other nodes: its header does not say that they are lost.
#[test]
fn a_header_that_is_made_again_begins_before_the_first_line() {
    let fs: Arc<dyn Fs> = Arc::new(FakeFs::new());
    let open = || Ledger::open(fs.clone(), "/ledger".into(), 1 << 20, u64::MAX).unwrap();
    let mut ledger = open();
    ledger.pass_to(44).unwrap();
    ledger.append(&[line(45), line(46)]).unwrap();
    let path = Path::new("/ledger").join(file_name(0));
    for path in [copy_of(&path), path] {
        fs.open(&path).unwrap().write_all_at(b"?", 5).unwrap();
    }
    let ledger = open();
    assert_eq!((ledger.mark(), ledger.damage().len()), (46, 1), "{:?}", ledger.damage());
    assert_eq!((open().mark(), open().damage()), (46, &[][..]));
}
