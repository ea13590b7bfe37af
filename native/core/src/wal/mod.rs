//! The write-ahead log: what a member has promised, on disk before it is said.
//!
//! * `codec`: records, batches, checksums. `aligned`: memory for direct I/O.
//! * `disk`: the file layer, with the real one. `segment`: file names, reading batch by batch.
//! * `state`: what the log says, and what it must not. `scan`: all of it read at start. `replay`: entries
//!   given out. `log`: create, open, close.
//! * `shared`: the queue between caller and writer. `writer`: the thread that writes and syncs.
//!   `prepare`: the thread that keeps a zeroed segment ready.
//!
//! Invariants: an append is acknowledged only after the fdatasync that covers it; at most one batch is
//! unsynced at any moment; segments are zero before use; after any error nothing is acknowledged, and
//! nothing is tried again.

mod aligned;
mod codec;
mod disk;
mod error;
mod log;
mod prepare;
mod replay;
mod scan;
mod segment;
mod shared;
mod state;
mod stats;
#[cfg(test)]
mod tests;
mod writer;

pub use aligned::AlignedBuffer;
pub use codec::{
    HEADER_BYTES, HardState, Kind, SnapshotMark, put_entries, put_hard_state, put_record,
    put_snapshot_mark,
};
pub use disk::{Access, Disk, DiskFile, OsDisk};
pub use error::WalError;
pub use log::{Recovered, Wal};
pub use replay::Replay;
pub use shared::{FLAG_FAILED, FLAG_SPACE_LOW, Notify, Options, Progress};
pub use stats::{BUCKETS, STATS_NUMBERS, Stats};
