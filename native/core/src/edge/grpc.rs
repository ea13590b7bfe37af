//! The small rules of gRPC over HTTP/2 that a client can see, as grpc-go 1.82 has them.

use std::fmt::Write;

/// gRPC status codes that the edge itself answers with.
pub mod code {
    pub const OK: u8 = 0;
    pub const CANCELED: u8 = 1;
    pub const UNKNOWN: u8 = 2;
    pub const INVALID_ARGUMENT: u8 = 3;
    pub const DEADLINE_EXCEEDED: u8 = 4;
    pub const RESOURCE_EXHAUSTED: u8 = 8;
    pub const UNIMPLEMENTED: u8 = 12;
    pub const INTERNAL: u8 = 13;
}

/// Bytes before each message: a flag for compression and the length.
pub const PREFIX_BYTES: usize = 5;

/// The prefix of a message that is not compressed.
pub fn prefix(length: usize) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [0, a, b, c, d]
}

/// Why `grpc-timeout` is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutFault {
    Short,
    Long,
    Unit,
    Digits,
}

/// Nanoseconds of a `grpc-timeout`.
pub fn parse_timeout(text: &[u8]) -> Result<u64, TimeoutFault> {
    if text.len() < 2 {
        return Err(TimeoutFault::Short);
    }
    if text.len() > 9 {
        return Err(TimeoutFault::Long);
    }
    let (digits, unit) = text.split_at(text.len() - 1);
    let unit: u64 = match unit[0] {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return Err(TimeoutFault::Unit),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(TimeoutFault::Digits);
    }
    let count = digits
        .iter()
        .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(count.saturating_mul(unit))
}

/// The status message for a malformed `grpc-timeout`.
pub fn timeout_fault_text(fault: TimeoutFault, text: &[u8]) -> String {
    let why = match fault {
        TimeoutFault::Short => format!(
            "transport: timeout string is too short: {}",
            go_quoted(text)
        ),
        TimeoutFault::Long => format!("transport: timeout string is too long: {}", go_quoted(text)),
        TimeoutFault::Unit => format!(
            "transport: timeout unit is not recognized: {}",
            go_quoted(text)
        ),
        TimeoutFault::Digits => {
            format!(
                "strconv.ParseUint: parsing {}: invalid syntax",
                go_quoted(&text[..text.len() - 1])
            )
        }
    };
    format!("malformed grpc-timeout: {why}")
}

/// What follows "application/grpc" and its separator; `None` when it is another content type.
pub fn content_subtype(content_type: &[u8]) -> Option<&[u8]> {
    match content_type.strip_prefix(b"application/grpc")? {
        [] => Some(&[]),
        [b'+' | b';', subtype @ ..] => Some(subtype),
        _ => None,
    }
}

/// Appends a status message as `grpc-message` carries it: printable ASCII, all else as %XX.
pub fn percent_encode(message: &[u8], into: &mut Vec<u8>) {
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'%';
    if message.iter().all(plain) {
        return into.extend_from_slice(message);
    }
    for byte in String::from_utf8_lossy(message).as_bytes() {
        if plain(byte) {
            into.push(*byte);
        } else {
            into.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

/// The text as Go's `%q` prints it.
pub fn go_quoted(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            put_quoted(&mut quoted, character);
        }
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

fn put_quoted(quoted: &mut String, character: char) {
    match character {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        '\x07' => quoted.push_str("\\a"),
        '\x08' => quoted.push_str("\\b"),
        '\x0c' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\x0b' => quoted.push_str("\\v"),
        control if control.is_ascii_control() => {
            let _ = write!(quoted, "\\x{:02x}", control as u32);
        }
        control if control.is_control() => {
            let _ = write!(quoted, "\\u{:04x}", control as u32);
        }
        printable => quoted.push(printable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(parse_timeout(b"1S"), Ok(1_000_000_000));
        assert_eq!(parse_timeout(b"99999999n"), Ok(99_999_999));
        assert_eq!(parse_timeout(b"250m"), Ok(250_000_000));
        assert_eq!(parse_timeout(b"0u"), Ok(0));
        assert_eq!(parse_timeout(b"99999999H"), Ok(u64::MAX), "saturates");
        assert_eq!(parse_timeout(b"S"), Err(TimeoutFault::Short));
        assert_eq!(parse_timeout(b"123456789S"), Err(TimeoutFault::Long));
        assert_eq!(parse_timeout(b"10s"), Err(TimeoutFault::Unit));
        assert_eq!(parse_timeout(b"-1S"), Err(TimeoutFault::Digits));
        assert_eq!(
            timeout_fault_text(TimeoutFault::Digits, b"-1S"),
            "malformed grpc-timeout: strconv.ParseUint: parsing \"-1\": invalid syntax"
        );
    }

    #[test]
    fn percent_encoding() {
        let encoded = |message: &[u8]| {
            let mut into = Vec::new();
            percent_encode(message, &mut into);
            String::from_utf8(into).expect("ASCII")
        };
        assert_eq!(
            encoded(b"etcdserver: key is not provided"),
            "etcdserver: key is not provided"
        );
        assert_eq!(encoded(b"100%\n"), "100%25%0A");
        assert_eq!(encoded("schlüssel".as_bytes()), "schl%C3%BCssel");
        assert_eq!(encoded(b"\xff"), "%EF%BF%BD");
        assert_eq!(encoded(b""), "");
    }

    #[test]
    fn content_types() {
        assert_eq!(content_subtype(b"application/grpc"), Some(&b""[..]));
        assert_eq!(
            content_subtype(b"application/grpc+proto"),
            Some(&b"proto"[..])
        );
        assert_eq!(content_subtype(b"application/grpc;v=1"), Some(&b"v=1"[..]));
        assert_eq!(content_subtype(b"application/grpcweb"), None);
        assert_eq!(content_subtype(b"application/json"), None);
    }

    #[test]
    fn quoting_as_go() {
        assert_eq!(
            go_quoted(b"a\"b\\c\n\x01\xffd"),
            "\"a\\\"b\\\\c\\n\\x01\\xffd\""
        );
        assert_eq!(go_quoted("ü\u{7f}".as_bytes()), "\"ü\\x7f\"");
    }
}
