//! Texts of a column: in a dictionary while that pays, else one after the other.

use super::proto::{EncodingKind, StreamKind};
use super::runs::IntRuns;
use super::stream::{OrcCodec, OrcStream};
use super::stripe::EncodedColumn;
use foldhash::fast::RandomState as FixedState;
use std::collections::HashMap;

/// The most bytes of a dictionary, which is held in memory, and by every reader.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;
/// Values after which a dictionary is looked at: of fewer nearly all differ.
const LOOKED_AT: usize = 4096;
/// Values for each different one from which on a dictionary pays.
const REPEATED: usize = 2;
/// Of an entry of a dictionary, about, beside its text.
const ENTRY_BYTES: usize = 48;
/// Stripes after which a column is given a dictionary once more.
const STRIPES_WITHOUT: u32 = 16;

/// Texts of a column, or bytes, which have no dictionary.
pub(super) struct StringWriter {
    compression: OrcCodec,
    is_text: bool,
    form: StringForm,
    /// Stripes until a dictionary is tried again.
    without: u32,
    /// Where each row group of the stripe begins.
    positions: Vec<Vec<u64>>,
}

enum StringForm {
    Dictionary(Dictionary),
    Direct(DirectStrings),
}

struct DirectStrings {
    data: OrcStream,
    lengths: IntRuns,
}

#[derive(Default)]
struct Dictionary {
    numbers: HashMap<Box<[u8]>, u32, FixedState>,
    /// Different values in the order in which they came, one after the other, and where each ends.
    texts: Vec<u8>,
    ends: Vec<usize>,
    values: Vec<u32>,
    /// Of each row group of the stripe, how many values are before it.
    groups: Vec<usize>,
}

impl DirectStrings {
    fn new(compression: OrcCodec) -> DirectStrings {
        let stream = || OrcStream::new(compression);
        DirectStrings { data: stream(), lengths: IntRuns::new(false, stream()) }
    }

    fn push(&mut self, text: &[u8]) {
        self.data.push(text);
        self.lengths.push(text.len() as i64);
    }

    fn position(&mut self) -> Vec<u64> {
        let mut positions = Vec::new();
        self.data.position(&mut positions);
        self.lengths.position(&mut positions);
        positions
    }
}

impl Dictionary {
    fn push(&mut self, text: &[u8]) {
        let number = match self.numbers.get(text) {
            Some(number) => *number,
            None => {
                let number = self.ends.len() as u32;
                self.numbers.insert(text.into(), number);
                self.texts.extend_from_slice(text);
                self.ends.push(self.texts.len());
                number
            }
        };
        self.values.push(number);
    }

    fn text(&self, number: u32) -> &[u8] {
        let start = if number == 0 { 0 } else { self.ends[number as usize - 1] };
        &self.texts[start..self.ends[number as usize]]
    }

    fn pays(&self) -> bool {
        self.texts.len() <= DICTIONARY_BYTES_MAX && self.ends.len() * REPEATED <= self.values.len()
    }

    /// Gives the numbers of all values to `push`, and says where row groups begin.
    fn replay<W>(&self, to: &mut W, push: impl Fn(&mut W, u32), begin: impl Fn(&mut W) -> Vec<u64>) -> Vec<Vec<u64>> {
        let (mut positions, mut from) = (Vec::new(), 0);
        for &group in &self.groups {
            self.values[from..group].iter().for_each(|number| push(to, *number));
            positions.push(begin(to));
            from = group;
        }
        self.values[from..].iter().for_each(|number| push(to, *number));
        positions
    }
}

impl StringWriter {
    pub(super) fn new(compression: OrcCodec, is_text: bool) -> StringWriter {
        let mut writer = StringWriter {
            compression,
            is_text,
            form: StringForm::Direct(DirectStrings::new(compression)),
            without: 0,
            positions: Vec::new(),
        };
        writer.begin_stripe();
        writer
    }

