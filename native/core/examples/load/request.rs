//! The bytes of one request: a HEADERS and a DATA frame, of which only stream ID and key change.

use std::ops::Range;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const FRAME_HEADER_BYTES: usize = 9;
const KEY_PREFIX: &[u8] = b"key/";
const KEY_DIGITS: usize = 12;

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Put,
    Range { serializable: bool },
}

impl Call {
    pub fn of(name: &str) -> Option<Call> {
        match name {
            "put" => Some(Call::Put),
            "range" => Some(Call::Range {
                serializable: false,
            }),
            "serializable" => Some(Call::Range { serializable: true }),
            _ => None,
        }
    }

    fn path(self) -> &'static str {
        if self == Call::Put {
            "/etcdserverpb.KV/Put"
        } else {
            "/etcdserverpb.KV/Range"
        }
    }
}

/// A request's bytes for stream 0 and key 0.
struct Frames {
    bytes: Vec<u8>,
    data_at: usize,
    digits: Range<usize>,
}

/// Makes the requests of every connection.
pub struct Requests {
    /// The first of a connection puts its header fields into the server's table, as gRPC's clients do.
    first: Frames,
    next: Frames,
}

impl Requests {
    pub fn new(call: Call, authority: &str, value_bytes: usize) -> Requests {
        let message = message(call, value_bytes);
        Requests {
            first: Frames::of(&first_block(call.path(), authority), &message),
            next: Frames::of(&NEXT_BLOCK, &message),
        }
    }

    /// Bytes that count for flow control.
    pub fn data_bytes(&self) -> usize {
        self.next.bytes.len() - self.next.data_at - FRAME_HEADER_BYTES
    }

    /// Appends the request with this key.
    pub fn write(&self, out: &mut Vec<u8>, stream: u32, key: u64) {
        let frames = if stream == 1 { &self.first } else { &self.next };
        let start = out.len();
        out.extend_from_slice(&frames.bytes);
        let added = &mut out[start..];
        for at in [0, frames.data_at] {
            added[at + 5..at + 9].copy_from_slice(&stream.to_be_bytes());
        }
        let mut rest = key;
        for digit in added[frames.digits.clone()].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

impl Frames {
    fn of(block: &[u8], message: &[u8]) -> Frames {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, HEADERS, END_HEADERS, block);
        let data_at = bytes.len();
        let mut data = vec![0];
        data.extend_from_slice(&(message.len() as u32).to_be_bytes());
        data.extend_from_slice(message);
        put_frame(&mut bytes, DATA, END_STREAM, &data);
        let found = bytes
            .windows(KEY_PREFIX.len())
            .rposition(|window| window == KEY_PREFIX);
        let digits_at = found.expect("the key is there") + KEY_PREFIX.len();
        Frames {
            bytes,
            data_at,
            digits: digits_at..digits_at + KEY_DIGITS,
        }
    }
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
}

fn message(call: Call, value_bytes: usize) -> Vec<u8> {
    let mut message = vec![0x0a, (KEY_PREFIX.len() + KEY_DIGITS) as u8];
    message.extend_from_slice(KEY_PREFIX);
    message.extend_from_slice(&[b'0'; KEY_DIGITS]);
    match call {
        Call::Put => {
            message.push(0x12);
            put_varint(&mut message, value_bytes);
            message.extend((0..value_bytes).map(|i| b'a' + (i % 23) as u8));
        }
        Call::Range { serializable: true } => message.extend_from_slice(&[0x38, 1]),
        Call::Range {
            serializable: false,
        } => {}
    }
    message
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The indexes at which the fields of `first_block` stand in the table afterwards, oldest last.
const NEXT_BLOCK: [u8; 7] = [
    0x83,
    0x86,
    0x80 | 66,
    0x80 | 65,
    0x80 | 64,
    0x80 | 63,
    0x80 | 62,
];

/// `:method POST`, `:scheme http`, and five fields that are to be kept.
fn first_block(path: &str, authority: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name_index, value) in [
        (4, path),
        (1, authority),
        (31, "application/grpc"),
        (58, "etcd-ts-load"),
    ] {
        block.push(0x40 | name_index);
        put_string(&mut block, value);
    }
    block.push(0x40);
    put_string(&mut block, "te");
    put_string(&mut block, "trailers");
    block
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "a header field's length takes one byte");
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
