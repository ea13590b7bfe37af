//! Conversions for `etcd_core::mailbox`.