    fn begin_stripe(&mut self) {
        self.form = match self.is_text && self.without == 0 {
            true => StringForm::Dictionary(Dictionary::default()),
            false => StringForm::Direct(DirectStrings::new(self.compression)),
        };
        self.without = self.without.saturating_sub(1);
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        match &mut self.form {
            StringForm::Direct(direct) => direct.push(text),
            StringForm::Dictionary(dictionary) => {
                dictionary.push(text);
                let is_looked_at = dictionary.values.len().is_multiple_of(LOOKED_AT);
                if dictionary.texts.len() > DICTIONARY_BYTES_MAX || is_looked_at && !dictionary.pays() {
                    self.give_up();
                }
            }
        }
    }

    /// Writes what is in the dictionary one after the other.
    fn give_up(&mut self) {
        let StringForm::Dictionary(dictionary) = &self.form else { return };
        let mut direct = DirectStrings::new(self.compression);
        self.positions = dictionary.replay(
            &mut direct,
            |direct, number| direct.push(dictionary.text(number)),
            DirectStrings::position,
        );
        self.form = StringForm::Direct(direct);
        self.without = STRIPES_WITHOUT;
    }

    pub(super) fn begin_group(&mut self) {
        match &mut self.form {
            StringForm::Direct(direct) => self.positions.push(direct.position()),
            StringForm::Dictionary(dictionary) => dictionary.groups.push(dictionary.values.len()),
        }
    }

    /// Ends the stripe.
    pub(super) fn end_stripe(&mut self) -> EncodedColumn {
        if matches!(&self.form, StringForm::Dictionary(dictionary) if !dictionary.pays()) {
            self.give_up();
            // It may only have been short.
            self.without = 0;
        }
        let positions = std::mem::take(&mut self.positions);
        let ended = match &mut self.form {
            StringForm::Direct(DirectStrings { data, lengths }) => EncodedColumn {
                encoding: EncodingKind::DirectV2,
                dictionary_size: None,
                streams: vec![(StreamKind::Data, data.take()), (StreamKind::Length, lengths.take())],
                positions,
            },
            StringForm::Dictionary(dictionary) => {
                let stream = || OrcStream::new(self.compression);
                let mut numbers = IntRuns::new(false, stream());
                let positions = dictionary.replay(
                    &mut numbers,
                    |numbers, number| numbers.push(number.into()),
                    |numbers| {
                        let mut positions = Vec::new();
                        numbers.position(&mut positions);
                        positions
                    },
                );
                let (mut texts, mut lengths) = (stream(), IntRuns::new(false, stream()));
                texts.push(&dictionary.texts);
                let starts = std::iter::once(0).chain(dictionary.ends.iter().copied());
                starts.zip(&dictionary.ends).for_each(|(start, end)| lengths.push((end - start) as i64));
                EncodedColumn {
                    encoding: EncodingKind::DictionaryV2,
                    dictionary_size: Some(dictionary.ends.len() as u32),
                    streams: vec![
                        (StreamKind::Data, numbers.take()),
                        (StreamKind::Length, lengths.take()),
                        (StreamKind::DictionaryData, texts.take()),
                    ],
                    positions,
                }
            }
        };
        self.begin_stripe();
        ended
    }

    /// Bytes that are compressed, and those that are not yet.
    pub(super) fn sizes(&self) -> (usize, usize) {
        match &self.form {
            StringForm::Direct(DirectStrings { data, lengths }) => {
                let (data, lengths) = (data.sizes(), lengths.stream().sizes());
                (data.0 + lengths.0, data.1 + lengths.1)
            }
            StringForm::Dictionary(dictionary) => (0, dictionary.texts.len() + 2 * dictionary.values.len()),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.form {
            StringForm::Direct(DirectStrings { data, lengths }) => {
                data.memory_bytes() + lengths.stream().memory_bytes()
            }
            // Each text stands there twice, with its entry.
            StringForm::Dictionary(dictionary) => {
                2 * dictionary.texts.capacity() + ENTRY_BYTES * dictionary.ends.len() + 4 * dictionary.values.capacity()
            }
        }
    }
}
