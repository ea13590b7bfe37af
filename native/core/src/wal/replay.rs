//! Streaming the entries that count, in order and without gaps, in chunks of bounded size.

use std::path::PathBuf;
use std::sync::Arc;

use super::codec::{BATCH_HEAD_BYTES, Chain, Entries, Kind, Malformed, for_each_record};
use super::disk::Disk;
use super::error::WalError;
use super::scan::{Position, Rewrites, UsedSegment};
use super::segment::{Found, SegmentReader};

/// Gives the entries behind the snapshot mark as entries records. Those of a record that were rewritten
/// later, or lie at or below the mark, are left out of it.
pub struct Replay {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) segments: Vec<UsedSegment>,
    pub(crate) rewrites: Rewrites,
    /// Index of the next entry to give.
    pub(crate) next_index: u64,
    pub(crate) last_index: u64,
    pub(crate) ordinal: usize,
    pub(crate) offset: u64,
    pub(crate) chain: Option<Chain>,
    pub(crate) reader: Option<SegmentReader>,
}

impl Replay {
    /// Fills `into` with at least `bytes` of records, or with all that remain; empty at the end.
    /// It stops at a batch's end, so it may exceed `bytes` by one batch.
    pub fn next_chunk(&mut self, bytes: usize, into: &mut Vec<u8>) -> Result<(), WalError> {
        into.clear();
        while into.len() < bytes
            && self.next_index <= self.last_index
            && self.ordinal < self.segments.len()
        {
            if self.offset >= self.segments[self.ordinal].end || !self.matters() {
                (self.ordinal, self.offset, self.chain, self.reader) =
                    (self.ordinal + 1, 0, None, None);
                continue;
            }
            self.next_batch(into)?;
        }
        if into.is_empty() && self.next_index <= self.last_index {
            return Err(self.damaged(format!(
                "entry {} was there and is not any more",
                self.next_index
            )));
        }
        Ok(())
    }

    /// Whether the segment can hold an entry that is still wanted.
    fn matters(&self) -> bool {
        self.segments[self.ordinal].max_index >= self.next_index
    }

    fn damaged(&self, reason: impl Into<String>) -> WalError {
        let segment = self.segments.get(self.ordinal).or(self.segments.last());
        let name = segment.map_or(String::new(), |used| used.segment.file_name());
        WalError::corrupt(&name, self.offset, reason)
    }

    fn next_batch(&mut self, into: &mut Vec<u8>) -> Result<(), WalError> {
        let segment = self.segments[self.ordinal].segment;
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => SegmentReader::open(self.disk.as_ref(), &self.dir, segment)?,
        };
        match reader.read(self.offset, self.chain)? {
            Found::Batch {
                bytes,
                next,
                length,
            } => {
                self.give(bytes, into)
                    .map_err(|Malformed(reason)| self.damaged(reason))?;
                (self.offset, self.chain) = (self.offset + length, Some(next));
            }
            Found::Damaged { at, reason } => {
                return Err(WalError::corrupt(&segment.file_name(), at, reason));
            }
            Found::End | Found::Torn { .. } => {
                return Err(self.damaged("batch was there and is not any more"));
            }
        }
        self.reader = Some(reader);
        Ok(())
    }

    fn give(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Malformed> {
        let (ordinal, offset) = (self.ordinal, self.offset + BATCH_HEAD_BYTES as u64);
        for_each_record(&bytes[BATCH_HEAD_BYTES..], |record| {
            if record.kind != Kind::Entries {
                return Ok(());
            }
            let position: Position = (ordinal, offset + record.at as u64);
            let entries = Entries::read(&record)?;
            let last = entries.last_index().min(self.rewrites.last_valid(position));
            let first = entries.first_index.max(self.next_index);
            if first > last {
                return Ok(());
            }
            if first != self.next_index {
                return Err(Malformed("entries leave a gap in the log"));
            }
            entries.put_slice(into, first, last);
            self.next_index = last + 1;
            Ok(())
        })
    }
}
