//! The Huffman code of HPACK (RFC 7541 §5.2, Appendix B), decoding only: we never send Huffman codes.
//!
//! The code is canonical: sorted by length and then by symbol, each code is its predecessor plus one. So the
//! lengths alone define it.

use std::sync::LazyLock;

/// Bits of each byte's code.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Codes up to this long are found by one look-up.
const FAST_BITS: u32 = 9;
const LENGTH_MAX: usize = 30;

struct Tables {
    /// By the next FAST_BITS bits: symbol and length; length 0 when the code is longer.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// By length: the first code of a greater length, left-aligned in 32 bits.
    limit: [u64; LENGTH_MAX + 1],
    /// By length: what to add to a code of that length to find its place in `symbols`.
    offset: [i64; LENGTH_MAX + 1],
    /// All symbols, ordered by code.
    symbols: [u8; 256],
}

static TABLES: LazyLock<Tables> = LazyLock::new(build);

fn build() -> Tables {
    let mut symbols: [u8; 256] = std::array::from_fn(|symbol| symbol as u8);
    symbols.sort_by_key(|&symbol| (LENGTHS[symbol as usize], symbol));
    let mut tables = Tables {
        fast: [(0, 0); 1 << FAST_BITS],
        limit: [0; LENGTH_MAX + 1],
        offset: [0; LENGTH_MAX + 1],
        symbols,
    };
    let mut code = 0u64;
    let mut place = 0;
    for length in 1..=LENGTH_MAX {
        code <<= 1;
        tables.offset[length] = place as i64 - code as i64;
        while place < 256 && LENGTHS[symbols[place] as usize] as usize == length {
            if length as u32 <= FAST_BITS {
                let first = (code as usize) << (FAST_BITS as usize - length);
                let count = 1 << (FAST_BITS as usize - length);
                tables.fast[first..first + count].fill((symbols[place], length as u8));
            }
            code += 1;
            place += 1;
        }
        tables.limit[length] = code << (32 - length);
    }
    tables
}

/// Appends the decoded form of `coded` to `into`. False when it is no valid code: a bit string that no symbol
/// has, the end-of-string symbol, or padding that is longer than 7 bits or not all ones.
pub fn decode(coded: &[u8], into: &mut Vec<u8>) -> bool {
    let tables = &*TABLES;
    let mut bits = 0u64;
    let mut count = 0u32;
    let mut bytes = coded.iter();
    loop {
        while count <= 56 {
            match bytes.next() {
                Some(&byte) => {
                    bits |= u64::from(byte) << (56 - count);
                    count += 8;
                }
                None => break,
            }
        }
        if count == 0 {
            return true;
        }
        let (symbol, length) = match tables.fast[(bits >> (64 - FAST_BITS)) as usize] {
            (_, 0) => match long_code(tables, bits >> 32) {
                Some(found) => found,
                None => return is_padding(bits, count),
            },
            found => found,
        };
        if u32::from(length) > count {
            return is_padding(bits, count);
        }
        into.push(symbol);
        bits <<= length;
        count -= u32::from(length);
    }
}

fn long_code(tables: &Tables, next: u64) -> Option<(u8, u8)> {
    let length =
        (FAST_BITS as usize + 1..=LENGTH_MAX).find(|&length| next < tables.limit[length])?;
    let place = (next >> (32 - length)) as i64 + tables.offset[length];
    Some((tables.symbols[place as usize], length as u8))
}

/// What is left after the last symbol must be fewer than 8 bits, all ones.
fn is_padding(bits: u64, count: u32) -> bool {
    count < 8 && bits >> (64 - count) == (1 << count) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex"))
            .collect()
    }

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut into = Vec::new();
        decode(&hex(text), &mut into).then_some(into)
    }

    #[test]
    fn examples_of_rfc_7541_appendix_c() {
        assert_eq!(
            decoded("f1e3c2e5f23a6ba0ab90f4ff").expect("valid"),
            b"www.example.com"
        );
        assert_eq!(decoded("a8eb10649cbf").expect("valid"), b"no-cache");
        assert_eq!(
            decoded("d07abe941054d444a8200595040b8166e082a62d1bff").expect("valid"),
            b"Mon, 21 Oct 2013 20:13:21 GMT"
        );
        assert_eq!(
            decoded("9d29ad171863c78f0b97c8e9ae82ae43d3").expect("valid"),
            b"https://www.example.com"
        );
    }

    #[test]
    fn every_byte_has_a_code_that_decodes_to_it() {
        let mut order: Vec<u8> = (0..=255).collect();
        order.sort_by_key(|&symbol| (LENGTHS[symbol as usize], symbol));
        let (mut code, mut length) = (0u64, LENGTHS[order[0] as usize]);
        for symbol in order {
            code <<= LENGTHS[symbol as usize] - length;
            length = LENGTHS[symbol as usize];
            let bits = code << (40 - length) | ((1u64 << (40 - length)) - 1);
            let bytes = bits.to_be_bytes();
            let used = 3 + usize::from(length).div_ceil(8);
            let mut into = Vec::new();
            assert!(decode(&bytes[3..used], &mut into), "symbol {symbol}");
            assert_eq!(into, [symbol]);
            code += 1;
        }
    }

    #[test]
    fn bad_padding_and_the_end_of_string_are_refused() {
        assert_eq!(decoded("ff"), None, "eight bits of padding");
        assert_eq!(decoded("a8eb10649cb0"), None, "padding with zeros");
        assert_eq!(decoded("ffffffff"), None, "the end-of-string symbol");
        assert_eq!(decoded("").expect("empty is valid"), b"");
    }
}
