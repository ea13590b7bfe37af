//! Memory for direct I/O.

use super::codec::BLOCK_BYTES;

/// Growable bytes that start at a multiple of 4096, with room up to a multiple of 4096.
#[derive(Debug)]
pub struct AlignedBuffer {
    store: Vec<u8>,
    /// Where in `store` the aligned part starts.
    start: usize,
    capacity: usize,
    length: usize,
}

impl AlignedBuffer {
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
        let store = vec![0; capacity + BLOCK_BYTES];
        let start = store.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start < BLOCK_BYTES, "memory cannot be aligned");
        Self {
            store,
            start,
            capacity,
            length: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sets the length; bytes that come in are whatever they were.
    pub fn set_len(&mut self, length: usize) {
        if length > self.capacity {
            self.grow(length);
        }
        self.length = length;
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        let from = self.length;
        self.set_len(from + bytes.len());
        self.as_mut()[from..].copy_from_slice(bytes);
    }

    #[cold]
    fn grow(&mut self, length: usize) {
        let mut larger = Self::new(length.max(self.capacity * 2));
        larger.length = self.length;
        larger.as_mut().copy_from_slice(self.as_ref());
        *self = larger;
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.store[self.start..self.start + self.length]
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.store[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_aligned_while_it_grows() {
        let mut buffer = AlignedBuffer::new(1);
        for i in 0..20_000u32 {
            buffer.extend(&i.to_le_bytes());
            assert_eq!(buffer.as_ref().as_ptr() as usize % BLOCK_BYTES, 0);
        }
        assert!(
            buffer
                .as_ref()
                .chunks_exact(4)
                .enumerate()
                .all(|(i, word)| word == (i as u32).to_le_bytes())
        );
        assert_eq!(buffer.capacity() % BLOCK_BYTES, 0);
    }
}
