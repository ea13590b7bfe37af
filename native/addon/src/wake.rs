//! Wakes a JavaScript thread from any other thread.
//!
//! A `uv_async_t` of our own on the environment's event loop. A threadsafe function of N-API would do the same,
//! but sends its wake-up while it holds its queue's mutex: the thread that is woken runs at once, finds the mutex
//! held and sleeps again, which costs a second wake-up on each of the four hops of a put.
//!
//! Life of a `Waker`: `wake_function` makes it and the loop owns it. It is told to close by dropping the `Wake`,
//! from whatever thread, or by the end of the environment; it is freed by libuv's close callback.

use napi::bindgen_prelude::{Error, Function, JsValue, Result, Unknown};
use napi::{Env, sys};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// What `wake_function` hands to the core.
pub type Wake = Box<dyn Fn() + Send>;

/// `UV_ASYNC` of `uv_handle_type`.
const UV_ASYNC: c_int = 1;

unsafe extern "C" {
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_async_init(
        event_loop: *mut c_void,
        handle: *mut c_void,
        callback: extern "C" fn(*mut c_void),
    ) -> c_int;
    fn uv_async_send(handle: *mut c_void) -> c_int;
    fn uv_close(handle: *mut c_void, callback: extern "C" fn(*mut c_void));
    fn uv_handle_set_data(handle: *mut c_void, data: *mut c_void);
    fn uv_handle_get_data(handle: *const c_void) -> *mut c_void;
}

/// What stands behind one `uv_async_t`. All but `dropped` belongs to the JavaScript thread.
struct Waker {
    /// The `uv_async_t`, of the size that this libuv gives it.
    handle: Box<[u64]>,
    env: sys::napi_env,
    callback: sys::napi_ref,
    context: sys::napi_async_context,
    hook: Cell<sys::napi_async_cleanup_hook_handle>,
    /// Makes the core drop its `Wake`.
    forget: RefCell<Option<Box<dyn FnOnce()>>>,
    closing: Cell<bool>,
    /// The core has dropped its `Wake`.
    dropped: Mutex<bool>,
}

impl Waker {
    fn handle(&self) -> *mut c_void {
        self.handle.as_ptr().cast_mut().cast()
    }

    /// Begins the end, once; on the JavaScript thread.
    fn close(&self) {
        if self.closing.replace(true) {
            return;
        }
        // SAFETY: `env` lives until this waker is freed, and the reference was made by `wake_function`.
        unsafe { sys::napi_delete_reference(self.env, self.callback) };
        // SAFETY: as above, for the async context.
        unsafe { sys::napi_async_destroy(self.env, self.context) };
        // SAFETY: the handle is open, as this runs once, and outlives its close callback.
        unsafe { uv_close(self.handle(), closed) };
    }

    /// Calls the JavaScript callback, with the microtasks and ticks that follow it.
    fn call(&self) {
        let env = self.env;
        let mut scope = ptr::null_mut();
        // SAFETY: `env` is alive, and this is its thread.
        unsafe { sys::napi_open_handle_scope(env, &mut scope) };
        let mut function = ptr::null_mut();
        // SAFETY: the reference lives until `close`, which has not begun.
        unsafe { sys::napi_get_reference_value(env, self.callback, &mut function) };
        let mut global = ptr::null_mut();
        // SAFETY: `env` is alive.
        unsafe { sys::napi_get_global(env, &mut global) };
        let mut result = ptr::null_mut();
        // SAFETY: all values are of the open scope.
        let status = unsafe {
            sys::napi_make_callback(
                env,
                self.context,
                global,
                function,
                0,
                ptr::null(),
                &mut result,
            )
        };
        if status == sys::Status::napi_pending_exception {
            let mut error = ptr::null_mut();
            // SAFETY: an exception is pending.
            unsafe { sys::napi_get_and_clear_last_exception(env, &mut error) };
            // SAFETY: `error` is of the open scope.
            unsafe { sys::napi_fatal_exception(env, error) };
        }
        // SAFETY: the scope was opened above.
        unsafe { sys::napi_close_handle_scope(env, scope) };
    }
}

/// The core's end of a waker.
struct Sender(*const Waker);

// SAFETY: through the pointer it uses `uv_async_send`, which is for any thread, and a flag behind a lock.
unsafe impl Send for Sender {}

