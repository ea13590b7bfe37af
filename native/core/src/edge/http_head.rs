//! Heads of HTTP/1.1 messages: a client's request is read as Go's server reads it, and becomes one that the HTTP
//! server cannot misread; of an answer is read what tells where it ends.
//!
//! Of a request's header fields only those go on that the HTTP server looks at: its own limits on heads are small.
//! A request of HTTP/1.0, as load balancers' health checks send it, becomes one of 1.1 after which the connection
//! closes.

use super::http_body::{Body, Malformed};

/// Go's limit on a request's head.
pub const HEAD_BYTES_MAX: usize = (1 << 20) + 4096;

/// What `src/api/http/uws-exchange.ts` reads, beside those that frame the body.
const FIELDS: [&[u8]; 14] = [
    b"host",
    b"origin",
    b"cookie",
    b"connection",
    b"upgrade",
    b"authorization",
    b"accept-encoding",
    b"grpc-timeout",
    b"grpc-metadata-token",
    b"grpc-metadata-hasleader",
    b"grpc-metadata-client-api-version",
    b"sec-websocket-key",
    b"sec-websocket-protocol",
    b"sec-websocket-version",
];

/// A request that goes on.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Its head, for the HTTP server.
    pub head: Vec<u8>,
    pub body: Body,
    /// Its answer has no body.
    pub is_head: bool,
    /// No further request is answered on the connection.
    pub closes: bool,
    /// The client waits for leave to send the body.
    pub expects: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It may be of another protocol.
    NotHttp,
    BadRequest,
    /// A bad request, and what is bad.
    Bad(&'static str),
    TooLarge,
    /// It expects something else than leave to send its body.
    Expectation,
    Encoding,
    /// Its body is malformed; etcd's gateway says so.
    Body(Malformed),
}

impl Refusal {
    /// As Go's server answers, or etcd's gateway.
    pub fn bytes(&self) -> Vec<u8> {
        const CLOSE: &str = "Connection: close\r\n";
        const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
        let same = |line: &str| format!("HTTP/1.1 {line}\r\n{TEXT}{CLOSE}\r\n{line}");
        let text = match self {
            Refusal::NotHttp | Refusal::BadRequest => same("400 Bad Request"),
            Refusal::Bad(what) => same(&format!("400 Bad Request: {what}")),
            Refusal::TooLarge => same("431 Request Header Fields Too Large"),
            Refusal::Expectation => {
                format!("HTTP/1.1 417 Expectation Failed\r\n{CLOSE}Content-Length: 0\r\n\r\n")
            }
            Refusal::Encoding => {
                format!(
                    "HTTP/1.1 501 Not Implemented\r\n{TEXT}{CLOSE}\r\nUnsupported transfer encoding"
                )
            }
            Refusal::Body(Malformed(what)) => {
                let body = format!("{{\"code\":3,\"message\":\"{what}\"}}");
                let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n";
                format!("{head}Content-Length: {}\r\n{CLOSE}\r\n{body}", body.len())
            }
        };
        text.into_bytes()
    }
}

/// Where a head ends, if it does; the search starts at `from`, and says where to go on.
pub fn head_end(bytes: &[u8], from: usize) -> Result<usize, usize> {
    let mut at = from;
    while let Some(found) = bytes[at..].iter().position(|&byte| byte == b'\n') {
        let line_end = at + found + 1;
        match &bytes[line_end..] {
            [b'\n', ..] => return Ok(line_end + 1),
            [b'\r', b'\n', ..] => return Ok(line_end + 2),
            [] | [b'\r'] => return Err(at),
            _ => at = line_end,
        }
    }
    Err(bytes.len())
}

/// What the fields of a request's head say.
#[derive(Default)]
struct Fields {
    /// The target names the host, whatever the field does.
    has_authority: bool,
    hosts: usize,
    lengths: Vec<u64>,
    encodings: usize,
    is_chunked: bool,
    closes: bool,
    expects: bool,
}

