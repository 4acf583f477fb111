//! What is shown: ratios first, each over the rounds of one run; then rates and times, which are this machine's of this
//! moment and compare with nothing else.

use super::stats::Spread;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// Below it the two CPUs were not two cores while we measured, and what needs two says nothing.
pub const GRADED_FROM: f64 = 1.8;

/// A ratio that is measured.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Ratio {
    pub name: &'static str,
    pub meaning: &'static str,
    pub less_is_better: bool,
    /// Counts on two CPUs.
    pub two_threads: bool,
}

impl Ratio {
    pub const fn more(name: &'static str, meaning: &'static str) -> Ratio {
        Ratio { name, meaning, less_is_better: false, two_threads: false }
    }

    pub const fn less(name: &'static str, meaning: &'static str) -> Ratio {
        Ratio { name, meaning, less_is_better: true, two_threads: false }
    }

    pub const fn on_two_threads(self) -> Ratio {
        Ratio { two_threads: true, ..self }
    }
}

/// What a run found.
#[derive(Default)]
pub struct Report {
    pub two_over_one: Vec<f64>,
    ratios: Vec<(&'static Ratio, Vec<f64>)>,
    details: Vec<(String, &'static str, Vec<f64>)>,
}

/// What a run was of.
pub struct Heading {
    pub corpus: &'static str,
    pub mib: f64,
    pub records: usize,
    pub record_bytes: usize,
    pub rounds: usize,
    pub cpus: usize,
    pub dir: String,
    pub dir_in_memory: bool,
}

impl Report {
    /// Adds a round's value.
    pub fn ratio(&mut self, ratio: &'static Ratio, value: f64) {
        match self.ratios.iter_mut().find(|(known, _)| known.name == ratio.name) {
            Some((_, values)) => values.push(value),
            None => self.ratios.push((ratio, vec![value])),
        }
    }

    /// Adds a round's value of something that is this machine's alone.
    pub fn detail(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let name = name.into();
        match self.details.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., values)) => values.push(value),
            None => self.details.push((name, unit, vec![value])),
        }
    }

    pub fn is_graded(&self) -> bool {
        Spread::of(&self.two_over_one).median >= GRADED_FROM
    }

    pub fn text(&self, heading: &Heading) -> String {
        let mut out = String::new();
        let Heading { corpus, mib, records, record_bytes, rounds, cpus, .. } = heading;
        let _ = writeln!(
            out,
            "{corpus}: {mib:.0} MiB a round ({records} records of {record_bytes} B), {rounds} rounds and one before them \
             that warms up; {cpus} CPUs; files in {}{}",
            heading.dir,
            if heading.dir_in_memory { " (IN MEMORY: a sync costs nothing there, see --dir)" } else { "" }
        );
        let graded = if self.is_graded() { "are graded" } else { "are NOT graded: marked with *" };
        let _ = writeln!(
            out,
            "two busy threads do {} times the work of one: ratios that need two CPUs {graded} (from {GRADED_FROM})\n",
            Spread::of(&self.two_over_one).show(2)
        );
        let _ = writeln!(out, "{:<26} {:<24} what over what", "ratio", "median [min–max]");
        for (ratio, values) in &self.ratios {
            let mark = if ratio.two_threads && !self.is_graded() { "*" } else { "" };
            let sense = if ratio.less_is_better { "; less is better" } else { "" };
            let spread = Spread::of(values).show(2) + mark;
            let _ = writeln!(out, "{:<26} {spread:<24} {}{sense}", ratio.name, ratio.meaning);
        }
        let _ = writeln!(out, "\ndetails: of this machine, at this moment, beside whatever else it does");
        for (name, unit, values) in &self.details {
            let spread = Spread::of(values);
            let digits = if spread.median >= 100.0 || values.iter().all(|v| v.fract() == 0.0) { 0 } else { 2 };
            let _ = writeln!(out, "{name:<40} {} {unit}", spread.show(digits));
        }
        out
    }

    pub fn json(&self, heading: &Heading) -> Value {
        let ratios: Vec<Value> = self
            .ratios
            .iter()
            .map(|(r, values)| json!({ "ratio": r, "spread": Spread::of(values), "values": values }))
            .collect();
        let details: Vec<Value> = self
            .details
            .iter()
            .map(|(name, unit, values)| json!({ "name": name, "unit": unit, "spread": Spread::of(values) }))
            .collect();
        json!({
            "corpus": heading.corpus,
            "mib": heading.mib,
            "records": heading.records,
            "rounds": heading.rounds,
            "cpus": heading.cpus,
            "dir_in_memory": heading.dir_in_memory,
            "two_over_one": Spread::of(&self.two_over_one),
            "graded": self.is_graded(),
            "ratios": ratios,
            "details_of_this_machine": details,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_two_cpus_is_marked_where_there_are_not_two() {
        static RATIO: Ratio = Ratio::more("parquet", "the service over the loop").on_two_threads();
        let mut report = Report { two_over_one: vec![1.2], ..Report::default() };
        report.ratio(&RATIO, 2.0);
        report.ratio(&RATIO, 4.0);
        let heading = Heading {
            corpus: "iot",
            mib: 1.0,
            records: 1,
            record_bytes: 1,
            rounds: 2,
            cpus: 2,
            dir: "/".into(),
            dir_in_memory: false,
        };
        assert!(report.text(&heading).contains("3.00 [2.00–4.00]*"));
        report.two_over_one = vec![1.9];
        assert!(report.text(&heading).contains("3.00 [2.00–4.00] "));
        assert_eq!(report.json(&heading)["ratios"][0]["spread"]["max"], 4.0);
    }
}
