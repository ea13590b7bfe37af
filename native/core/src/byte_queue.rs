//! A bounded queue of byte records between threads, with one coalesced wake-up of the receiver.
//!
//! Any number of threads send; one thread at a time receives. The receiver is woken once, by the first record
//! after it has found the queue empty, and then takes everything that waits.
//!
//! Records start with their own length as a little-endian `u32`; it counts the whole record, which is what
//! lets the receiver copy whole records only.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A buffer larger than this is given back to the allocator once it is empty.
const BUFFER_BYTES_KEPT: usize = 1 << 20;
/// A block is closed and the next one begun when it holds this much, so that growth copies little.
const BLOCK_BYTES: usize = 1 << 20;

type Wake = Box<dyn Fn() + Send>;

/// Wakes a receiver that may go away at any time; once `clear` has returned, no call is made any more.
#[derive(Default)]
pub struct WakeSlot(Mutex<Option<Wake>>);

impl WakeSlot {
    /// Sets what `wake` calls.
    pub fn set(&self, wake: Wake) {
        *lock(&self.0) = Some(wake);
    }

    /// Drops the callback, waiting for a call under way.
    pub fn clear(&self) {
        let taken = lock(&self.0).take();
        drop(taken);
    }

    /// Calls the callback if there is one.
    pub fn wake(&self) {
        if let Some(wake) = lock(&self.0).as_ref() {
            wake();
        }
    }
}

/// The records on their way, oldest block first.
#[derive(Default)]
struct Inbound {
    blocks: VecDeque<Vec<u8>>,
    /// An empty block kept for the next send.
    spare: Vec<u8>,
    /// The receiver found the queue empty and waits to be woken.
    armed: bool,
}

/// The block that is being read.
#[derive(Default)]
struct Outbound {
    block: Vec<u8>,
    next: usize,
}

/// See the module.
pub struct ByteQueue {
    capacity: usize,
    inbound: Mutex<Inbound>,
    outbound: Mutex<Outbound>,
    /// Bytes sent and not yet received.
    waiting: AtomicUsize,
    wake: WakeSlot,
}

/// Why `receive` could not copy anything although records wait.
#[derive(Debug, PartialEq, Eq)]
pub struct BufferTooSmall {
    /// Length of the record that waits.
    pub needed: usize,
}

impl ByteQueue {
    /// A queue that refuses records once `capacity` bytes wait.
    pub fn new(capacity: usize) -> ByteQueue {
        ByteQueue {
            capacity,
            inbound: Mutex::new(Inbound {
                armed: true,
                ..Inbound::default()
            }),
            outbound: Mutex::default(),
            waiting: AtomicUsize::new(0),
            wake: WakeSlot::default(),
        }
    }

    /// Bytes sent and not yet received.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether `count` more bytes fit. A record larger than the whole capacity fits into an empty queue.
    pub fn fits(&self, count: usize) -> bool {
        let waiting = self.waiting();
        waiting == 0 || waiting + count <= self.capacity
    }

    /// The bound given at the start.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What wakes the receiver. If records wait already it is called at once, as their own wake-up met nobody.
    pub fn set_wake(&self, wake: Wake) {
        self.wake.set(wake);
        if self.waiting() > 0 {
            lock(&self.inbound).armed = false;
            self.wake.wake();
        }
    }

    /// After this, the callback is not called again.
    pub fn clear_wake(&self) {
        self.wake.clear();
    }

    /// Takes all of `records`, whatever the bound, and leaves it empty; does not wake.
    pub fn append(&self, records: &mut Vec<u8>) {
        if records.is_empty() {
            return;
        }
        let mut inbound = lock(&self.inbound);
        self.waiting.fetch_add(records.len(), Ordering::AcqRel);
        let fresh = match inbound.blocks.back_mut() {
            Some(last) if last.len() + records.len() <= BLOCK_BYTES => {
                last.extend_from_slice(records);
                records.clear();
                return;
            }
            _ => std::mem::take(&mut inbound.spare),
        };
        inbound.blocks.push_back(std::mem::replace(records, fresh));
    }

