//! What the report shows, one ratio a line.

use crate::report::Ratio;

pub(crate) static GZIP: Ratio = Ratio::more("gzip", "service end to end over REF").on_two_threads();
pub(crate) static LINES: Ratio = Ratio::more("lines", "service end to end over REF").on_two_threads();
pub(crate) static PARQUET: Ratio = Ratio::more("parquet", "service end to end over REF").on_two_threads();
pub(crate) static HTTP: Ratio = Ratio::more("http", "service end to end over the service's gzip pass").on_two_threads();
pub(crate) static HTTP_S3: Ratio =
    Ratio::more("http over s3", "the same over a gzip pass into a bucket").on_two_threads();
pub(crate) static GZIP_SIX: Ratio = Ratio::more("gzip / level 6", "service end to end over REFGZ").on_two_threads();
pub(crate) static GZIP_SIZE: Ratio = Ratio::less("gzip size", "the service's objects over REFGZ's stream");
pub(crate) static PARQUET_SIZE: Ratio = Ratio::less("parquet size", "the service's objects over REF's file");
pub(crate) static PARQUET_CPU: Ratio = Ratio::less("parquet cpu", "CPU of the whole service over that of REF");
pub(crate) static GZIP_CPU: Ratio = Ratio::less("gzip cpu", "CPU of the whole service over that of REFGZ");
pub(crate) static OWN_PARQUET: Ratio =
    Ratio::more("own parquet", "the service's conversion alone, one thread, over REF");
pub(crate) static OWN_GZIP: Ratio = Ratio::more("own gzip", "the service's compression alone, one thread, over REFGZ");
pub(crate) static ACKS: Ratio =
    Ratio::more("single puts", "acks/s, 16 connections, over write+fdatasync of each record").on_two_threads();
pub(crate) static ACK: Ratio = Ratio::less("ack p50", "1 connection, light load, over a bare 4 KiB write+fdatasync");
pub(crate) static ACK_BUSY: Ratio = Ratio::less(
    "ack p99, both CPUs busy",
    "1 connection of a client that does not wait for 2 busy threads, over the same",
);
pub(crate) static PEAKS: [Ratio; 3] = [
    Ratio::less("memory gzip", "peak resident over the buffer of 128 MiB"),
    Ratio::less("memory lines", "peak resident over the buffer of 128 MiB"),
    Ratio::less("memory parquet", "peak resident over the buffer of 128 MiB"),
];
pub(crate) static GROWTHS: [Ratio; 3] = [
    Ratio::less("memory growth gzip", "resident in the last third of the time over the first"),
    Ratio::less("memory growth lines", "resident in the last third of the time over the first"),
    Ratio::less("memory growth parquet", "resident in the last third of the time over the first"),
];

/// How they are measured.
pub(crate) const NOTES: &str = "
REF: arrow-json in batches of 1,024 into ArrowWriter (snappy, defaults), one thread, in memory, in the same round (mean
of a run before and one after the others). REFGZ: gzip level 6 (zlib-rs), one thread, in memory.
end to end: PutRecordBatch of 500 records over loopback HTTP, SigV4, 16 connections, acknowledged when durable, until the
object is synced under its name and its mark is durable. The client shares the CPUs; its requests are made and signed
before the clock starts. After each round, and from disk after the last, the service's account must show every record
delivered and none missing.
http: the same, in gzip requests of 10,000 records, until the endpoint, which shares the CPUs too, has answered the last
and its mark is durable.
postgres: from records that are put and held back until most of them are in the table.
decode: aggregates of 100 records in answers of 2 MiB, from the connection to the shard's lane.
redrive: what the endpoint refused, from uncompressed failure objects into the journal, delivery paused.
memory: the service alone, as a process; peak as the kernel saw it.";
