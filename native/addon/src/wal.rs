//! Conversions for `etcd_core::wal`.
