//! Bytes to fewer bytes. A codec is one file; every object is one stream of it, whatever pieces it was made of.

pub mod gzip;

pub use gzip::GzipPiece;

/// What an object's bytes go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    /// Level 1 (fast) to 9 (small).
    Gzip {
        level: u32,
    },
}

impl Compression {
    /// Firehose's extension for the codec (docs/firehose.md: "Extensions").
    pub fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip { .. } => ".gz",
        }
    }

    /// Firehose's `Content-Encoding` for the codec (docs/firehose.md: "Extensions").
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip { .. } => Some("gzip"),
        }
    }

    pub fn encoder(self) -> CompressEncoder {
        match self {
            Compression::None => CompressEncoder::None,
            Compression::Gzip { level } => CompressEncoder::Gzip(gzip::GzipEncoder::new(level)),
        }
    }
}

/// One object's compression.
pub enum CompressEncoder {
    None,
    Gzip(gzip::GzipEncoder),
}

impl CompressEncoder {
    /// The buffer to append raw bytes to; `out` is where compressed ones will go.
    pub fn raw<'a>(&'a mut self, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        match self {
            CompressEncoder::None => out,
            CompressEncoder::Gzip(gzip) => gzip.staged(),
        }
    }

    /// Raw bytes that are best appended at once: as many as complete a piece, which is then compressed while they are near.
    pub fn room(&self) -> usize {
        match self {
            CompressEncoder::None => gzip::PIECE_BYTES,
            CompressEncoder::Gzip(gzip) => gzip.room(),
        }
    }

    /// What has been staged, to be compressed, once it is worth it. Pieces follow each other in the object as they came
    /// from here, behind what [`CompressEncoder::raw`] gave straight to `out`.
    pub fn piece(&mut self) -> Option<GzipPiece> {
        match self {
            CompressEncoder::None => None,
            CompressEncoder::Gzip(gzip) => gzip.piece(),
        }
    }

    /// The last piece.
    pub fn rest(&mut self) -> Option<GzipPiece> {
        match self {
            CompressEncoder::None => None,
            CompressEncoder::Gzip(gzip) => Some(gzip.rest()),
        }
    }

    /// Appends what stands behind the last piece.
    pub fn end(self, out: &mut Vec<u8>) {
        if let CompressEncoder::Gzip(gzip) = self {
            gzip.end(out);
        }
    }

    /// Bytes held in memory.
    pub fn memory_bytes(&self) -> usize {
        match self {
            CompressEncoder::None => 0,
            CompressEncoder::Gzip(gzip) => gzip.memory_bytes(),
        }
    }
}
