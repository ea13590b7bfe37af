//! The end of a process whose database cannot be read through LMDB's map.
//!
//! LMDB reads its file through memory: a page that the disk cannot give is SIGBUS, and one that has rotted may lead it
//! to an address that does not exist, SIGSEGV, or to an assertion, SIGABRT. All of them end a process without a word
//! that an operator could act on. Here such an end gets a fatal line in the log's form on stderr, and exit code 1;
//! faults elsewhere get a line, too, and go to who handled them before.
//!
//! The handler finds out where it is by `/proc/self/maps`: whether the address lies in a mapped `data.mdb`, or the
//! instruction, or one of those to which the last few calls return, in LMDB's library. Everything that it calls is
//! async-signal-safe, and it allocates nothing.

#[cfg(target_os = "linux")]
mod line;
#[cfg(target_os = "linux")]
mod maps;
#[cfg(target_os = "linux")]
mod signals;

#[cfg(target_os = "linux")]
pub use signals::end_by_name;

/// Elsewhere than on Linux such an end stays as it is.
#[cfg(not(target_os = "linux"))]
pub fn end_by_name() -> std::io::Result<()> {
    Ok(())
}
