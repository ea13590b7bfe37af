//! HTTP/1.0 for a server that takes only HTTP/1.1: the request of a client that speaks 1.0, as load balancers' health
//! checks do, is given to it as one of 1.1 after which the connection closes.
//!
//! Only a connection's first request is looked at: there is no other after it.

/// A request line longer than this is left to the HTTP server to refuse.
const LINE_BYTES_MAX: usize = 8 << 10;
/// Header fields longer than this, likewise.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What a connection's first bytes are to the HTTP server.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    /// They do not tell yet.
    Unknown,
    /// Not HTTP/1.0.
    AsIs,
    /// HTTP/1.0: these are to be sent instead.
    Instead(Vec<u8>),
}

/// Looks at the first bytes of a connection.
pub fn start(bytes: &[u8]) -> Start {
    let Some(line_end) = bytes.iter().position(|&byte| byte == b'\n') else {
        return unknown_below(LINE_BYTES_MAX, bytes);
    };
    if !bytes[..line_end].ends_with(b" HTTP/1.0\r") {
        return Start::AsIs;
    }
    let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return unknown_below(HEAD_BYTES_MAX, bytes);
    };
    let (version_end, fields) = (line_end - 2, &bytes[line_end + 1..head_end + 2]);
    let mut out = Vec::with_capacity(bytes.len() + 64);
    out.extend_from_slice(&bytes[..version_end]);
    out.extend_from_slice(b"1\r\nConnection: close\r\n");
    let mut has_host = false;
    for field in fields.split_inclusive(|&byte| byte == b'\n') {
        has_host |= is(field, b"host");
        if !is(field, b"connection") {
            out.extend_from_slice(field);
        }
    }
    if !has_host {
        out.extend_from_slice(b"Host: \r\n");
    }
    out.extend_from_slice(&bytes[head_end + 2..]);
    Start::Instead(out)
}

fn unknown_below(bytes_max: usize, bytes: &[u8]) -> Start {
    if bytes.len() < bytes_max {
        Start::Unknown
    } else {
        Start::AsIs
    }
}

/// Whether a header field has this name.
fn is(field: &[u8], name: &[u8]) -> bool {
    field.get(name.len()) == Some(&b':') && field[..name.len()].eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instead(text: &str) -> String {
        match start(text.as_bytes()) {
            Start::Instead(bytes) => String::from_utf8(bytes).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_of_1_0_becomes_one_of_1_1() {
        assert_eq!(
            instead("GET /a HTTP/1.0\r\n\r\n"),
            "GET /a HTTP/1.1\r\nConnection: close\r\nHost: \r\n\r\n"
        );
        assert_eq!(
            instead(
                "POST / HTTP/1.0\r\nhOst: x\r\nCONNECTION: keep-alive\r\nHostile: y\r\nContent-Length: 2\r\n\r\nhi"
            ),
            "POST / HTTP/1.1\r\nConnection: close\r\nhOst: x\r\nHostile: y\r\nContent-Length: 2\r\n\r\nhi"
        );
    }

    #[test]
    fn all_else_is_left_as_it_is_once_it_is_told_apart() {
        let whole = "GET /a HTTP/1.0\r\nHost: x\r\n\r\n";
        for length in 0..whole.len() {
            assert_eq!(start(&whole.as_bytes()[..length]), Start::Unknown);
        }
        for text in [
            "GET / HTTP/1.1\r\n",
            "GET /\r\n",
            "\n",
            "GET / HTTP/1.0\n\n",
        ] {
            assert_eq!(start(text.as_bytes()), Start::AsIs);
        }
        assert_eq!(start(&vec![b'a'; LINE_BYTES_MAX]), Start::AsIs);
        let mut endless = b"GET / HTTP/1.0\r\n".to_vec();
        endless.resize(HEAD_BYTES_MAX, b'a');
        assert_eq!(start(&endless), Start::AsIs);
    }
}
