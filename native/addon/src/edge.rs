//! Conversions for `etcd_core::edge`.
