//! Ends the process at once.
//!
//! After a failed write nothing may be written any more. An ordinary exit would run the cleanup of every
//! library in the process, and LMDB's flushes once more: that could confirm pages whose first flush was lost.

/// Ends the process with `code`, without any cleanup: no exit handler runs, no buffer is flushed.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any code and does not return.
    unsafe { libc::_exit(code) }
}
