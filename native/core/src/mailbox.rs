//! Mailboxes: bounded byte queues between JavaScript threads, found by a number that can be sent to a worker.
//!
//! A message is received as `{u32 length, u32 0, bytes, zeros up to a multiple of 8}`, so it begins 8-byte
//! aligned. Here the record's own length (see `byte_queue`) is the padded one, and the receiver's view of it
//! is corrected in `receive`.

use crate::byte_queue::{BufferTooSmall, ByteQueue};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Bytes before a message.
pub const PREFIX_BYTES: usize = 8;

/// A message's largest length.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

static OPEN: LazyLock<Mutex<HashMap<u32, Arc<Mailbox>>>> = LazyLock::new(Mutex::default);
static NEXT_HANDLE: AtomicU32 = AtomicU32::new(1);

/// See the module.
pub struct Mailbox {
    handle: u32,
    queue: ByteQueue,
    closed: AtomicBool,
}

impl Mailbox {
    /// Opens a mailbox in which at most `capacity` bytes wait.
    pub fn open(capacity: usize) -> Arc<Mailbox> {
        let handle = NEXT_HANDLE.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::new(Mailbox {
            handle,
            queue: ByteQueue::new(capacity),
            closed: AtomicBool::new(false),
        });
        registry().insert(handle, mailbox.clone());
        mailbox
    }

    /// The open mailbox called `handle`.
    pub fn find(handle: u32) -> Option<Arc<Mailbox>> {
        registry().get(&handle).cloned()
    }

    /// Names this mailbox in every thread of the process.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Sends one message; false when it does not fit now or the mailbox is closed.
    pub fn send(&self, message: &[u8]) -> bool {
        if self.closed.load(Ordering::Acquire) || message.len() > MESSAGE_BYTES_MAX {
            return false;
        }
        let (prefix, padding) = frame(message);
        self.queue.send([&prefix, message], padding)
    }

    /// Sends one message whatever the capacity, for what is bounded elsewhere; a closed mailbox drops it.
    pub fn send_always(&self, message: &[u8]) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let (prefix, padding) = frame(message);
        let mut record = Vec::with_capacity(prefix.len() + message.len() + padding);
        record.extend_from_slice(&prefix);
        record.extend_from_slice(message);
        record.resize(record.len() + padding, 0);
        self.queue.append(&mut record);
        self.queue.wake_if_due();
    }

    /// Copies whole messages into `into`; returns how many bytes, 0 when none is left.
    pub fn receive(&self, into: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let filled = self.queue.receive(into)?;
        let mut at = 0;
        while at < filled {
            let record = u32::from_le_bytes(into[at..at + 4].try_into().expect("four bytes"));
            into.copy_within(at + 4..at + 8, at);
            into[at + 4..at + 8].fill(0);
            at += record as usize;
        }
        Ok(filled)
    }

    /// What wakes the receiver; called at once when messages wait.
    pub fn set_wake(&self, wake: Box<dyn Fn() + Send>) {
        self.queue.set_wake(wake);
    }

    /// After this the callback is not called again.
    pub fn clear_wake(&self) {
        self.queue.clear_wake();
    }

    /// Refuses further messages, wakes nobody any more, and forgets the handle.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.queue.clear_wake();
        registry().remove(&self.handle);
    }
}

/// What goes before a message and how many zeros after it.
fn frame(message: &[u8]) -> ([u8; PREFIX_BYTES], usize) {
    let padding = message.len().wrapping_neg() & 7;
    let record = (PREFIX_BYTES + message.len() + padding) as u32;
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..4].copy_from_slice(&record.to_le_bytes());
    prefix[4..].copy_from_slice(&(message.len() as u32).to_le_bytes());
    (prefix, padding)
}

fn registry() -> std::sync::MutexGuard<'static, HashMap<u32, Arc<Mailbox>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_prefixed_and_aligned() {
        let mailbox = Mailbox::open(1 << 16);
        let other = Mailbox::find(mailbox.handle()).expect("it is open");
        assert!(other.send(b"hello"));
        assert!(other.send(b""));
        assert!(other.send(b"12345678"));
        let mut into = [0xffu8; 64];
        assert_eq!(mailbox.receive(&mut into), Ok(16 + 8 + 16));
        assert_eq!(into[..16], *b"\x05\0\0\0\0\0\0\0hello\0\0\0");
        assert_eq!(into[16..24], [0; 8]);
        assert_eq!(into[24..40], *b"\x08\0\0\0\0\0\0\x0012345678");
        assert_eq!(mailbox.receive(&mut into), Ok(0));
    }

    #[test]
    fn a_closed_mailbox_takes_nothing_and_is_not_found() {
        let mailbox = Mailbox::open(64);
        mailbox.close();
        assert!(!mailbox.send(b"x"));
        assert!(Mailbox::find(mailbox.handle()).is_none());
    }
}
