//! The parts of etcd-ts that talk to the hardware, in plain Rust.
//!
//! * [`byte_queue`]: bounded queues of records between threads, with one wake-up for many of them.
//! * [`dir_lock`]: keeps a second process off a data folder.
//! * [`edge`]: the gRPC front: HTTP/2, framing, deadlines; calls leave it in batches.
//! * [`environment`]: the check of an LMDB file, and the checksums in it.
//! * [`exit_now`]: the end of a process that must not write any more.
//! * [`heaps`]: the heaps of JavaScript threads, and their collection.
//! * [`memory`]: memory that is held and not used is given back.
//! * [`fault_end`]: a name for the end of a process whose database cannot be read.
//! * [`wal`]: the write-ahead log: direct I/O, CRC chain, one fdatasync for all that waits.
//! * [`mailbox`]: bounded byte queues between JavaScript threads.
//!
//! Nothing here knows of N-API; the `addon` crate only converts.

pub mod byte_queue;
pub mod dir_lock;
pub mod edge;
pub mod environment;
pub mod exit_now;
pub mod fault_end;
pub mod heaps;
pub mod mailbox;
pub mod memory;
pub mod wal;