/// Reads a request's head, its empty line included.
pub fn request(bytes: &[u8]) -> Result<Request, Refusal> {
    let mut lines = lines(bytes);
    let line = lines.next().unwrap_or_default();
    let (method, target, is_old) = request_line(line)?;
    let mut head = Vec::with_capacity(bytes.len().min(8 << 10) + 64);
    let (authority, path) = destination(method, target)?;
    // Methods that the HTTP server does not know close the connection there; these are all that handlers tell apart.
    let known = matches!(method, b"GET" | b"HEAD" | b"POST" | b"OPTIONS");
    let passed = if known { method } else { b"PUT" };
    for part in [passed, b" ", path, b" HTTP/1.1\r\n"] {
        head.extend_from_slice(part);
    }
    let mut fields = Fields {
        has_authority: authority.is_some(),
        ..Fields::default()
    };
    if let Some(authority) = authority {
        for part in [b"Host: ", authority, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    let mut field = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        if matches!(line[0], b' ' | b'\t') && !field.is_empty() {
            // The field goes on.
            field.push(b' ');
            field.extend_from_slice(line.trim_ascii());
            continue;
        }
        fields.take(&field, is_old, &mut head)?;
        field.clear();
        field.extend_from_slice(line);
    }
    fields.take(&field, is_old, &mut head)?;
    match fields.hosts {
        0 if !is_old => return Err(Refusal::Bad("missing required Host header")),
        0 if !fields.has_authority => head.extend_from_slice(b"Host: \r\n"),
        0 | 1 => {}
        _ => return Err(Refusal::BadRequest),
    }
    if is_old {
        head.extend_from_slice(b"Connection: close\r\n");
    }
    let body = fields.body(is_old)?;
    match body {
        Body::Length(0) if fields.lengths.is_empty() => {}
        Body::Length(length) => {
            head.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes())
        }
        _ => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    head.extend_from_slice(b"\r\n");
    Ok(Request {
        head,
        expects: fields.expects && !is_old && body != Body::Length(0),
        body,
        is_head: method == b"HEAD",
        closes: fields.closes || is_old,
    })
}

/// Method, target, and whether it is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], bool), Refusal> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let method = parts.next().unwrap_or_default();
    let target = parts.next().ok_or(Refusal::NotHttp)?;
    let is_old = match parts.next() {
        Some(b"HTTP/1.0") => true,
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor]) if minor.is_ascii_digit() => false,
        _ => return Err(Refusal::NotHttp),
    };
    let is_target = !target.is_empty() && target.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    if method.is_empty() || !method.iter().copied().all(is_token) || !is_target {
        return Err(Refusal::BadRequest);
    }
    Ok((method, target, is_old))
}

/// A target's host, if it names one, and its path with the query.
fn destination<'a>(
    method: &[u8],
    target: &'a [u8],
) -> Result<(Option<&'a [u8]>, &'a [u8]), Refusal> {
    if target[0] == b'/' {
        return Ok((None, target));
    }
    if target == b"*" || method == b"CONNECT" {
        return Ok((None, b"/"));
    }
    let rest = [b"http://".as_slice(), b"https://"]
        .iter()
        .find_map(|scheme| target.strip_prefix(*scheme))
        .ok_or(Refusal::BadRequest)?;
    let end = rest.iter().position(|byte| b"/?".contains(byte));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    match path.first() {
        Some(b'/') => Ok((Some(authority), path)),
        Some(_) => Err(Refusal::BadRequest),
        None => Ok((Some(authority), b"/")),
    }
}

