//! Records and batches as they lie on disk. `src/storage/wal/record.ts` is the twin for records.
//!
//! A record, little-endian, its length a multiple of 8:
//!
//! ```text
//!  0 u32 crc      CRC32C of bytes 4.., continued from the record before it in the batch
//!  4 u32 length   of the whole record, this header and the padding included
//!  8 u8  kind     see [`Kind`]
//!  9 u8  padding  zero bytes at the end, 0..=7
//! 10 u16 flags
//! 12 u32 0
//! 16 u64 index    of the record's first entry, of a mark, or what the kind says
//! 24 data
//! ```
//!
//! A batch is what one `pwrite` and one `fdatasync` make durable: a [`Kind::BatchHead`] record, then
//! further records, then `0xff` up to the next 4 KiB. The head's CRC starts from segment ID, sequence
//! and offset, so that a block at the wrong place or left from another life of the file never counts,
//! and the head names the last CRC of the batch before it, across segments.
//!
//! No 512-byte sector of a batch is all zero: where the data would make one, everything behind the
//! first sector is XORed with a mask that the head names. A sector of zeros inside a batch is therefore
//! always one that was never written, which is what tells a torn batch from a damaged one.

mod batch;
mod entries;
mod record;

pub use batch::{
    BATCH_HEAD_BYTES, BLOCK_BYTES, BatchHead, Chain, Place, SECTOR_BYTES, is_torn, is_zero,
    open_batch, padded, read_batch_head, seal,
};
pub use entries::{Entries, put_entries};
#[cfg(test)]
pub use record::record_at;
pub use record::{
    HEADER_BYTES, HardState, Kind, Malformed, RECORD_BYTES_MAX, Record, SnapshotMark,
    for_each_record, put_hard_state, put_record, put_segment_head, put_snapshot_mark,
    read_hard_state, read_segment_head, read_snapshot_mark,
};
