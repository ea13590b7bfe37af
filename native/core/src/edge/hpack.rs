//! HPACK decoding (RFC 7541): one decoder a connection.
//!
//! Every entry of the dynamic table carries what `classify` made of it, so that a field which a client repeats
//! by its index costs a table look-up and neither an allocation nor a comparison.

use super::field::Field;
use super::huffman;
use std::collections::VecDeque;

/// The dynamic table's size; the default, which we never change.
pub const TABLE_BYTES_MAX: usize = 4096;
/// What an entry counts beyond its name and value (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

/// Receives the decoded fields.
pub trait Sink {
    /// What a field means; asked once for every field that is not yet in a table.
    fn classify(&self, name: &[u8], value: &[u8]) -> Field;
    /// The next field of the block.
    fn field(&mut self, field: Field, name: &[u8], value: &[u8]);
}

/// Bytes of names and values that one block may spell out. A name is spelled out by two bytes where the table has
/// it, so a small block could otherwise cost a second; a block of ordinary literals stays below this.
const LITERAL_BYTES_MAX: usize = 256 << 10;

/// Why a block cannot be decoded; the connection cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not valid HPACK.
    Invalid,
    /// It spells out more than `LITERAL_BYTES_MAX`.
    TooLarge,
}

struct Entry {
    field: Field,
    name_length: usize,
    /// Name, then value.
    text: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        self.text.len() + ENTRY_OVERHEAD
    }
}

/// See the module.
pub struct Decoder {
    /// Newest first.
    table: VecDeque<Entry>,
    table_bytes: usize,
    table_bytes_max: usize,
    name: Vec<u8>,
    value: Vec<u8>,
    /// Bytes that the block under way has spelled out.
    literal_bytes: usize,
}

/// How a literal is kept.
#[derive(PartialEq, Eq)]
enum Indexing {
    Add,
    Leave,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder {
            table: VecDeque::new(),
            table_bytes: 0,
            table_bytes_max: TABLE_BYTES_MAX,
            name: Vec::new(),
            value: Vec::new(),
            literal_bytes: 0,
        }
    }

    /// Bytes that the last block has spelled out.
    pub fn literal_bytes(&self) -> usize {
        self.literal_bytes
    }

    /// Decodes one whole header block.
    pub fn decode(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        let mut rest = block;
        let mut updates_allowed = true;
        self.literal_bytes = 0;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                self.indexed(index, sink)?;
            } else if first & 0xe0 == 0x20 {
                let size = integer(&mut rest, 5)?;
                if !updates_allowed || size > TABLE_BYTES_MAX {
                    return Err(Fault::Invalid);
                }
                self.table_bytes_max = size;
                self.evict(0);
                continue;
            } else if first & 0x40 != 0 {
                let index = integer(&mut rest, 6)?;
                self.literal(index, &mut rest, Indexing::Add, sink)?;
            } else {
                let index = integer(&mut rest, 4)?;
                self.literal(index, &mut rest, Indexing::Leave, sink)?;
            }
            updates_allowed = false;
        }
        Ok(())
    }

    fn indexed(&self, index: usize, sink: &mut impl Sink) -> Result<(), Fault> {
        if index == 0 {
            return Err(Fault::Invalid);
        }
        if let Some(&(name, value)) = STATIC.get(index - 1) {
            sink.field(sink.classify(name, value), name, value);
            return Ok(());
        }
        let entry = self
            .table
            .get(index - 1 - STATIC.len())
            .ok_or(Fault::Invalid)?;
        let (name, value) = entry.text.split_at(entry.name_length);
        sink.field(entry.field, name, value);
        Ok(())
    }

    fn literal(
        &mut self,
        index: usize,
        rest: &mut &[u8],
        indexing: Indexing,
        sink: &mut impl Sink,
    ) -> Result<(), Fault> {
        self.name.clear();
        self.value.clear();
        if index == 0 {
            string(rest, &mut self.name)?;
        } else if let Some(&(name, _)) = STATIC.get(index - 1) {
            self.name.extend_from_slice(name);
        } else {
            let entry = self
                .table
                .get(index - 1 - STATIC.len())
                .ok_or(Fault::Invalid)?;
            self.name
                .extend_from_slice(&entry.text[..entry.name_length]);
        }
        string(rest, &mut self.value)?;
        self.literal_bytes += self.name.len() + self.value.len();
        if self.literal_bytes > LITERAL_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        let field = sink.classify(&self.name, &self.value);
        sink.field(field, &self.name, &self.value);
        if indexing == Indexing::Add {
            self.insert(field);
        }
        Ok(())
    }

    /// Adds the field in `name` and `value` to the table.
    fn insert(&mut self, field: Field) {
        let size = self.name.len() + self.value.len() + ENTRY_OVERHEAD;
        self.evict(size);
        if size > self.table_bytes_max {
            return;
        }
        let text = [self.name.as_slice(), self.value.as_slice()]
            .concat()
            .into_boxed_slice();
        self.table_bytes += size;
        self.table.push_front(Entry {
            field,
            name_length: self.name.len(),
            text,
        });
    }

    /// Makes room for `size` bytes; a size beyond the table's empties it.
    fn evict(&mut self, size: usize) {
        while self.table_bytes + size > self.table_bytes_max {
            match self.table.pop_back() {
                Some(oldest) => self.table_bytes -= oldest.size(),
                None => return,
            }
        }
    }
}

