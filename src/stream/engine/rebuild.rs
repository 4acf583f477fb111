//! Bodies of open plans that a restart took away, made again of the records that they list.

use super::Engine;
use super::filling::Filling;
use super::filling_columns::ColumnFilling;
use super::outbox::{PackedOutputs, Rebuilding};
use crate::compress::Compression;
use crate::deliver::records;
use crate::destination::Payload;
use crate::error::Result;
use crate::format::elements::ElementsEncoder as Elements;
use crate::format::lines::LinesFormat;
use crate::format::{FormatEncoder, RecordFormat};
use crate::stream::plan::{Outlet, Track};
use std::sync::Arc;

impl Engine {
    /// The body of a plan that is made again, to append to. `None` if it is not made again.
    pub(super) fn rebuilding(&mut self, number: u64) -> Result<Option<&mut Rebuilding>> {
        if !self.outbox.knows(number) {
            let plan = &self.state().plans[&number];
            let (epoch, outlet, tells) = (plan.epoch, plan.outlet, plan.tells_of_outputs());
            let content_encoding = self.route(epoch)?.content_encoding(outlet);
            let packed = tells.then(PackedOutputs::default);
            let filling = match packed {
                Some(_) => {
                    let (elements, compress) = (FormatEncoder::Elements(Elements::default()), records::compress(false));
                    Filling::of_bytes(elements, compress.encoder(), &self.scratch, &self.home.workers)
                }
                None => self.filling(epoch, outlet)?,
            };
            let refused = self.state().refused.get(&number).copied();
            self.outbox.rebuild(number, Rebuilding { filling, outputs: 0, packed }, content_encoding, refused);
        }
        Ok(self.outbox.rebuilding(number))
    }

    /// An empty object of an outlet under an epoch.
    pub(super) fn filling(&mut self, epoch: u32, outlet: Outlet) -> Result<Filling> {
        let gzip = self.live.gzip_requests;
        let route = self.route(epoch)?;
        let is_raw = matches!(outlet, Outlet::Destination) && route.takes != Payload::Records;
        if let (true, RecordFormat::Columns(format)) = (is_raw, &route.format) {
            let filling = ColumnFilling::new(format, &self.scratch, &self.home.workers);
            return Ok(Filling::Columns(Box::new(filling)));
        }
        let as_is = || FormatEncoder::Lines(LinesFormat { newline: false }.encoder());
        let (encoder, compress) = match (outlet, &route.format) {
            (Outlet::Destination, _) if route.takes == Payload::Records => {
                (FormatEncoder::Elements(Elements::default()), records::compress(gzip))
            }
            (Outlet::Destination, RecordFormat::Lines(lines)) if route.takes == Payload::Rows => {
                (FormatEncoder::Lines(lines.indexing_encoder()), route.compress)
            }
            (Outlet::Destination, RecordFormat::Lines(lines)) => {
                (FormatEncoder::Lines(lines.encoder()), route.compress)
            }
            (Outlet::Backup, _) => (as_is(), route.backup.as_ref().map_or(Compression::None, |b| b.compress)),
            _ => (as_is(), route.failures.compress),
        };
        Ok(Filling::of_bytes(encoder, compress.encoder(), &self.scratch, &self.home.workers))
    }

    /// Closes rebuilt plans: complete ones are ready, those whose records have all been read without being complete are
    /// held.
    pub(super) fn finish_rebuilding(&mut self, track: Track) -> Result<()> {
        let read = self.readers[track].offset();
        let ended = self.state().open_plans().filter(|p| p.outlet.track() == track && p.list.end() <= read);
        let ended: Vec<(u64, u64)> = ended.map(|p| (p.number, p.list.outputs())).collect();
        for (number, expected) in ended {
            let full = self.is_held_full();
            // Nothing of it could be read: it is rebuilt all the same, from nothing.
            if self.rebuilding(number)?.is_none() {
                continue;
            }
            let left = self.outputs_left(number);
            let Some(Rebuilding { filling, outputs, packed }) = self.outbox.take_rebuilding(number) else { continue };
            if outputs == expected || outputs == left {
                self.outbox.rebuilt(number, Arc::new(filling.finish(full)), packed, outputs == expected);
                self.make_error_records(number)?;
            } else {
                self.hold(number, &format!("its records now give {outputs} outputs, expected {expected}"));
            }
        }
        Ok(())
    }
}
