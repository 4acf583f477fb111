//! Bytes to fewer bytes. A codec is one file; every object is one stream of it, whatever pieces it was made of.

pub mod gzip;

pub use gzip::Piece;

/// What an object's bytes go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    None,
    /// Level 1 (fast) to 9 (small).
    Gzip {
        level: u32,
    },
}

impl Compress {
    /// Firehose's extension for the codec (contract §3.6).
    pub fn extension(self) -> &'static str {
        match self {
            Compress::None => "",
            Compress::Gzip { .. } => ".gz",
        }
    }

    /// Firehose's `Content-Encoding` for the codec (contract §7).
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Compress::None => None,
            Compress::Gzip { .. } => Some("gzip"),
        }
    }

    pub fn encoder(self) -> Encoder {
        match self {
            Compress::None => Encoder::None,
            Compress::Gzip { level } => Encoder::Gzip(gzip::Gzip::new(level)),
        }
    }
}

/// One object's compression.
pub enum Encoder {
    None,
    Gzip(gzip::Gzip),
}

impl Encoder {
    /// The buffer to append raw bytes to; `out` is where compressed ones will go.
    pub fn raw<'a>(&'a mut self, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        match self {
            Encoder::None => out,
            Encoder::Gzip(gzip) => gzip.staged(),
        }
    }

    /// What has been staged, to be compressed, once it is worth it. Pieces follow each other in the object as they came
    /// from here, behind what [`Encoder::raw`] gave straight to `out`.
    pub fn piece(&mut self) -> Option<Piece> {
        match self {
            Encoder::None => None,
            Encoder::Gzip(gzip) => gzip.piece(),
        }
    }

    /// The last piece.
    pub fn rest(&mut self) -> Option<Piece> {
        match self {
            Encoder::None => None,
            Encoder::Gzip(gzip) => Some(gzip.rest()),
        }
    }

    /// Appends what stands behind the last piece.
    pub fn end(self, out: &mut Vec<u8>) {
        if let Encoder::Gzip(gzip) = self {
            gzip.end(out);
        }
    }

    /// Bytes held in memory.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Encoder::None => 0,
            Encoder::Gzip(gzip) => gzip.memory_bytes(),
        }
    }
}
