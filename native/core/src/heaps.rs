//! V8's heaps, one for each JavaScript thread, and how to have all of them collected.
//!
//! V8 collects when a heap has grown. After a burst of work it may hold for hours what only the next collection would
//! free: the two halves of its young generation at their full size, and typed arrays that nobody uses any more. Node has
//! no call for this, so V8's own function is looked up by its name: where it is not found, nothing happens.
//!
//! Invariant: a heap in the list exists. Whoever enters one takes it out before it goes, on the heap's own thread.

use std::ffi::{CStr, c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `v8::Isolate::GetCurrent()`.
const CURRENT: &CStr = c"_ZN2v87Isolate10GetCurrentEv";
/// `v8::Isolate::MemoryPressureNotification(v8::MemoryPressureLevel)`, which any thread may call.
const NOTIFY: &CStr = c"_ZN2v87Isolate26MemoryPressureNotificationENS_19MemoryPressureLevelE";
/// `v8::MemoryPressureLevel::kModerate`: the heap is marked in small steps, then swept and made smaller.
const MODERATE: c_int = 1;

type Current = unsafe extern "C" fn() -> *mut c_void;
type Notify = unsafe extern "C" fn(*mut c_void, c_int);

/// The address of a heap's `v8::Isolate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heap(usize);

static HEAPS: Mutex<Vec<Heap>> = Mutex::new(Vec::new());

/// Takes this thread's heap into the list; `None` when this is not a thread of V8.
pub fn enter() -> Option<Heap> {
    let current = function(CURRENT)?;
    // SAFETY: the symbol is V8's function of that signature.
    let current: Current = unsafe { std::mem::transmute(current) };
    // SAFETY: it only reads a variable of this thread.
    let isolate = unsafe { current() };
    let heap = (!isolate.is_null()).then_some(Heap(isolate as usize))?;
    heaps().push(heap);
    Some(heap)
}

/// The heap is about to go; waits for a `collect` under way.
pub fn leave(heap: Heap) {
    let mut heaps = heaps();
    if let Some(place) = heaps.iter().position(|&other| other == heap) {
        heaps.swap_remove(place);
    }
}

/// Asks each heap's thread to collect garbage and to give memory back, as soon as it comes to it; in small steps.
pub fn collect() {
    let Some(notify) = function(NOTIFY) else {
        return;
    };
    // SAFETY: the symbol is V8's function of that signature; an object's address is its first argument.
    let notify: Notify = unsafe { std::mem::transmute(notify) };
    for heap in heaps().iter() {
        // SAFETY: the heap exists, as it is in the list, which stays locked; any thread may call this.
        unsafe { notify(heap.0 as *mut c_void, MODERATE) };
    }
}

/// A function of the program, or of a library that it has loaded for all.
fn function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with a zero.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

fn heaps() -> MutexGuard<'static, Vec<Heap>> {
    HEAPS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_v8_there_is_nothing_to_collect() {
        assert_eq!(enter(), None);
        collect();
        assert!(heaps().is_empty());
    }
}
