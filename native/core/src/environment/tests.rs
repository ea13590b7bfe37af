//! Checksums, digests and pages that have rotted. Whole files are damaged in `src/storage/backend/damage.test.ts`.

use super::page::{Page, Place};
use super::*;

/// A small generator, so that the tests need no crate.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn an_entry_is_told_from_one_with_another_bit_or_key() {
    let keys = b"..key.";
    let mut values = *b"value....";
    assert_eq!(
        stamp(keys, &mut values, &[2, 3 | 1 << 31, 0, 5]),
        Some(entry_checksum(b"key", b"value").into())
    );
    assert_eq!(
        split_checked(b"key", &values).map(|(value, _)| value),
        Some(&b"value"[..])
    );
    for bit in 0..values.len() * 8 {
        let mut other = values;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(split_checked(b"key", &other).is_none());
    }
    assert!(split_checked(b"kez", &values).is_none());
    assert!(split_checked(b"key", b"abc").is_none());
}

#[test]
fn a_table_that_points_outside_is_refused() {
    assert_eq!(stamp(b"key", &mut [0; 8], &[0, 4, 0, 4]), None);
    assert_eq!(stamp(b"key", &mut [0; 8], &[0, 3, 0, 5]), None);
    assert_eq!(stamp(b"key", &mut [0; 8], &[0, 3, 4, 3]), None);
}

#[test]
fn pages_of_any_bytes_are_read_without_harm() {
    let mut state = 88_172_645_463_325_252;
    for round in 0..20_000 {
        let mut bytes = vec![0; 512];
        for byte in &mut bytes {
            *byte = random(&mut state).to_le_bytes()[0];
        }
        let number = random(&mut state);
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[18..20].copy_from_slice(&[1 << (round % 2), 0]);
        let lower = 2 * (random(&mut state) % 60) as u16;
        bytes[20..22].copy_from_slice(&lower.to_le_bytes());
        bytes[22..24].copy_from_slice(&(lower + 40).to_le_bytes());
        let page = Page::parse(&bytes, number).expect("the header is sound");
        for i in 0..page.node_count() {
            let Ok(node) = page.node(i) else { continue };
            if let Some(Place::Here(value)) = node.place() {
                assert!(node.key.len() + value.len() <= bytes.len());
            }
        }
    }
}

#[test]
fn digests_that_are_cut_are_refused() {
    let mut bytes = 7_u64.to_le_bytes().to_vec();
    bytes.push(3);
    bytes.extend(b"key");
    bytes.extend(2_u64.to_le_bytes());
    bytes.extend(5_u64.to_le_bytes());
    let expected = Expected::decode(Some(&bytes)).expect("they are whole");
    assert_eq!(expected.consistent_index, 7);
    assert!(
        expected
            .check(b"key", "key", &Digest { count: 2, sum: 5 })
            .is_ok()
    );
    assert!(
        expected
            .check(b"key", "key", &Digest { count: 1, sum: 5 })
            .is_err()
    );
    assert!(
        expected
            .check(b"lease", "lease", &Digest::default())
            .is_ok()
    );
    for cut in (1..bytes.len()).filter(|&cut| cut != 8) {
        assert!(Expected::decode(Some(&bytes[..cut])).is_err());
    }
}
