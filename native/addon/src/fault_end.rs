//! Conversions for `etcd_core::fault_end`.

use napi::bindgen_prelude::{Error, Result};
use napi_derive::napi;

/// Lets faults in the database end the process by name.
#[napi]
pub fn end_by_name_on_faults() -> Result<()> {
    etcd_core::fault_end::end_by_name().map_err(|error| Error::from_reason(error.to_string()))
}
