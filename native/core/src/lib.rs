//! The parts of etcd-ts that talk to the hardware, in plain Rust.
//!
//! * [`dir_lock`]: keeps a second process off a data folder.
//! * [`edge`]: the gRPC front: HTTP/2, framing, deadlines; calls leave it in batches.
//! * [`wal`]: the write-ahead log: direct I/O, CRC chain, one fdatasync for all that waits.
//! * [`mailbox`]: bounded byte queues between JavaScript threads, with one wake-up for many messages.
//!
//! Nothing here knows of N-API; the `addon` crate only converts.

pub mod dir_lock;
pub mod edge;
pub mod mailbox;
pub mod wal;
