//! Wakes a JavaScript thread from any other thread.

use napi::bindgen_prelude::{Function, Result, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};

type WakeFunction = ThreadsafeFunction<(), Unknown<'static>, (), Status, false>;

/// What `wake_function` hands to the core.
pub type Wake = Box<dyn Fn() + Send>;

/// Makes `callback` callable from any thread. It keeps its environment's event loop alive until dropped.
///
/// `forget` is called when the environment ends and must drop the returned function: calling it afterwards
/// would abort the process.
pub fn wake_function(
    env: &Env,
    callback: Function<'_, (), Unknown<'static>>,
    forget: impl FnOnce() + 'static,
) -> Result<Wake> {
    let function: WakeFunction = callback
        .build_threadsafe_function::<()>()
        .callee_handled::<false>()
        .build()?;
    env.add_env_cleanup_hook(forget, |forget| forget())?;
    Ok(Box::new(move || {
        // A full queue cannot be (it has no bound), and a closing one has nobody left to wake.
        function.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }))
}
