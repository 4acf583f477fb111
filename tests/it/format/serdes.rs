//! The SerDes that Firehose's are built on, OpenX's and Hive's own: what they make of values is asked of themselves, so that the
//! file that the rules are held against can be made anew.

use crate::rig::service::{scale, variable};
use std::fs::File;
use std::process::Command;

/// Lines of a column's type, a JSON value, and what OpenX's SerDe and Hive's make of it.
const ANSWERS: &str = include_str!("../../data/serde/answers.tsv");

/// Whether two lines are alike. Java 19 and newer print some floats with fewer digits than older ones do, which are the same
/// floats still.
fn is_alike(found: &str, wanted: &str) -> bool {
    let (found, wanted): (Vec<&str>, Vec<&str>) = (found.split('\t').collect(), wanted.split('\t').collect());
    let bits = |text: &str| match wanted[0] {
        "float" => text.parse().ok().map(|value: f32| value.to_bits().into()),
        "double" => text.parse().ok().map(f64::to_bits),
        _ => None,
    };
    let is_same =
        |(found, wanted): (&&str, &&str)| found == wanted || bits(found).is_some_and(|one| bits(wanted) == Some(one));
    found.len() == wanted.len() && found.iter().zip(&wanted).all(is_same)
}

#[test]
fn the_serdes_answer_what_the_file_of_their_answers_says() {
    if scale() < 1.0 {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let questions = dir.path().join("questions.tsv");
    let question = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        assert_eq!(columns.len(), 4, "{line}");
        columns[..2].join("\t") + "\n"
    };
    std::fs::write(&questions, ANSWERS.lines().map(question).collect::<String>()).unwrap();
    let mut java = Command::new("java");
    java.args(["-Duser.timezone=UTC", "-Dfile.encoding=UTF-8", "-cp", &variable("HYDRANT_TEST_SERDE_JAVA"), "Serdes"]);
    let run = java.stdin(File::open(&questions).unwrap()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let found = String::from_utf8(run.stdout).unwrap();
    assert_eq!(found.lines().count(), ANSWERS.lines().count(), "each question has its answers");
    let differing = found.lines().zip(ANSWERS.lines()).filter(|(found, wanted)| !is_alike(found, wanted));
    let differing: Vec<String> = differing.map(|(found, wanted)| format!("{found}\n  in the file: {wanted}")).collect();
    assert!(differing.is_empty(), "{} answers differ:\n{}", differing.len(), differing.join("\n"));
}
