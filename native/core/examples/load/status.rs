//! Finds `grpc-status` in the header blocks of one connection's answers.
//!
//! An HPACK decoder (RFC 7541) that looks at nothing else: other fields are kept as "something else", and strings
//! are compared in their encoded form. Entries are never evicted: an index counts from the newest entry, so
//! entries that the sender has evicted are only never named again.

use std::collections::VecDeque;

/// Entries of the default table: 4,096 bytes of at least 32 each.
const ENTRIES_MAX: usize = 128;
const STATIC_ENTRIES: usize = 61;
/// The highest gRPC status code.
const CODE_MAX: u8 = 16;
/// What `Status::code` is when the value is no status code.
pub const UNREADABLE: u8 = 254;

#[derive(Clone, Copy)]
enum Entry {
    Status(u8),
    Other,
}

/// See the module.
pub struct StatusReader {
    /// Newest first.
    table: VecDeque<Entry>,
    name: Encodings,
    codes: Vec<Encodings>,
}

/// A text as it is, and in the Huffman code.
struct Encodings {
    plain: Vec<u8>,
    huffman: Vec<u8>,
}

impl Encodings {
    fn of(text: &str) -> Encodings {
        Encodings {
            plain: text.as_bytes().to_vec(),
            huffman: huffman(text),
        }
    }

    fn is(&self, string: &Encoded) -> bool {
        *string.bytes
            == *(if string.huffman {
                &self.huffman
            } else {
                &self.plain
            })
    }
}

struct Encoded<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

impl StatusReader {
    pub fn new() -> StatusReader {
        let codes = (0..=CODE_MAX)
            .map(|code| Encodings::of(&code.to_string()))
            .collect();
        StatusReader {
            table: VecDeque::new(),
            name: Encodings::of("grpc-status"),
            codes,
        }
    }

    /// The status in this block. All blocks of a connection must pass here. Panics on a broken one.
    pub fn read(&mut self, block: &[u8]) -> Option<u8> {
        let mut rest = block;
        let mut found = None;
        while let Some(&first) = rest.first() {
            let entry = if first & 0x80 != 0 {
                let index = integer(&mut rest, 7);
                self.entry(index)
            } else if first & 0xe0 == 0x20 {
                integer(&mut rest, 5);
                continue;
            } else {
                let kept = first & 0x40 != 0;
                let index = integer(&mut rest, if kept { 6 } else { 4 });
                let entry = self.literal(index, &mut rest);
                if kept {
                    self.table.push_front(entry);
                    self.table.truncate(ENTRIES_MAX);
                }
                entry
            };
            if let Entry::Status(code) = entry {
                found = Some(code);
            }
        }
        found
    }

    fn entry(&self, index: usize) -> Entry {
        if index <= STATIC_ENTRIES {
            Entry::Other
        } else {
            self.table[index - STATIC_ENTRIES - 1]
        }
    }

    fn literal(&self, index: usize, rest: &mut &[u8]) -> Entry {
        let is_status = if index == 0 {
            self.name.is(&string(rest))
        } else {
            matches!(self.entry(index), Entry::Status(_))
        };
        let value = string(rest);
        if !is_status {
            return Entry::Other;
        }
        let code = self.codes.iter().position(|code| code.is(&value));
        Entry::Status(code.map_or(UNREADABLE, |code| code as u8))
    }
}

fn integer(rest: &mut &[u8], prefix_bits: u32) -> usize {
    let mask = (1 << prefix_bits) - 1;
    let mut value = rest[0] as usize & mask;
    *rest = &rest[1..];
    if value < mask {
        return value;
    }
    let mut shift = 0;
    loop {
        let byte = rest[0] as usize;
        *rest = &rest[1..];
        value += (byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

fn string<'a>(rest: &mut &'a [u8]) -> Encoded<'a> {
    let huffman = rest[0] & 0x80 != 0;
    let length = integer(rest, 7);
    let (bytes, after) = rest.split_at(length);
    *rest = after;
    Encoded { huffman, bytes }
}

/// Encodes a text of the few characters that occur here (RFC 7541, Appendix B).
fn huffman(text: &str) -> Vec<u8> {
    let mut bits = String::new();
    for character in text.chars() {
        bits += match character {
            '0' => "00000",
            '1' => "00001",
            '2' => "00010",
            'a' => "00011",
            'c' => "00100",
            's' => "01000",
            't' => "01001",
            '-' => "010110",
            '3' => "011001",
            '4' => "011010",
            '5' => "011011",
            '6' => "011100",
            '7' => "011101",
            '8' => "011110",
            '9' => "011111",
            'g' => "100110",
            'p' => "101011",
            'r' => "101100",
            'u' => "101101",
            _ => unreachable!("no code for {character}"),
        };
    }
    // The rest of the last byte is filled with ones.
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    let byte = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).expect("binary digits");
    (0..bits.len()).step_by(8).map(byte).collect()
}