    /// Sends one record given in parts, with `padding` zero bytes after it. False when it does not fit.
    pub fn send(&self, parts: [&[u8]; 2], padding: usize) -> bool {
        let length = parts[0].len() + parts[1].len() + padding;
        let mut inbound = lock(&self.inbound);
        if !self.fits(length) {
            return false;
        }
        self.waiting.fetch_add(length, Ordering::AcqRel);
        let room = inbound
            .blocks
            .back()
            .is_some_and(|last| last.len() + length <= BLOCK_BYTES);
        if !room {
            let fresh = std::mem::take(&mut inbound.spare);
            inbound.blocks.push_back(fresh);
        }
        let block = inbound.blocks.back_mut().expect("a block was pushed");
        block.extend_from_slice(parts[0]);
        block.extend_from_slice(parts[1]);
        block.resize(block.len() + padding, 0);
        let due = std::mem::replace(&mut inbound.armed, false);
        drop(inbound);
        if due {
            self.wake.wake();
        }
        true
    }

    /// Wakes the receiver if records wait and it has not been woken since it found the queue empty.
    pub fn wake_if_due(&self) {
        let mut inbound = lock(&self.inbound);
        if inbound.blocks.is_empty() || !std::mem::replace(&mut inbound.armed, false) {
            return;
        }
        drop(inbound);
        self.wake.wake();
    }

