//! HTTP/2 frames (RFC 9113 §4, §6): their header, their names, and the writing of the short ones.

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 9;
/// The largest payload that we take, and the largest that we send.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;
/// A flow-control window may never pass this.
pub const WINDOW_MAX: i64 = 0x7fff_ffff;
/// Both windows before any SETTINGS.
pub const WINDOW_DEFAULT: u32 = 65_535;
/// What a client with prior knowledge sends first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags.
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Identifiers in a SETTINGS frame.
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
}

/// Error codes (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    NoError = 0,
    Protocol = 1,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// Why a connection must end: the code and the debug text of its GOAWAY.
#[derive(Debug, PartialEq, Eq)]
pub struct Fatal {
    pub reason: Reason,
    pub text: &'static str,
}

impl Fatal {
    pub fn new(reason: Reason, text: &'static str) -> Fatal {
        Fatal { reason, text }
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`, which hold at least `HEADER_BYTES`.
    pub fn read(bytes: &[u8]) -> Header {
        Header {
            length: usize::from(bytes[0]) << 16
                | usize::from(bytes[1]) << 8
                | usize::from(bytes[2]),
            kind: bytes[3],
            flags: bytes[4],
            stream: read_u32(&bytes[5..]) & 0x7fff_ffff,
        }
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A big-endian number at the start of `bytes`.
pub fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Appends a frame's header.
pub fn put_header(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
}

/// Appends a frame whose payload is one number.
fn put_number(out: &mut Vec<u8>, kind: u8, stream: u32, number: u32) {
    put_header(out, 4, kind, 0, stream);
    out.extend_from_slice(&number.to_be_bytes());
}

pub fn put_reset(out: &mut Vec<u8>, stream: u32, reason: Reason) {
    put_number(out, kind::RST_STREAM, stream, reason as u32);
}

pub fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put_number(out, kind::WINDOW_UPDATE, stream, increment);
}

pub fn put_ping(out: &mut Vec<u8>, ack: bool, data: &[u8; 8]) {
    put_header(out, 8, kind::PING, if ack { flag::ACK } else { 0 }, 0);
    out.extend_from_slice(data);
}

pub fn put_settings_ack(out: &mut Vec<u8>) {
    put_header(out, 0, kind::SETTINGS, flag::ACK, 0);
}

pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    put_header(out, settings.len() * 6, kind::SETTINGS, 0, 0);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub fn put_goaway(out: &mut Vec<u8>, last_stream: u32, reason: Reason, text: &str) {
    put_header(out, 8 + text.len(), kind::GOAWAY, 0, 0);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&(reason as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_round_trips() {
        let mut out = Vec::new();
        put_header(
            &mut out,
            0x01_02_03,
            kind::DATA,
            flag::END_STREAM,
            0x7fff_fff1,
        );
        assert_eq!(out.len(), HEADER_BYTES);
        let header = Header::read(&out);
        assert_eq!(
            header,
            Header {
                length: 0x01_02_03,
                kind: 0,
                flags: 1,
                stream: 0x7fff_fff1
            }
        );
    }

    #[test]
    fn the_reserved_bit_of_a_stream_is_ignored() {
        assert_eq!(Header::read(&[0, 0, 0, 0, 0, 0x80, 0, 0, 5]).stream, 5);
    }
}
