//! The bytes of a call that wait to be sent, in chunks: a long message is neither moved nor copied on its way.

use std::collections::VecDeque;

/// What is short goes behind what is already there, up to this size of a chunk.
const CHUNK_BYTES: usize = 64 << 10;
/// An empty buffer larger than this is given back to the allocator.
const BUFFER_BYTES_KEPT: usize = 16 << 10;

/// See the module.
#[derive(Default)]
pub struct Outgoing {
    /// None is empty, unless it is the only one.
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are taken.
    start: usize,
    length: usize,
}

impl Outgoing {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.length
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends a copy of `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        match self.chunks.back_mut() {
            Some(last) if last.is_empty() || last.len() + bytes.len() <= CHUNK_BYTES => {
                last.extend_from_slice(bytes);
            }
            _ => self.chunks.push_back(bytes.to_vec()),
        }
    }

    /// Appends all that `other` holds.
    pub fn append(&mut self, other: Outgoing) {
        self.length += other.length;
        debug_assert_eq!(other.start, 0);
        let chunks = other.chunks.into_iter().filter(|chunk| !chunk.is_empty());
        if self.chunks.back().is_some_and(Vec::is_empty) {
            self.chunks.clear();
        }
        self.chunks.extend(chunks);
    }

    /// The bytes at the front that lie together, at most `max`.
    pub fn front(&self, max: usize) -> &[u8] {
        let Some(first) = self.chunks.front() else {
            return &[];
        };
        let rest = &first[self.start..];
        &rest[..rest.len().min(max)]
    }

    /// `count` bytes, of those that `front` has shown, are sent.
    pub fn take(&mut self, count: usize) {
        self.start += count;
        self.length -= count;
        if self.start < self.chunks[0].len() {
            return;
        }
        self.start = 0;
        if self.chunks.len() > 1 {
            self.chunks.pop_front();
        } else {
            self.clear();
        }
    }

    /// Drops everything; a buffer of usual size is kept for what comes next.
    pub fn clear(&mut self) {
        self.chunks.truncate(1);
        if let Some(first) = self.chunks.front_mut() {
            first.clear();
            first.shrink_to(BUFFER_BYTES_KEPT);
        }
        self.start = 0;
        self.length = 0;
    }

    /// Drops everything, for another call to use; a buffer larger than `bytes_kept` goes, too.
    pub fn reset(&mut self, bytes_kept: usize) {
        self.clear();
        self.chunks
            .retain(|chunk| chunk.capacity() > 0 && chunk.capacity() <= bytes_kept);
        self.chunks.shrink_to_fit();
    }

    /// Bytes that its buffers take.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all bytes, at most `max` at a time.
    fn drain(from: &mut Outgoing, max: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !from.is_empty() {
            let part = from.front(max).to_vec();
            assert!(!part.is_empty() && part.len() <= max);
            from.take(part.len());
            all.extend(part);
        }
        assert_eq!(from.front(max), &[] as &[u8]);
        all
    }

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let mut out = Outgoing::default();
        let mut expected = Vec::new();
        for (round, max) in [1000, 7, 1 << 20].into_iter().enumerate() {
            for length in [3, 70_000, 5, 100, CHUNK_BYTES, 1] {
                let bytes: Vec<u8> = (0..length).map(|i| (i + round) as u8).collect();
                out.extend(&bytes);
                expected.extend(bytes);
            }
            let mut parts = Outgoing::default();
            parts.extend(&[1; 90_000]);
            parts.extend(&[2; 3]);
            out.append(parts);
            expected.extend([1; 90_000]);
            expected.extend([2; 3]);
            assert_eq!(out.len(), expected.len());
            assert_eq!(drain(&mut out, max), std::mem::take(&mut expected));
            assert!(out.capacity() <= BUFFER_BYTES_KEPT);
        }
    }

    #[test]
    fn what_is_appended_goes_behind_an_empty_buffer_too() {
        let mut out = Outgoing::default();
        out.extend(b"a");
        out.take(1);
        let mut parts = Outgoing::default();
        parts.extend(b"bc");
        out.append(parts);
        out.append(Outgoing::default());
        out.extend(b"d");
        assert_eq!(drain(&mut out, 10), b"bcd");
    }
}
