//! Conversions for `etcd_core::memory`.

use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Result, Task};
use napi_derive::napi;

/// Runs on a thread of libuv's pool, since it takes some milliseconds.
pub struct ReleaseMemory;

impl Task for ReleaseMemory {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        etcd_core::memory::release_program();
        etcd_core::memory::release_heap();
        Ok(())
    }

    fn resolve(&mut self, _env: Env, _output: ()) -> Result<()> {
        Ok(())
    }
}

/// Gives back what the process holds and does not use: pages of the program's file, and free memory of `malloc`.
#[napi]
pub fn release_memory() -> AsyncTask<ReleaseMemory> {
    AsyncTask::new(ReleaseMemory)
}