impl Fields {
    fn take(&mut self, line: &[u8], is_old: bool, head: &mut Vec<u8>) -> Result<(), Refusal> {
        if line.is_empty() {
            return Ok(());
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let colon = colon.ok_or(Refusal::BadRequest)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.len() > 1 && matches!(name, [first, .., b' '] if is_token(*first)) {
            return Err(Refusal::Bad("invalid header name"));
        }
        let is_value = value
            .iter()
            .all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
        if name.is_empty() || !name.iter().copied().all(is_token) || !is_value {
            return Err(Refusal::BadRequest);
        }
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"content-length") {
            self.lengths.push(length(value)?);
        } else if is(b"transfer-encoding") {
            self.encodings += 1;
            self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if is(b"expect") {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::Expectation);
            }
            self.expects = true;
        } else if is(b"host") {
            self.hosts += 1;
        } else if is(b"connection") {
            self.closes |= has_token(value, b"close");
        }
        let goes_on = FIELDS.iter().any(|field| is(field));
        let is_replaced = is_old && is(b"connection") || self.has_authority && is(b"host");
        if goes_on && !is_replaced {
            for part in [name, b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// Chunks win over a length, as in Go; HTTP/1.0 has no chunks.
    fn body(&self, is_old: bool) -> Result<Body, Refusal> {
        if self.encodings > 0 && !is_old {
            return match (self.encodings, self.is_chunked) {
                (1, true) => Ok(Body::chunked()),
                _ => Err(Refusal::Encoding),
            };
        }
        match self.lengths.as_slice() {
            [] => Ok(Body::Length(0)),
            [first, rest @ ..] if rest.iter().all(|length| length == first) => {
                Ok(Body::Length(*first))
            }
            _ => Err(Refusal::BadRequest),
        }
    }
}

/// What an answer's head says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Another head follows.
    Interim,
    /// The connection is a WebSocket's from here on.
    Upgrade,
    Final(Body),
}

/// Reads the head of an answer of the HTTP server's, which is well-formed.
pub fn answer(bytes: &[u8], is_head: bool) -> Answer {
    let mut lines = lines(bytes);
    let line = lines.next().unwrap_or_default();
    match line.get(9..12).unwrap_or_default() {
        b"101" => return Answer::Upgrade,
        [b'1', ..] => return Answer::Interim,
        b"204" | b"304" => return Answer::Final(Body::Length(0)),
        _ if is_head => return Answer::Final(Body::Length(0)),
        _ => {}
    }
    for line in lines {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Answer::Final(Body::chunked());
        }
        if name.eq_ignore_ascii_case(b"content-length")
            && let Ok(length) = length(value)
        {
            return Answer::Final(Body::Length(length));
        }
    }
    Answer::Final(Body::UntilEnd)
}

/// A head's lines, without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn length(value: &[u8]) -> Result<u64, Refusal> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).map_err(|_| Refusal::BadRequest)?;
    let length: u64 = text.parse().map_err(|_| Refusal::BadRequest)?;
    // Go's lengths have a sign.
    (is_number && length <= i64::MAX as u64)
        .then_some(length)
        .ok_or(Refusal::BadRequest)
}

