//! What a bucket holds in two numbers, so that entries that are lost or stale as a whole page are noticed, too.

use super::{Fault, damaged};

/// Sums are kept modulo this: JavaScript's numbers are exact so far.
const SUM_MODULUS: u64 = 1 << 48;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    pub count: u64,
    pub sum: u64,
}

impl Digest {
    pub fn add(&mut self, checksum: u32) {
        self.count += 1;
        self.sum = (self.sum + u64::from(checksum)) % SUM_MODULUS;
    }
}

/// The digests as they were written with the last transaction.
#[derive(Debug, Default)]
pub struct Expected {
    pub consistent_index: u64,
    buckets: Vec<(Vec<u8>, Digest)>,
}

impl Expected {
    /// Of nothing when nothing was ever written.
    pub fn decode(stored: Option<&[u8]>) -> Result<Self, Fault> {
        let Some(bytes) = stored else {
            return Ok(Self::default());
        };
        match Self::parse(bytes) {
            Some(expected) => Ok(expected),
            None => damaged("the digests of the buckets are not readable"),
        }
    }

    /// Index (8 bytes, little-endian), then of each bucket: length of its name (1), name, count (8), sum (8).
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (index, mut rest) = bytes.split_first_chunk::<8>()?;
        let mut buckets = Vec::new();
        while let Some((&length, tail)) = rest.split_first() {
            let (name, tail) = tail.split_at_checked(length.into())?;
            let (count, tail) = tail.split_first_chunk::<8>()?;
            let (sum, tail) = tail.split_first_chunk::<8>()?;
            let digest = Digest {
                count: u64::from_le_bytes(*count),
                sum: u64::from_le_bytes(*sum),
            };
            buckets.push((name.to_vec(), digest));
            rest = tail;
        }
        Some(Self {
            consistent_index: u64::from_le_bytes(*index),
            buckets,
        })
    }

    pub fn check(&self, name: &[u8], bucket: &str, found: &Digest) -> Result<(), Fault> {
        let expected = self.buckets.iter().find(|(other, _)| other == name);
        let expected = expected.map_or_else(Digest::default, |(_, digest)| *digest);
        if *found == expected {
            return Ok(());
        }
        damaged(format!(
            "bucket \"{bucket}\" has {} entries of sum {:x}, written were {} of sum {:x}",
            found.count, found.sum, expected.count, expected.sum
        ))
    }
}
