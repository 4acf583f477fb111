//! `columns`: JSON to Arrow over arrow-json, on one thread, with keys as they come, in random order, and half of them missing; and
//! JSON to Parquet on two threads over one.

use super::corpus::Corpus;
use super::reference::{Loop, Own};
use super::report::{Ratio, Report};
use arrow_json::ReaderBuilder;
use hydrant::format::json::{JsonTable, OpenXRules, SerdeRules};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Instant;

/// Records per batch: where arrow-json is at its best, and as the service has it.
const BATCH_ROWS: usize = 1024;
/// What a stream judges at once.
const CHUNK_BYTES: usize = 1 << 20;

static RATIOS: [Ratio; 3] = [
    Ratio::more("json to arrow", "one thread, over arrow-json in batches of 1,024"),
    Ratio::more("json to arrow, shuffled", "the same with the keys of each record in random order"),
    Ratio::more("json to arrow, half", "the same with half of the members missing"),
];
static SERDES: Ratio = Ratio::less("openx over strict", "time to read the same records");
static ORC: Ratio = Ratio::more("own orc", "JSON to ORC snappy, one thread, over REF");
static ORC_SIZE: Ratio = Ratio::less("orc size", "the ORC file over REF's Parquet file");
static THREADS: Ratio =
    Ratio::more("two parquets", "JSON to two Parquet objects on two threads over one").on_two_threads();

/// Records, one after the other.
struct Spelled {
    data: Vec<u8>,
    ends: Vec<usize>,
}

/// What is measured, made before the first round.
pub struct Columns {
    openx: JsonTable,
    strict: JsonTable,
    spelled: [Spelled; 3],
    orc: Own,
}

/// xorshift64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

impl Spelled {
    fn as_they_come(corpus: &Corpus) -> Spelled {
        let ends = corpus.records().scan(0, |end, record| {
            *end += record.len();
            Some(*end)
        });
        Spelled { data: corpus.bytes().to_vec(), ends: ends.collect() }
    }

    /// The same records with their members changed: put in another order, or left out.
    fn changed(
        corpus: &Corpus,
        change: impl Fn(&mut Vec<(String, Box<RawValue>)>, &mut Random),
    ) -> Result<Spelled, String> {
        let (mut data, mut ends, mut random) = (Vec::new(), Vec::new(), Random(1));
        for record in corpus.records() {
            let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(record).map_err(|e| e.to_string())?;
            let mut members: Vec<_> = members.into_iter().collect();
            change(&mut members, &mut random);
            let members: Vec<String> =
                members.iter().map(|(key, value)| format!("\"{key}\":{}", value.get())).collect();
            data.extend_from_slice(format!("{{{}}}\n", members.join(",")).as_bytes());
            ends.push(data.len());
        }
        Ok(Spelled { data, ends })
    }

    /// Seconds to read all of it.
    fn read(&self, table: &JsonTable) -> Result<f64, String> {
        let began = Instant::now();
        let mut start = 0;
        for records in self.ends.chunk_by(|a, b| a / CHUNK_BYTES == b / CHUNK_BYTES) {
            // As the service does: a reader for each chunk.
            let mut reader = table.reader();
            for end in records {
                reader.read_among(&self.data, start..*end).map_err(|why| why.message)?;
                start = *end;
                if reader.rows() >= BATCH_ROWS {
                    std::hint::black_box(reader.flush());
                }
            }
            std::hint::black_box(reader.flush());
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// The same by arrow-json.
    fn read_by_arrow(&self, table: &JsonTable) -> Result<f64, String> {
        let began = Instant::now();
        let decoder = ReaderBuilder::new(table.arrow().clone()).with_batch_size(BATCH_ROWS).build_decoder();
        let mut decoder = decoder.map_err(|e| e.to_string())?;
        let mut rest = self.data.as_slice();
        while !rest.is_empty() {
            let read = decoder.decode(rest).map_err(|e| e.to_string())?;
            rest = &rest[read..];
            std::hint::black_box(decoder.flush().map_err(|e| e.to_string())?);
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

impl Columns {
    pub fn new(corpus: &Corpus) -> Result<Columns, String> {
        let shuffle = |members: &mut Vec<_>, random: &mut Random| {
            (1..members.len()).rev().for_each(|i| members.swap(i, (random.next() % (i as u64 + 1)) as usize));
        };
        let halve = |members: &mut Vec<(String, Box<RawValue>)>, random: &mut Random| {
            members.retain(|_| random.next() & 1 == 0);
        };
        Ok(Columns {
            openx: JsonTable::new(corpus.kind.table()?, SerdeRules::OpenX(OpenXRules::default())),
            strict: JsonTable::new(corpus.kind.table()?, SerdeRules::Strict),
            spelled: [
                Spelled::as_they_come(corpus),
                Spelled::changed(corpus, shuffle)?,
                Spelled::changed(corpus, halve)?,
            ],
            orc: Own::orc(corpus)?,
        })
    }

    /// Everything once.
    pub fn round(&self, report: &mut Report, own: &Own, reference: &Loop) -> Result<(), String> {
        for (spelled, ratio) in self.spelled.iter().zip(&RATIOS) {
            let seconds = spelled.read(&self.openx)?;
            report.ratio(ratio, spelled.read_by_arrow(&self.openx)? / seconds);
            report.detail(ratio.name, "MB/s", spelled.data.len() as f64 / 1e6 / seconds);
        }
        report.ratio(&SERDES, self.spelled[0].read(&self.openx)? / self.spelled[0].read(&self.strict)?);
        let orc = self.orc.run()?;
        report.ratio(&ORC, reference.seconds / orc.seconds);
        report.ratio(&ORC_SIZE, orc.out_bytes as f64 / reference.out_bytes as f64);
        let one = own.run()?.seconds;
        let began = Instant::now();
        std::thread::scope(|scope| {
            let both = [scope.spawn(|| own.run()), scope.spawn(|| own.run())];
            both.into_iter().try_for_each(|run| run.join().map_err(|_| "a thread panicked".to_owned())?.map(drop))
        })?;
        report.ratio(&THREADS, 2.0 * one / began.elapsed().as_secs_f64());
        Ok(())
    }
}