/// Whether a list separated by commas has this element.
fn has_token(value: &[u8], token: &[u8]) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &str) -> (String, Body) {
        let request = request(text.as_bytes()).expect("well-formed");
        (String::from_utf8(request.head).expect("text"), request.body)
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        for whole in ["GET / HTTP/1.1\r\nA: b\r\n\r\n", "GET / HTTP/1.1\nA: b\n\n"] {
            let bytes = format!("{whole}more");
            let bytes = bytes.as_bytes();
            let mut from = 0;
            for length in 0..whole.len() {
                from = head_end(&bytes[..length], from).expect_err("cut");
                assert_eq!(head_end(bytes, from), Ok(whole.len()));
            }
        }
    }

    #[test]
    fn what_goes_on_is_what_the_http_server_looks_at() {
        let (head, body) =
            passed("GET /a?b HTTP/1.1\r\nhOST: \t x \r\nHostile: y\r\nGrpc-Timeout:1S\r\n\r\n");
        assert_eq!(
            head,
            "GET /a?b HTTP/1.1\r\nhOST: x\r\nGrpc-Timeout: 1S\r\n\r\n"
        );
        assert_eq!(body, Body::Length(0));
        let (head, body) =
            passed("POST / HTTP/1.1\nHost: x\ncontent-length: 02\nContent-Length: 2\n\n");
        assert_eq!(
            head,
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
        );
        assert_eq!(body, Body::Length(2));
    }

    #[test]
    fn targets_and_methods_of_all_kinds_become_plain_ones() {
        for (line, passed_line, host) in [
            ("GET http://y:1/a?b", "GET /a?b", "y:1"),
            ("GET https://y", "GET /", "y"),
            ("OPTIONS *", "OPTIONS /", "x"),
            ("CONNECT y:1", "PUT /", "x"),
            ("get /a", "PUT /a", "x"),
        ] {
            let (head, _) = passed(&format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(
                head,
                format!("{passed_line} HTTP/1.1\r\nHost: {host}\r\n\r\n")
            );
        }
        for line in ["GET a", "GET ftp://x/", "GET http://y?a"] {
            let text = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(request(text.as_bytes()), Err(Refusal::BadRequest));
        }
    }

    #[test]
    fn a_field_may_go_on_in_the_next_line() {
        let (head, _) =
            passed("GET / HTTP/1.1\r\nHost: x\r\nCookie: a\r\n \t b\r\n\tc\r\nA: b\r\n\r\n");
        assert_eq!(head, "GET / HTTP/1.1\r\nHost: x\r\nCookie: a b c\r\n\r\n");
    }

    #[test]
    fn chunks_win_over_a_length_as_in_go() {
        let (head, body) = passed(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n",
        );
        assert_eq!(
            head,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(body, Body::chunked());
    }

    #[test]
    fn a_request_of_1_0_becomes_one_of_1_1() {
        let (head, _) = passed("GET /a HTTP/1.0\r\n\r\n");
        assert_eq!(
            head,
            "GET /a HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n"
        );
        let (head, _) = passed("GET /a HTTP/1.0\r\nHost: x\r\nCONNECTION: keep-alive\r\n\r\n");
        assert_eq!(
            head,
            "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn what_is_malformed_is_refused_as_go_refuses_it() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        for (text, refusal) in [
            ("GET /\r\n\r\n".into(), Refusal::NotHttp),
            (
                "GET  HTTP/1.1\r\nHost: x\r\n\r\n".into(),
                Refusal::BadRequest,
            ),
            ("\r\n\r\n".into(), Refusal::NotHttp),
            ("G T / HTTP/1.1\r\nHost: x\r\n\r\n".into(), Refusal::NotHttp),
            (
                "G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n".into(),
                Refusal::BadRequest,
            ),
            (
                "GET / HTTP/1.10\r\nHost: x\r\n\r\n".into(),
                Refusal::NotHttp,
            ),
            ("GET / HTTP/2.0\r\nHost: x\r\n\r\n".into(), Refusal::NotHttp),
            (
                "GET / HTTP/1.1\r\n\r\n".into(),
                Refusal::Bad("missing required Host header"),
            ),
            (post("Host: y"), Refusal::BadRequest),
            (post("no colon"), Refusal::BadRequest),
            (
                post("Content-Length : 1"),
                Refusal::Bad("invalid header name"),
            ),
            (
                "GET / HTTP/1.1\r\n folded: x\r\n\r\n".into(),
                Refusal::BadRequest,
            ),
            (post("Expect: tea"), Refusal::Expectation),
            (post("a(b: x"), Refusal::BadRequest),
            (post("a: x\x00y"), Refusal::BadRequest),
            (post("a: x\ry"), Refusal::BadRequest),
            (post("Content-Length: -1"), Refusal::BadRequest),
            (post("Content-Length: +1"), Refusal::BadRequest),
            (post("Content-Length: 1, 1"), Refusal::BadRequest),
            (
                post("Content-Length: 9223372036854775808"),
                Refusal::BadRequest,
            ),
            (
                post("Content-Length: 1\r\nContent-Length: 2"),
                Refusal::BadRequest,
            ),
            (post("Transfer-Encoding: gzip"), Refusal::Encoding),
            (post("Transfer-Encoding: gzip, chunked"), Refusal::Encoding),
            (
                post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
                Refusal::Encoding,
            ),
        ] {
            assert_eq!(request(text.as_bytes()), Err(refusal), "{text:?}");
        }
    }

    #[test]
    fn an_answer_tells_where_it_ends() {
        let of = |fields: &str| {
            answer(
                format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes(),
                false,
            )
        };
        assert_eq!(of("content-length: 7"), Answer::Final(Body::Length(7)));
        assert_eq!(
            of("Transfer-Encoding: chunked"),
            Answer::Final(Body::chunked())
        );
        assert_eq!(of("A: b"), Answer::Final(Body::UntilEnd));
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
        assert_eq!(answer(head, true), Answer::Final(Body::Length(0)));
        assert_eq!(
            answer(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
            Answer::Upgrade
        );
        assert_eq!(
            answer(b"HTTP/1.1 100 Continue\r\n\r\n", false),
            Answer::Interim
        );
        assert_eq!(
            answer(b"HTTP/1.1 204 No Content\r\n\r\n", false),
            Answer::Final(Body::Length(0))
        );
    }
}
