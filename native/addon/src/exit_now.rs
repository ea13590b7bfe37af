//! Conversions for `etcd_core::exit_now`.

use napi_derive::napi;

/// Ends the process with `code`, without any cleanup.
#[napi]
pub fn exit_now(code: i32) {
    etcd_core::exit_now::exit_now(code)
}
