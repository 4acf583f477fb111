//! Which columns of a stream's Parquet objects are worth a dictionary, learned from its objects.
//!
//! Looking every value up in a dictionary is the dearest part of writing, and of no use where most values differ (ids,
//! times, measured numbers): the writer finds that out anew in every object, a mebibyte of dictionary later. What it
//! found in a large object is kept for the next ones, and forgotten now and then, since data change.

use super::parquet_settings::{DictionaryUse, ParquetSettings};
use parquet::basic::{Encoding, PageType};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use std::sync::{Arc, Mutex};

/// Rows of a column from which on its object tells something: in a small one nearly all values differ.
const ROWS_MIN: i64 = 10_000;
/// Objects after which every column is given a dictionary once more.
const OBJECTS_MAX: u32 = 64;

/// Which columns are worth a dictionary. Shared by all objects of a format.
pub(super) struct Dictionaries {
    settings: ParquetSettings,
    learned: Mutex<Learned>,
}

struct Learned {
    properties: WriterPropertiesPtr,
    /// Objects begun since something was learned; `None`: nothing was.
    objects: Option<u32>,
}

impl Dictionaries {
    pub(super) fn new(settings: ParquetSettings) -> Dictionaries {
        let properties = Arc::new(settings.properties().build());
        Dictionaries { settings, learned: Mutex::new(Learned { properties, objects: None }) }
    }

    /// What does not change from object to object.
    pub(super) fn settings(&self) -> &ParquetSettings {
        &self.settings
    }

    /// The settings of the next object.
    pub(super) fn properties(&self) -> WriterProperties {
        let mut learned = self.learned.lock().expect("nobody panics holding it");
        learned.objects = learned.objects.map(|objects| objects + 1);
        if learned.objects.is_some_and(|objects| objects > OBJECTS_MAX) {
            let properties = Arc::new(self.settings.properties().build());
            *learned = Learned { properties, objects: None };
        }
        (*learned.properties).clone()
    }

    /// Learns from a finished object, if it was written without anything learned before.
    pub(super) fn learn(&self, object: &ParquetMetaData) {
        if self.settings.dictionary != DictionaryUse::Learned {
            return;
        }
        let mut learned = self.learned.lock().expect("nobody panics holding it");
        let largest = object.row_groups().iter().max_by_key(|group| group.num_rows());
        let Some(group) = largest.filter(|group| group.num_rows() >= ROWS_MIN && learned.objects.is_none()) else {
            return;
        };
        let without = group.columns().iter().filter(|column| !pays(column));
        let properties = without
            .fold(self.settings.properties(), |p, c| p.set_column_dictionary_enabled(c.column_path().clone(), false));
        *learned = Learned { properties: Arc::new(properties.build()), objects: Some(0) };
    }
}

/// Whether a column's dictionary was used to the end, and is not itself most of what was written.
fn pays(column: &ColumnChunkMetaData) -> bool {
    let Some(dictionary) = column.dictionary_page_offset() else { return false };
    let is_plain = |encoding| encoding == Encoding::PLAIN;
    let gave_up = match column.page_encoding_stats() {
        Some(pages) => pages.iter().any(|p| p.page_type != PageType::DICTIONARY_PAGE && is_plain(p.encoding)),
        None => false,
    };
    !gave_up && 2 * (column.data_page_offset() - dictionary) < column.compressed_size()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;

    /// Which columns of an object with these settings have a dictionary; `all`: one of an object before taught them.
    fn with_dictionary(dictionaries: &Dictionaries, rows: i64) -> Vec<String> {
        let ids = Int64Array::from_iter_values((0..rows).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)));
        let names = StringArray::from_iter_values((0..rows).map(|i| format!("name {}", i % 50)));
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("name", Arc::new(names) as _)]).unwrap();
        let properties = dictionaries.properties();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let object = writer.finish().unwrap();
        dictionaries.learn(&object);
        let columns = object.row_group(0).columns().iter().filter(|c| c.dictionary_page_offset().is_some());
        columns.map(|c| c.column_path().string()).collect()
    }

    #[test]
    fn what_a_large_object_shows_holds_for_the_next_ones_and_not_for_ever() {
        let dictionaries = Dictionaries::new(ParquetSettings::default());
        assert_eq!(with_dictionary(&dictionaries, 100), ["id", "name"]);
        assert_eq!(with_dictionary(&dictionaries, 300_000), ["id", "name"], "a small object teaches nothing");
        for _ in 0..OBJECTS_MAX {
            assert_eq!(with_dictionary(&dictionaries, 100), ["name"]);
        }
        assert_eq!(with_dictionary(&dictionaries, 100), ["id", "name"]);
    }
}
