//! The messages in an ORC file's tail, footers and indexes: what of `orc_proto.proto` (ORC v1 specification) is written.

use prost::Message;

/// Of a stream of a stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum StreamKind {
    Present = 0,
    Data = 1,
    Length = 2,
    DictionaryData = 3,
    Secondary = 5,
    RowIndex = 6,
}

/// How a column's values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum EncodingKind {
    Direct = 0,
    DirectV2 = 2,
    DictionaryV2 = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum TypeKind {
    Boolean = 0,
    Byte = 1,
    Short = 2,
    Int = 3,
    Long = 4,
    Float = 5,
    Double = 6,
    String = 7,
    Binary = 8,
    Timestamp = 9,
    List = 10,
    Map = 11,
    Struct = 12,
    Decimal = 14,
    Date = 15,
    Varchar = 16,
    Char = 17,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum CompressionKind {
    None = 0,
    Zlib = 1,
    Snappy = 2,
    Zstd = 5,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Type {
    #[prost(enumeration = "TypeKind", optional, tag = "1")]
    pub(super) kind: Option<i32>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) subtypes: Vec<u32>,
    #[prost(string, repeated, tag = "3")]
    pub(super) field_names: Vec<String>,
    #[prost(uint32, optional, tag = "4")]
    pub(super) maximum_length: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    pub(super) precision: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub(super) scale: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IntegerStatistics {
    #[prost(sint64, optional, tag = "1")]
    pub(super) minimum: Option<i64>,
    #[prost(sint64, optional, tag = "2")]
    pub(super) maximum: Option<i64>,
    #[prost(sint64, optional, tag = "3")]
    pub(super) sum: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DoubleStatistics {
    #[prost(double, optional, tag = "1")]
    pub(super) minimum: Option<f64>,
    #[prost(double, optional, tag = "2")]
    pub(super) maximum: Option<f64>,
    #[prost(double, optional, tag = "3")]
    pub(super) sum: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StringStatistics {
    #[prost(string, optional, tag = "1")]
    pub(super) minimum: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) maximum: Option<String>,
    /// Bytes of all values.
    #[prost(sint64, optional, tag = "3")]
    pub(super) sum: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BucketStatistics {
    /// How many are true.
    #[prost(uint64, repeated, tag = "1")]
    pub(super) count: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DecimalStatistics {
    #[prost(string, optional, tag = "1")]
    pub(super) minimum: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) maximum: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) sum: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DateStatistics {
    /// Days since 1970.
    #[prost(sint32, optional, tag = "1")]
    pub(super) minimum: Option<i32>,
    #[prost(sint32, optional, tag = "2")]
    pub(super) maximum: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BinaryStatistics {
    #[prost(sint64, optional, tag = "1")]
    pub(super) sum: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TimestampStatistics {
    /// Milliseconds since 1970, in the writer's time zone, which is UTC.
    #[prost(sint64, optional, tag = "1")]
    pub(super) minimum: Option<i64>,
    #[prost(sint64, optional, tag = "2")]
    pub(super) maximum: Option<i64>,
    #[prost(sint64, optional, tag = "3")]
    pub(super) minimum_utc: Option<i64>,
    #[prost(sint64, optional, tag = "4")]
    pub(super) maximum_utc: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CollectionStatistics {
    #[prost(uint64, optional, tag = "1")]
    pub(super) minimum: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) maximum: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) total: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ColumnStatistics {
    /// Without nulls.
    #[prost(uint64, optional, tag = "1")]
    pub(super) number_of_values: Option<u64>,
    #[prost(message, optional, tag = "2")]
    pub(super) integers: Option<IntegerStatistics>,
    #[prost(message, optional, tag = "3")]
    pub(super) doubles: Option<DoubleStatistics>,
    #[prost(message, optional, tag = "4")]
    pub(super) strings: Option<StringStatistics>,
    #[prost(message, optional, tag = "5")]
    pub(super) buckets: Option<BucketStatistics>,
    #[prost(message, optional, tag = "6")]
    pub(super) decimals: Option<DecimalStatistics>,
    #[prost(message, optional, tag = "7")]
    pub(super) dates: Option<DateStatistics>,
    #[prost(message, optional, tag = "8")]
    pub(super) binaries: Option<BinaryStatistics>,
    #[prost(message, optional, tag = "9")]
    pub(super) timestamps: Option<TimestampStatistics>,
    #[prost(bool, optional, tag = "10")]
    pub(super) has_null: Option<bool>,
    #[prost(message, optional, tag = "12")]
    pub(super) collections: Option<CollectionStatistics>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RowIndexEntry {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) positions: Vec<u64>,
    #[prost(message, optional, tag = "2")]
    pub(super) statistics: Option<ColumnStatistics>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RowIndex {
    #[prost(message, repeated, tag = "1")]
    pub(super) entry: Vec<RowIndexEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StripeStream {
    #[prost(enumeration = "StreamKind", optional, tag = "1")]
    pub(super) kind: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) column: Option<u32>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) length: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ColumnEncoding {
    #[prost(enumeration = "EncodingKind", optional, tag = "1")]
    pub(super) kind: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) dictionary_size: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StripeFooter {
    #[prost(message, repeated, tag = "1")]
    pub(super) streams: Vec<StripeStream>,
    #[prost(message, repeated, tag = "2")]
    pub(super) columns: Vec<ColumnEncoding>,
    #[prost(string, optional, tag = "3")]
    pub(super) writer_timezone: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StripeInformation {
    #[prost(uint64, optional, tag = "1")]
    pub(super) offset: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) index_length: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) data_length: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    pub(super) footer_length: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) number_of_rows: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StripeStatistics {
    #[prost(message, repeated, tag = "1")]
    pub(super) columns: Vec<ColumnStatistics>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(message, repeated, tag = "1")]
    pub(super) stripes: Vec<StripeStatistics>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FileFooter {
    #[prost(uint64, optional, tag = "1")]
    pub(super) header_length: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) content_length: Option<u64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) stripes: Vec<StripeInformation>,
    #[prost(message, repeated, tag = "4")]
    pub(super) types: Vec<Type>,
    #[prost(uint64, optional, tag = "6")]
    pub(super) number_of_rows: Option<u64>,
    #[prost(message, repeated, tag = "7")]
    pub(super) statistics: Vec<ColumnStatistics>,
    #[prost(uint32, optional, tag = "8")]
    pub(super) row_index_stride: Option<u32>,
    #[prost(int32, optional, tag = "11")]
    pub(super) calendar: Option<i32>,
    /// The program that wrote it.
    #[prost(string, optional, tag = "12")]
    pub(super) software_version: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PostScript {
    #[prost(uint64, optional, tag = "1")]
    pub(super) footer_length: Option<u64>,
    #[prost(enumeration = "CompressionKind", optional, tag = "2")]
    pub(super) compression: Option<i32>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) compression_block_size: Option<u64>,
    #[prost(uint32, repeated, tag = "4")]
    pub(super) version: Vec<u32>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) metadata_length: Option<u64>,
    #[prost(uint32, optional, tag = "6")]
    pub(super) writer_version: Option<u32>,
    #[prost(string, optional, tag = "8000")]
    pub(super) magic: Option<String>,
}