/// A number with a prefix of `bits` bits (RFC 7541 §5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Result<usize, Fault> {
    let (&first, mut tail) = rest.split_first().ok_or(Fault::Invalid)?;
    let mask = (1u8 << bits) - 1;
    let mut number = usize::from(first & mask);
    if first & mask == mask {
        let mut shift = 0;
        loop {
            let (&byte, after) = tail.split_first().ok_or(Fault::Invalid)?;
            tail = after;
            if shift > 21 {
                return Err(Fault::Invalid);
            }
            number += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = tail;
    Ok(number)
}

/// A string literal (RFC 7541 §5.2), appended to `into`.
fn string(rest: &mut &[u8], into: &mut Vec<u8>) -> Result<(), Fault> {
    let coded = rest.first().ok_or(Fault::Invalid)? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, tail) = rest.split_at_checked(length).ok_or(Fault::Invalid)?;
    *rest = tail;
    if !coded {
        into.extend_from_slice(text);
    } else if !huffman::decode(text, into) {
        return Err(Fault::Invalid);
    }
    Ok(())
}

/// The static table (RFC 7541 Appendix A).
#[rustfmt::skip]
static STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"),
    (b":path", b"/index.html"), (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"),
    (b":status", b"204"), (b":status", b"206"), (b":status", b"304"), (b":status", b"400"),
    (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""), (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""), (b"accept-ranges", b""), (b"accept", b""), (b"access-control-allow-origin", b""),
    (b"age", b""), (b"allow", b""), (b"authorization", b""), (b"cache-control", b""),
    (b"content-disposition", b""), (b"content-encoding", b""), (b"content-language", b""), (b"content-length", b""),
    (b"content-location", b""), (b"content-range", b""), (b"content-type", b""), (b"cookie", b""),
    (b"date", b""), (b"etag", b""), (b"expect", b""), (b"expires", b""),
    (b"from", b""), (b"host", b""), (b"if-match", b""), (b"if-modified-since", b""),
    (b"if-none-match", b""), (b"if-range", b""), (b"if-unmodified-since", b""), (b"last-modified", b""),
    (b"link", b""), (b"location", b""), (b"max-forwards", b""), (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""), (b"range", b""), (b"referer", b""), (b"refresh", b""),
    (b"retry-after", b""), (b"server", b""), (b"set-cookie", b""), (b"strict-transport-security", b""),
    (b"transfer-encoding", b""), (b"user-agent", b""), (b"vary", b""), (b"via", b""),
    (b"www-authenticate", b""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct List(Vec<String>);

    impl Sink for List {
        fn classify(&self, _: &[u8], _: &[u8]) -> Field {
            Field::Other
        }
        fn field(&mut self, _: Field, name: &[u8], value: &[u8]) {
            self.0.push(format!(
                "{}: {}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            ));
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hex"))
            .collect()
    }

    fn decode(decoder: &mut Decoder, text: &str) -> Result<Vec<String>, Fault> {
        let mut list = List::default();
        decoder.decode(&hex(text), &mut list).map(|()| list.0)
    }

    #[test]
    fn requests_with_huffman_codes_rfc_7541_c_4() {
        let mut decoder = Decoder::new();
        let first =
            decode(&mut decoder, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff").expect("valid");
        assert_eq!(
            first,
            [
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":authority: www.example.com"
            ]
        );
        let second = decode(&mut decoder, "8286 84be 5886 a8eb 1064 9cbf").expect("valid");
        assert_eq!(
            second[3..],
            [":authority: www.example.com", "cache-control: no-cache"]
        );
        let third = decode(
            &mut decoder,
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        )
        .expect("valid");
        assert_eq!(
            third[3..],
            [":authority: www.example.com", "custom-key: custom-value"]
        );
        assert_eq!(decoder.table_bytes, 164);
    }

    #[test]
    fn responses_with_eviction_rfc_7541_c_6() {
        let mut decoder = Decoder::new();
        decoder.table_bytes_max = 256;
        decode(
            &mut decoder,
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e \
             919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        )
        .expect("valid");
        assert_eq!(decoder.table_bytes, 222);
        let second = decode(&mut decoder, "4883 640e ffc1 c0bf").expect("valid");
        assert_eq!(second[0], ":status: 307");
        assert_eq!(second[3], "location: https://www.example.com");
        assert_eq!(decoder.table_bytes, 222);
    }

    #[test]
    fn broken_blocks_are_refused() {
        for (block, why) in [
            ("80", "index 0"),
            ("be", "an index beyond the tables"),
            ("0f2f", "a name beyond the tables"),
            ("4005 6162", "a string cut short"),
            ("ff80 8080 8080 01", "a number too long"),
            ("3fe2 1f", "a table larger than allowed"),
            ("8220", "a size update after a field"),
        ] {
            assert_eq!(
                decode(&mut Decoder::new(), block),
                Err(Fault::Invalid),
                "{why}"
            );
        }
    }

    #[test]
    fn a_long_name_that_is_spelled_out_by_its_index_again_and_again_is_refused() {
        let mut block = vec![0x40, 127, 0x81, 0x1e];
        block.extend_from_slice(&[b'a'; 127 + 1 + 30 * 128]);
        block.push(0);
        let mut decoder = Decoder::new();
        for times in [40, 70] {
            let mut block = block.clone();
            block.extend_from_slice(&[0x7e, 0].repeat(times));
            let decoded = decoder.decode(&block, &mut List::default());
            let allowed = times < 64;
            assert_eq!(decoded.is_ok(), allowed, "{times} times: {decoded:?}");
        }
        let indexed = [block, vec![0xbe; 100_000]].concat();
        assert_eq!(
            Decoder::new().decode(&indexed, &mut List::default()),
            Ok(()),
            "whole fields of the table cost nothing"
        );
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut decoder = Decoder::new();
        decode(&mut decoder, "4001 6101 62").expect("valid");
        assert_eq!(decoder.table.len(), 1);
        decode(&mut decoder, "3f0d 4001 6301 64").expect("valid");
        assert_eq!((decoder.table_bytes_max, decoder.table.len()), (44, 1));
        decode(
            &mut decoder,
            "400b 6161 6161 6161 6161 6161 6105 6262 6262 62",
        )
        .expect("valid");
        assert_eq!((decoder.table_bytes, decoder.table.len()), (0, 0));
    }
}
