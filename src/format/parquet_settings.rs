//! How a Parquet file is written, and whether that fits its columns.

use super::schema::{ColumnType, NamedType, TableSchema};
use parquet::basic::Compression;
use parquet::file::metadata::SortingColumn as StoredOrder;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::schema::types::ColumnPath;

/// A dictionary that grows beyond this is given up for the rest of the row group: where a larger one would pay, it pays little.
const DICTIONARY_BYTES_MAX: usize = 128 << 10;

/// Settings of the writer.
#[derive(Clone, Debug)]
pub struct ParquetSettings {
    pub compression: Compression,
    /// A row group is closed when it has so many bytes, encoded.
    pub block_bytes: usize,
    pub page_bytes: usize,
    pub dictionary: DictionaryUse,
    pub version: WriterVersion,
    /// Statistics of each page, and where it is.
    pub page_index: bool,
    /// Columns with a bloom filter, and how often one may be wrong.
    pub bloom: Vec<String>,
    pub bloom_share: f64,
    /// What rows of a row group are sorted by.
    pub order: Vec<RowOrder>,
}

/// Which columns have a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DictionaryUse {
    /// Those for which it pays, as objects before have shown.
    Learned,
    All,
    None,
}

/// A column that rows are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowOrder {
    /// Which of the table's columns.
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

impl Default for ParquetSettings {
    fn default() -> Self {
        ParquetSettings {
            compression: Compression::SNAPPY,
            block_bytes: 24 << 20,
            page_bytes: 1 << 20,
            dictionary: DictionaryUse::Learned,
            version: WriterVersion::PARQUET_1_0,
            page_index: false,
            bloom: Vec::new(),
            bloom_share: 0.05,
            order: Vec::new(),
        }
    }
}

impl ParquetSettings {
    /// Writers' properties, but for the dictionaries that were learned.
    pub(super) fn properties(&self) -> WriterPropertiesBuilder {
        let mut properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_data_page_size_limit(self.page_bytes)
            .set_dictionary_enabled(self.dictionary != DictionaryUse::None)
            .set_writer_version(self.version)
            .set_max_row_group_row_count(None)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
            .set_statistics_enabled(match self.page_index {
                true => EnabledStatistics::Page,
                false => EnabledStatistics::Chunk,
            });
        if !self.order.is_empty() {
            properties = properties.set_sorting_columns(Some(self.order.iter().map(RowOrder::stored).collect()));
        }
        for path in &self.bloom {
            let path = ColumnPath::from(path.split('.').map(str::to_owned).collect::<Vec<_>>());
            properties = properties
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path, self.bloom_share);
        }
        properties
    }
}

impl RowOrder {
    fn stored(&self) -> StoredOrder {
        let RowOrder { column, descending, nulls_first } = *self;
        StoredOrder { column_idx: column as i32, descending, nulls_first }
    }
}

/// The table's column that rows may be sorted by.
///
/// # Errors
/// There is no such column, its values have no order, or one before it has several columns in the file.
pub fn order_column(schema: &TableSchema, name: &str) -> Result<usize, String> {
    let found = schema.columns.iter().position(|column| column.name == name);
    let column = found.ok_or_else(|| format!("found the column `{name}`, expected one of the schema"))?;
    let has_members =
        |column: &NamedType| matches!(column.of, ColumnType::Struct(_) | ColumnType::Array(_) | ColumnType::Map(..));
    if has_members(&schema.columns[column]) {
        return Err(format!(
            "found the column `{name}` of type {}, expected one without members",
            schema.columns[column].of
        ));
    }
    // The file counts the columns without members only.
    if schema.columns[..column].iter().any(has_members) {
        return Err(format!("found the column `{name}` behind one with members, expected it before those"));
    }
    Ok(column)
}

/// Whether the table has a column of that path without members.
pub fn has_leaf(schema: &TableSchema, path: &str) -> bool {
    fn find<'s>(members: &'s [NamedType], path: &str) -> Option<&'s ColumnType> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let of = &members.iter().find(|member| member.name == name)?.of;
        match (rest, of) {
            (None, ColumnType::Struct(_) | ColumnType::Array(_) | ColumnType::Map(..)) => None,
            (None, of) => Some(of),
            (Some(rest), ColumnType::Struct(members)) => find(members, rest),
            _ => None,
        }
    }
    find(&schema.columns, path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_settings_name_have_to_be_there_and_of_a_kind_that_fits() {
        let columns = [("id", "int"), ("user", "struct<id:int,tags:array<int>>"), ("late", "date")];
        let schema = TableSchema::parse(columns).unwrap();
        assert_eq!(order_column(&schema, "id"), Ok(0));
        for (name, message) in
            [("ID", "expected one of the schema"), ("user", "without members"), ("late", "behind one with members")]
        {
            assert!(order_column(&schema, name).unwrap_err().contains(message), "{name}");
        }
        let leaves =
            ["id", "user.id", "late", "user", "user.tags", "user.x", "id.x"].map(|path| has_leaf(&schema, path));
        assert_eq!(leaves, [true, true, true, false, false, false, false]);
    }
}
