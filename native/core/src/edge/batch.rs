//! The binary batches that cross to and from JavaScript; twin of `src/native/call-batch.ts` and
//! `src/native/reply-batch.ts`, which describe the layout.

/// What a call record says.
pub mod call_kind {
    pub const CALL: u8 = 1;
    pub const MESSAGE: u8 = 2;
    pub const HALF_CLOSE: u8 = 3;
    pub const CANCEL: u8 = 4;
    pub const CONNECT: u8 = 5;
    pub const DISCONNECT: u8 = 6;
    pub const WRITABLE: u8 = 7;
    pub const SLOW: u8 = 8;
}

/// Bits of a call record's flags.
pub mod call_flag {
    pub const REQUIRE_LEADER: u8 = 1;
    pub const GATEWAY: u8 = 2;
    pub const BAD_CLIENT_API_VERSION: u8 = 4;
}

/// Tags of a call record's metadata.
pub mod tag {
    pub const TOKEN: u8 = 1;
    pub const CLIENT_API_VERSION: u8 = 2;
    pub const REMOTE_ADDRESS: u8 = 3;
}

/// What a reply record says.
pub mod reply_kind {
    pub const MESSAGE: u8 = 1;
    pub const END: u8 = 2;
    #[cfg(test)]
    pub const MESSAGE_AND_END: u8 = 3;
    pub const PART: u8 = 4;
    pub const LAST_PART: u8 = 5;
}

pub const CALL_HEADER_BYTES: usize = 32;
pub const REPLY_HEADER_BYTES: usize = 16;
/// Call IDs with this bit belong to the JSON gateway.
pub const GATEWAY_CALL_BIT: u32 = 0x8000_0000;

/// One record on its way to JavaScript.
pub struct CallRecord<'a> {
    pub call_id: u32,
    pub kind: u8,
    pub flags: u8,
    pub method: u16,
    pub connection: u32,
    pub arrival: u32,
    /// Encoded by `put_metadata`.
    pub metadata: &'a [u8],
    pub message: &'a [u8],
}

impl CallRecord<'_> {
    /// Appends the record.
    pub fn put(&self, out: &mut Vec<u8>) {
        let length = (CALL_HEADER_BYTES + self.metadata.len() + self.message.len() + 7) & !7;
        let end = out.len() + length;
        out.reserve(length);
        let mut header = [0; CALL_HEADER_BYTES];
        header[0..4].copy_from_slice(&(length as u32).to_le_bytes());
        header[4..8].copy_from_slice(&self.call_id.to_le_bytes());
        header[8] = self.kind;
        header[9] = self.flags;
        header[10..12].copy_from_slice(&self.method.to_le_bytes());
        header[12..16].copy_from_slice(&(self.message.len() as u32).to_le_bytes());
        header[16..20].copy_from_slice(&(self.metadata.len() as u32).to_le_bytes());
        header[20..24].copy_from_slice(&self.connection.to_le_bytes());
        header[24..28].copy_from_slice(&self.arrival.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(self.metadata);
        out.extend_from_slice(self.message);
        out.resize(end, 0);
    }
}

/// Appends one metadata value; what is longer than 65,535 bytes is cut.
pub fn put_metadata(metadata: &mut Vec<u8>, tag: u8, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    let [low, high] = (value.len() as u16).to_le_bytes();
    metadata.extend_from_slice(&[tag, 0, low, high]);
    metadata.extend_from_slice(value);
}

/// One record from JavaScript.
#[derive(Debug, PartialEq, Eq)]
pub struct ReplyRecord<'a> {
    pub call_id: u32,
    pub kind: u8,
    /// gRPC status of an end; of a message, or its last part: 1 asks for a Writable record; of a part: 1 drops those
    /// before.
    pub code: u8,
    pub message: &'a [u8],
    pub status: &'a [u8],
    /// Where the next record starts.
    pub length: usize,
}

impl ReplyRecord<'_> {
    /// Reads the record at the start of `bytes`; `None` when the lengths in it do not add up.
    pub fn read(bytes: &[u8]) -> Option<ReplyRecord<'_>> {
        let header = bytes.get(..REPLY_HEADER_BYTES)?;
        let length = read_u32(header) as usize;
        let record = bytes.get(..length)?;
        let status_length = usize::from(u16::from_le_bytes([header[10], header[11]]));
        let message_length = read_u32(&header[12..]) as usize;
        let message_end = REPLY_HEADER_BYTES.checked_add(message_length)?;
        Some(ReplyRecord {
            call_id: read_u32(&header[4..]),
            kind: header[8],
            code: header[9],
            message: record.get(REPLY_HEADER_BYTES..message_end)?,
            status: record.get(message_end..message_end + status_length)?,
            length,
        })
    }
}

/// Length and call ID at the start of a record of either kind; `None` at the end or when it is cut short.
pub fn peek(bytes: &[u8]) -> Option<(usize, u32)> {
    let header = bytes.get(..8)?;
    let length = read_u32(header) as usize;
    (length >= 8 && length <= bytes.len()).then(|| (length, read_u32(&header[4..])))
}

fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_record_is_laid_out_as_described() {
        let mut metadata = Vec::new();
        put_metadata(&mut metadata, tag::TOKEN, b"abc");
        let mut out = Vec::new();
        let record = CallRecord {
            call_id: 0x0102_0304,
            kind: call_kind::CALL,
            flags: call_flag::REQUIRE_LEADER,
            method: 0x0506,
            connection: 9,
            arrival: 10,
            metadata: &metadata,
            message: b"hello",
        };
        record.put(&mut out);
        assert_eq!(out.len(), 48);
        assert_eq!(out[..16], [48, 0, 0, 0, 4, 3, 2, 1, 1, 1, 6, 5, 5, 0, 0, 0]);
        assert_eq!(
            out[16..32],
            [7, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(out[32..48], *b"\x01\0\x03\0abchello\0\0\0\0");
        assert_eq!(peek(&out), Some((48, 0x0102_0304)));
    }

    fn reply(call_id: u32, kind: u8, code: u8, message: &[u8], status: &[u8]) -> Vec<u8> {
        let length = (REPLY_HEADER_BYTES + message.len() + status.len() + 7) & !7;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
        bytes.extend_from_slice(&call_id.to_le_bytes());
        bytes.extend_from_slice(&[kind, code]);
        bytes.extend_from_slice(&(status.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(message.len() as u32).to_le_bytes());
        bytes.extend_from_slice(message);
        bytes.extend_from_slice(status);
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn reply_records_round_trip() {
        let first = reply(7, reply_kind::MESSAGE_AND_END, 0, b"payload", b"");
        let second = reply(8, reply_kind::END, 3, b"", b"bad");
        let bytes = [first.clone(), second].concat();
        let read = ReplyRecord::read(&bytes).expect("whole");
        assert_eq!(
            (read.call_id, read.kind, read.code),
            (7, reply_kind::MESSAGE_AND_END, 0)
        );
        assert_eq!(
            (read.message, read.status, read.length),
            (&b"payload"[..], &b""[..], first.len())
        );
        let read = ReplyRecord::read(&bytes[first.len()..]).expect("whole");
        assert_eq!((read.call_id, read.code, read.status), (8, 3, &b"bad"[..]));
    }

    #[test]
    fn reply_records_cut_short_are_refused() {
        let whole = reply(7, reply_kind::END, 3, b"abc", b"status");
        for length in 0..whole.len() {
            assert_eq!(ReplyRecord::read(&whole[..length]), None);
        }
        let mut lying = whole.clone();
        lying[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(ReplyRecord::read(&lying), None);
    }
}
