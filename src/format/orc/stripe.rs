//! What a stripe is put together of.

use super::proto::{ColumnEncoding, EncodingKind, StreamKind};
use super::statistics::Statistics;

/// A stripe's part of a column, without those inside it.
pub(super) struct EncodedColumn {
    pub(super) encoding: EncodingKind,
    pub(super) dictionary_size: Option<u32>,
    pub(super) streams: Vec<(StreamKind, Vec<u8>)>,
    /// Where each row group begins.
    pub(super) positions: Vec<Vec<u64>>,
}

/// What a stripe is put together of.
#[derive(Default)]
pub(super) struct StripeParts {
    /// Of each column.
    pub(super) indexes: Vec<Vec<u8>>,
    pub(super) streams: Vec<(StreamKind, u32, Vec<u8>)>,
    pub(super) encodings: Vec<ColumnEncoding>,
    pub(super) statistics: Vec<Statistics>,
}