    /// Copies whole records into `into` and returns their bytes; 0 when nothing is left, which arms the wake-up.
    pub fn receive(&self, into: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut outbound = lock(&self.outbound);
        let mut filled = 0;
        loop {
            if outbound.next == outbound.block.len() && !self.next_block(&mut outbound, filled == 0)
            {
                break;
            }
            let rest = &outbound.block[outbound.next..];
            let count = whole_records(rest, into.len() - filled);
            if count == 0 {
                if filled > 0 {
                    break;
                }
                return Err(BufferTooSmall {
                    needed: record_length(rest),
                });
            }
            into[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            outbound.next += count;
        }
        self.waiting.fetch_sub(filled, Ordering::AcqRel);
        Ok(filled)
    }

    /// Moves on to the next block; false when there is none, and then `arm` asks for a wake-up.
    fn next_block(&self, outbound: &mut Outbound, arm: bool) -> bool {
        let mut empty = std::mem::take(&mut outbound.block);
        outbound.next = 0;
        empty.clear();
        let mut inbound = lock(&self.inbound);
        if empty.capacity() > inbound.spare.capacity() && empty.capacity() <= BUFFER_BYTES_KEPT {
            inbound.spare = empty;
        }
        match inbound.blocks.pop_front() {
            Some(block) => {
                outbound.block = block;
                true
            }
            None => {
                inbound.armed |= arm;
                false
            }
        }
    }
}

/// How many of `bytes` are whole records that fit into `room`.
fn whole_records(bytes: &[u8], room: usize) -> usize {
    if bytes.len() <= room {
        return bytes.len();
    }
    let mut count = 0;
    while count < bytes.len() {
        let length = record_length(&bytes[count..]);
        if count + length > room {
            break;
        }
        count += length;
    }
    count
}

fn record_length(record: &[u8]) -> usize {
    u32::from_le_bytes(record[..4].try_into().expect("four bytes")) as usize
}

/// A panic aborts the process, so a poisoned lock is never seen; this keeps `unwrap` out of the callers.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    fn record(length: usize, fill: u8) -> Vec<u8> {
        let mut record = vec![fill; length];
        record[..4].copy_from_slice(&(length as u32).to_le_bytes());
        record
    }

    #[test]
    fn whole_records_arrive_in_order() {
        let queue = ByteQueue::new(1 << 20);
        for (length, fill) in [(8, 1), (24, 2), (16, 3)] {
            assert!(queue.send([&record(length, fill), &[]], 0));
        }
        let mut into = [0u8; 40];
        assert_eq!(queue.receive(&mut into), Ok(32));
        assert_eq!(into[..32], [record(8, 1), record(24, 2)].concat());
        assert_eq!(queue.receive(&mut into), Ok(16));
        assert_eq!(into[..16], record(16, 3));
        assert_eq!(queue.receive(&mut into), Ok(0));
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_full_queue_refuses_until_it_is_read() {
        let queue = ByteQueue::new(32);
        assert!(queue.send([&record(16, 0), &[]], 0));
        assert!(queue.send([&record(16, 0), &[]], 0));
        assert!(!queue.send([&record(8, 0), &[]], 0));
        assert_eq!(queue.receive(&mut [0; 64]), Ok(32));
        assert!(
            queue.send([&record(48, 0), &[]], 0),
            "one record larger than the bound fits into an empty queue"
        );
        assert!(!queue.send([&record(8, 0), &[]], 0));
    }

    #[test]
    fn a_record_that_does_not_fit_is_told() {
        let queue = ByteQueue::new(1 << 20);
        queue.append(&mut record(4096, 7));
        assert_eq!(
            queue.receive(&mut [0; 64]),
            Err(BufferTooSmall { needed: 4096 })
        );
        assert_eq!(queue.receive(&mut [0; 4096]), Ok(4096));
    }

    #[test]
    fn the_receiver_is_woken_once_until_it_found_nothing() {
        let queue = ByteQueue::new(1 << 20);
        let calls = Arc::new(AtomicU32::new(0));
        let seen = calls.clone();
        queue.set_wake(Box::new(move || {
            seen.fetch_add(1, Ordering::Relaxed);
        }));
        let mut into = [0u8; 64];
        for _ in 0..3 {
            assert!(queue.send([&record(16, 0), &[]], 0));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(queue.receive(&mut into), Ok(48));
        queue.append(&mut record(16, 0));
        queue.wake_if_due();
        assert_eq!(calls.load(Ordering::Relaxed), 1, "it is still reading");
        assert_eq!(queue.receive(&mut into), Ok(16));
        assert_eq!(queue.receive(&mut into), Ok(0));
        queue.append(&mut record(16, 0));
        queue.wake_if_due();
        queue.wake_if_due();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        queue.clear_wake();
        assert_eq!(queue.receive(&mut into), Ok(16));
        assert_eq!(queue.receive(&mut into), Ok(0));
        assert!(queue.send([&record(16, 0), &[]], 0));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn records_sent_before_the_receiver_came_wake_it() {
        let queue = ByteQueue::new(64);
        assert!(queue.send([&record(16, 0), &[]], 0));
        let (calls, seen) = std::sync::mpsc::channel();
        queue.set_wake(Box::new(move || calls.send(()).expect("the test waits")));
        assert!(seen.try_recv().is_ok());
        assert!(queue.send([&record(16, 0), &[]], 0));
        assert!(
            seen.try_recv().is_err(),
            "it has been woken and has not read yet"
        );
    }

    #[test]
    fn many_threads_lose_nothing() {
        let queue = Arc::new(ByteQueue::new(4096));
        let senders: Vec<_> = (0..4u8)
            .map(|fill| {
                let queue = queue.clone();
                std::thread::spawn(move || {
                    for _ in 0..2000 {
                        while !queue.send([&record(24, fill), &[]], 0) {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut counts = [0; 4];
        let mut into = [0u8; 240];
        while counts.iter().sum::<u32>() < 8000 {
            let filled = queue.receive(&mut into).expect("records are small");
            for record in into[..filled].chunks(24) {
                counts[record[4] as usize] += 1;
            }
        }
        for sender in senders {
            sender.join().expect("sender");
        }
        assert_eq!(counts, [2000; 4]);
    }
}
