//! N-API conversions for `etcd-core`; no logic of its own.

mod edge;
mod mailbox;
mod wal;
