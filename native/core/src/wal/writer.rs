//! The writer thread: takes a chunk, seals it as a batch, writes it, syncs it, says so. Where the log rests and its disk
//! is quick, a caller may do that work on its own thread instead.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::aligned::AlignedBuffer;
use super::codec::{
    BATCH_HEAD_BYTES, Chain, Kind, Malformed, RECORD_BYTES_MAX, for_each_record, padded, seal,
};
use super::error::WalError;
use super::prepare::{OpenSegment, Released, write_zeros};
use super::scan::UsedSegment;
use super::shared::{Chunk, Shared, Work, lock};
use super::state::LogState;

/// A batch that was written and synced within this is a quick one.
const QUICK: Duration = Duration::from_millis(1);
/// So many quick batches in a row, and a caller may wait for the disk itself.
pub(crate) const QUICK_BATCHES: u32 = 16;

/// A larger segment, for a batch that needs one, is a multiple of this.
const LARGE_SEGMENT_STEP: u64 = 1 << 20;

pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub current: OpenSegment,
    /// Where the next batch goes.
    pub offset: u64,
    /// Highest index of an entry in the current segment.
    pub max_index: u64,
    /// Segments before the current one, the oldest first.
    pub older: VecDeque<UsedSegment>,
    pub chain: Chain,
    pub state: LogState,
    /// Batches since the last one that was not quick.
    pub quick: u32,
}

/// The writer's thread: runs until the log is closed or something fails.
pub(crate) fn run(shared: &Shared, writer: &Mutex<Writer>) {
    loop {
        let work = shared.next_work();
        let mut writer = lock(writer);
        let done = match work {
            // What was queued when something failed is not written any more.
            Work::Write(_) if shared.failed() => Ok(()),
            Work::Write(chunk) => writer.write_chunk(chunk),
            Work::Release(index) => {
                writer.release(index);
                Ok(())
            }
            Work::Close => return,
        };
        if let Err(error) = done {
            shared.fail(error);
            return;
        }
    }
}

impl Writer {
    /// Writes a claimed chunk on the caller's thread; false: not now, and nothing was done.
    pub fn write_claimed(&mut self, chunk: &mut Chunk) -> Result<bool, WalError> {
        let fits = self.offset + padded(chunk.buffer.len()) as u64 <= self.current.size;
        if !fits || self.quick < QUICK_BATCHES {
            return Ok(false);
        }
        self.apply(&chunk.buffer.as_ref()[BATCH_HEAD_BYTES..])?;
        self.write_batch(&mut chunk.buffer)?;
        Ok(!self.shared.failed())
    }

    fn write_chunk(&mut self, mut chunk: Chunk) -> Result<(), WalError> {
        if chunk.buffer.len() > RECORD_BYTES_MAX {
            // It could not be read again.
            return Err(WalError::Invalid {
                reason: "append is too long",
            });
        }
        let length = padded(chunk.buffer.len());
        if self.offset + length as u64 > self.current.size {
            self.roll(length)?;
        }
        self.apply(&chunk.buffer.as_ref()[BATCH_HEAD_BYTES..])?;
        self.write_batch(&mut chunk.buffer)?;
        if self.shared.failed() {
            // The preparer failed meanwhile.
            return Ok(());
        }
        self.shared.written(chunk);
        Ok(())
    }

    /// Checks the records against the log's state before they are written.
    fn apply(&mut self, records: &[u8]) -> Result<(), WalError> {
        let (state, max_index) = (&mut self.state, &mut self.max_index);
        let applied = for_each_record(records, |record| {
            state.apply(&record)?;
            if record.kind == Kind::Entries {
                *max_index = (*max_index).max(state.last_index);
            }
            Ok(())
        });
        applied.map_err(|Malformed(reason)| WalError::Invalid { reason })
    }

    /// One write, one sync.
    fn write_batch(&mut self, buffer: &mut AlignedBuffer) -> Result<(), WalError> {
        let used = buffer.len();
        buffer.set_len(padded(used));
        let place = self.current.segment.place(self.offset);
        let chain = seal(buffer.as_mut(), used, place, self.chain);
        let stats = &self.shared.stats;
        let start = Instant::now();
        self.current
            .file
            .write_at(buffer.as_ref(), self.offset)
            .map_err(|e| WalError::io("write", &self.path())(e))?;
        let written = Instant::now();
        stats.write.observe(written - start);
        stats
            .bytes
            .fetch_add(buffer.len() as u64, Ordering::Relaxed);
        if !self.shared.options.no_fsync {
            self.current
                .file
                .sync_data()
                .map_err(|e| WalError::io("sync", &self.path())(e))?;
            stats.fsync.observe(written.elapsed());
        }
        let is_quick = start.elapsed() <= QUICK;
        self.quick = if is_quick {
            self.quick.saturating_add(1)
        } else {
            0
        };
        self.chain = chain;
        self.offset += buffer.len() as u64;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.current.segment.path(&self.shared.options.dir)
    }

    /// Goes on in the spare, with room for a batch of `length`. Its head is synced before anything
    /// follows it, so that there is never more than one batch in flight.
    fn roll(&mut self, length: usize) -> Result<(), WalError> {
        let mut next = self.shared.take_spare()?;
        let mut head = head_buffer(&self.state, next.size);
        let needed = (padded(head.len()) + length) as u64;
        if needed > next.size {
            self.enlarge(&mut next, needed.next_multiple_of(LARGE_SEGMENT_STEP))?;
            head = head_buffer(&self.state, next.size);
        }
        let old = std::mem::replace(&mut self.current, next);
        self.older.push_back(UsedSegment {
            segment: old.segment,
            size: old.size,
            end: self.offset,
            max_index: self.max_index,
        });
        (self.offset, self.max_index) = (0, 0);
        self.write_batch(&mut head)
    }

    fn enlarge(&self, spare: &mut OpenSegment, size: u64) -> Result<(), WalError> {
        let path = spare.segment.path(&self.shared.options.dir);
        spare
            .file
            .allocate(size)
            .map_err(WalError::io("allocate", &path))?;
        write_zeros(spare.file.as_ref(), spare.size, size, &|| false)
            .map_err(WalError::io("write", &path))?;
        spare
            .file
            .sync_data()
            .map_err(WalError::io("sync", &path))?;
        spare.size = size;
        Ok(())
    }

    /// Gives up the oldest segments that hold no entry above `index`. Entries above the snapshot mark
    /// are always kept, for a start needs them.
    fn release(&mut self, index: u64) {
        let index = index.min(self.state.mark_index());
        while self
            .older
            .front()
            .is_some_and(|oldest| oldest.max_index <= index)
        {
            if let Some(UsedSegment { segment, size, .. }) = self.older.pop_front() {
                self.shared.give_released(Released { segment, size });
            }
        }
    }
}

/// The batch that opens a segment, not yet sealed.
pub(crate) fn head_buffer(state: &LogState, segment_bytes: u64) -> AlignedBuffer {
    let mut records = Vec::new();
    state.put_head(&mut records, segment_bytes);
    let mut buffer = AlignedBuffer::new(BATCH_HEAD_BYTES + records.len());
    buffer.set_len(BATCH_HEAD_BYTES);
    buffer.extend(&records);
    buffer
}