impl Sender {
    fn send(&self) {
        // SAFETY: the waker is freed only after this sender has been dropped.
        let waker = unsafe { &*self.0 };
        // SAFETY: likewise the handle is not closed before.
        unsafe { uv_async_send(waker.handle()) };
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // SAFETY: the waker is not closed before it has seen the flag that is set here.
        let waker = unsafe { &*self.0 };
        // The lock keeps it from being seen, and the handle from being closed, before the last wake-up is sent.
        let mut dropped = waker.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        *dropped = true;
        self.send();
    }
}

extern "C" fn woken(handle: *mut c_void) {
    // SAFETY: the handle's data was set to its waker before it could be sent to.
    let data = unsafe { uv_handle_get_data(handle) };
    // SAFETY: as above; the waker lives until the handle is closed.
    let waker = unsafe { &*data.cast::<Waker>() };
    if waker.closing.get() {
        return;
    }
    let dropped = *waker.dropped.lock().unwrap_or_else(PoisonError::into_inner);
    if dropped {
        waker.close();
    } else {
        waker.call();
    }
}

extern "C" fn closed(handle: *mut c_void) {
    // SAFETY: as in `woken`.
    let data = unsafe { uv_handle_get_data(handle) };
    // SAFETY: made by `Box::into_raw`, and this is the last use.
    let waker = unsafe { Box::from_raw(data.cast::<Waker>()) };
    // SAFETY: the hook was added by `wake_function`; after the environment's end this lets it go on ending.
    unsafe { sys::napi_remove_async_cleanup_hook(waker.hook.get()) };
}

/// The environment ends: the core forgets its `Wake`, then the handle is closed.
unsafe extern "C" fn environment_ends(
    _hook: sys::napi_async_cleanup_hook_handle,
    data: *mut c_void,
) {
    // SAFETY: the hook is removed before the waker is freed.
    let waker = unsafe { &*data.cast::<Waker>() };
    let forget = waker.forget.borrow_mut().take();
    if let Some(forget) = forget {
        forget();
    }
    waker.close();
}

/// Makes `callback` callable from any thread; it runs on the calling one. It keeps its environment's event loop
/// alive until dropped.
///
/// `forget` is called when the environment ends and must drop the returned function.
pub fn wake_function(
    env: &Env,
    callback: Function<'_, (), Unknown<'static>>,
    forget: impl FnOnce() + 'static,
) -> Result<Wake> {
    let raw = env.raw();
    let mut event_loop = ptr::null_mut();
    // SAFETY: `env` is alive and this is its thread, here and below.
    check(unsafe { sys::napi_get_uv_event_loop(raw, &mut event_loop) })?;
    let mut reference = ptr::null_mut();
    // SAFETY: `callback` is a value of the current scope.
    check(unsafe { sys::napi_create_reference(raw, callback.raw(), 1, &mut reference) })?;
    let mut name = ptr::null_mut();
    let text = c"etcd-ts wake";
    // SAFETY: the text is that long.
    check(unsafe {
        sys::napi_create_string_utf8(raw, text.as_ptr(), text.count_bytes() as isize, &mut name)
    })?;
    let mut context = ptr::null_mut();
    // SAFETY: `name` is of the current scope.
    check(unsafe { sys::napi_async_init(raw, ptr::null_mut(), name, &mut context) })?;
    // SAFETY: asks for a number.
    let size = unsafe { uv_handle_size(UV_ASYNC) };
    let waker = Box::into_raw(Box::new(Waker {
        handle: vec![0u64; size.div_ceil(8)].into_boxed_slice(),
        env: raw,
        callback: reference,
        context,
        hook: Cell::new(ptr::null_mut()),
        forget: RefCell::new(Some(Box::new(forget))),
        closing: Cell::new(false),
        dropped: Mutex::new(false),
    }));
    // SAFETY: just made; freed by `closed` alone.
    let made = unsafe { &*waker };
    // SAFETY: the memory is of the handle's size, and outlives the handle.
    let status = unsafe { uv_async_init(event_loop.cast(), made.handle(), woken) };
    if status != 0 {
        return Err(Error::from_reason(format!("uv_async_init: {status}")));
    }
    // SAFETY: the handle is initialised.
    unsafe { uv_handle_set_data(made.handle(), waker.cast()) };
    let mut hook = ptr::null_mut();
    // SAFETY: the waker lives until its hook has been removed.
    check(unsafe {
        sys::napi_add_async_cleanup_hook(raw, Some(environment_ends), waker.cast(), &mut hook)
    })?;
    made.hook.set(hook);
    let sender = Sender(waker);
    Ok(Box::new(move || sender.send()))
}

fn check(status: sys::napi_status) -> Result<()> {
    if status == sys::Status::napi_ok {
        return Ok(());
    }
    Err(Error::from_reason(format!("N-API status {status}")))
}
