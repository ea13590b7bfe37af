//! Conversions for `etcd_core::memory` and `etcd_core::heaps`.

use etcd_core::heaps;
use napi::bindgen_prelude::{AsyncTask, Object};
use napi::{Env, Result, Task};
use napi_derive::napi;

/// Each thread that loads the addon has its heap collected by `collect_garbage`, as long as it lives.
#[napi(module_exports)]
pub fn enter_heap(_exports: Object<'_>, env: Env) -> Result<()> {
    if let Some(heap) = heaps::enter() {
        env.add_env_cleanup_hook(heap, heaps::leave)?;
    }
    Ok(())
}

/// See `etcd_core::heaps::collect`.
#[napi]
pub fn collect_garbage() {
    heaps::collect();
}

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
