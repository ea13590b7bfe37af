//! N-API conversions for `etcd-core`; no logic of its own.

mod dir_lock;
mod edge;
mod environment;
mod exit_now;
mod fault_end;
mod mailbox;
mod memory;
mod wake;
mod wal;
