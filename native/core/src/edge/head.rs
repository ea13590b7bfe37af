//! The sum of a request's header fields.

use super::field::{Coding, Field, Paths, UNKNOWN_METHOD, classify};
use super::grpc::TimeoutFault;
use super::hpack::Sink;

/// Bytes that all of a request's fields may have (names and values and 32 each, as HTTP/2 counts).
const LIST_BYTES_MAX: usize = 64 << 10;

/// All that the fields of one request said. One is reused from request to request.
pub struct Head {
    pub method: u16,
    pub post: bool,
    pub grpc: bool,
    pub plain_content_type: bool,
    pub timeout: Option<Result<u64, TimeoutFault>>,
    pub coding: Coding,
    pub connection_header: bool,
    pub authorities: u32,
    pub hosts: u32,
    pub require_leader: Option<bool>,
    pub gateway: bool,
    /// The fields break HTTP/2's own rules.
    pub malformed: bool,
    pub token_from: TokenFrom,
    pub has_client_version: bool,
    /// Values whose text is needed, if only for an error.
    pub path: Vec<u8>,
    pub http_method: Vec<u8>,
    pub content_type: Vec<u8>,
    pub timeout_text: Vec<u8>,
    pub encoding: Vec<u8>,
    pub token: Vec<u8>,
    pub client_version: Vec<u8>,
    /// The last `-bin` field that is not base64; without one the name is empty.
    pub bad_binary_name: Vec<u8>,
    pub bad_binary: Vec<u8>,
    pseudo_seen: u8,
    regular_seen: bool,
    bytes: usize,
}

/// Which field gave the token: `token` wins over `authorization`, and of one name the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenFrom {
    Nothing,
    Authorization,
    Token,
}

impl Head {
    pub fn new() -> Head {
        Head {
            method: UNKNOWN_METHOD,
            post: false,
            grpc: false,
            plain_content_type: false,
            timeout: None,
            coding: Coding::Identity,
            connection_header: false,
            authorities: 0,
            hosts: 0,
            require_leader: None,
            gateway: false,
            malformed: false,
            token_from: TokenFrom::Nothing,
            has_client_version: false,
            path: Vec::new(),
            http_method: Vec::new(),
            content_type: Vec::new(),
            timeout_text: Vec::new(),
            encoding: Vec::new(),
            token: Vec::new(),
            client_version: Vec::new(),
            bad_binary_name: Vec::new(),
            bad_binary: Vec::new(),
            pseudo_seen: 0,
            regular_seen: false,
            bytes: 0,
        }
    }

    /// Forgets the last request; texts keep their memory.
    pub fn clear(&mut self) {
        self.method = UNKNOWN_METHOD;
        self.post = false;
        self.grpc = false;
        self.plain_content_type = false;
        self.timeout = None;
        self.coding = Coding::Identity;
        self.connection_header = false;
        self.authorities = 0;
        self.hosts = 0;
        self.require_leader = None;
        self.gateway = false;
        self.malformed = false;
        self.token_from = TokenFrom::Nothing;
        self.has_client_version = false;
        self.path.clear();
        self.http_method.clear();
        self.content_type.clear();
        self.timeout_text.clear();
        self.encoding.clear();
        self.token.clear();
        self.client_version.clear();
        self.bad_binary_name.clear();
        self.bad_binary.clear();
        self.pseudo_seen = 0;
        self.regular_seen = false;
        self.bytes = 0;
    }

    /// The list is longer than we take.
    pub fn too_large(&self) -> bool {
        self.bytes > LIST_BYTES_MAX
    }

    fn apply(&mut self, field: Field, name: &[u8], value: &[u8]) {
        match field {
            Field::Other | Field::Scheme => {}
            Field::Method { post } => {
                self.post = post;
                if !post {
                    set(&mut self.http_method, value);
                }
            }
            Field::Path(method) => {
                self.method = method;
                if method == UNKNOWN_METHOD {
                    set(&mut self.path, value);
                }
            }
            Field::Authority => self.authorities += 1,
            Field::Host => self.hosts += 1,
            Field::ContentType { grpc, plain } => self.content_type(grpc, plain, value),
            Field::Timeout(timeout) => {
                self.timeout = Some(timeout);
                if timeout.is_err() {
                    set(&mut self.timeout_text, value);
                }
            }
            Field::Encoding(coding) => {
                self.coding = coding;
                set(&mut self.encoding, value);
            }
            Field::Connection => self.connection_header = true,
            Field::HasLeader { required } => {
                self.require_leader.get_or_insert(required);
            }
            Field::Gateway => self.gateway = true,
            Field::Token => self.token(TokenFrom::Token, value),
            Field::Authorization => self.token(TokenFrom::Authorization, value),
            Field::ClientApiVersion if !self.has_client_version => {
                self.has_client_version = true;
                set(&mut self.client_version, value);
            }
            Field::ClientApiVersion => {}
            Field::BadBinary => {
                set(&mut self.bad_binary_name, name);
                set(&mut self.bad_binary, value);
            }
            Field::Malformed => self.malformed = true,
        }
    }

    fn content_type(&mut self, grpc: bool, plain: bool, value: &[u8]) {
        if !plain {
            set(&mut self.content_type, value);
        }
        if grpc {
            self.grpc = true;
            self.plain_content_type = plain;
        }
    }

    fn token(&mut self, from: TokenFrom, value: &[u8]) {
        if from > self.token_from {
            self.token_from = from;
            set(
                &mut self.token,
                value.strip_prefix(b"Bearer ").unwrap_or(value),
            );
        }
    }

    /// Pseudo-header fields come first and once.
    fn check_order(&mut self, field: Field) {
        let bit = match field {
            Field::Method { .. } => 1,
            Field::Path(_) => 2,
            Field::Scheme => 4,
            Field::Authority => 8,
            _ => {
                self.regular_seen = true;
                return;
            }
        };
        self.malformed |= self.regular_seen || self.pseudo_seen & bit != 0;
        self.pseudo_seen |= bit;
    }
}

fn set(text: &mut Vec<u8>, value: &[u8]) {
    text.clear();
    text.extend_from_slice(value);
}

/// Fills a `Head` from the decoder.
pub struct HeadSink<'a> {
    pub head: &'a mut Head,
    pub paths: &'a Paths,
}

impl Sink for HeadSink<'_> {
    fn classify(&self, name: &[u8], value: &[u8]) -> Field {
        classify(self.paths, name, value)
    }

    fn field(&mut self, field: Field, name: &[u8], value: &[u8]) {
        let head = &mut *self.head;
        head.bytes += name.len() + value.len() + 32;
        head.check_order(field);
        if !head.too_large() {
            head.apply(field, name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Head {
        let paths = Paths::new(["/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put"].into_iter());
        let mut head = Head::new();
        let mut sink = HeadSink {
            head: &mut head,
            paths: &paths,
        };
        for (name, value) in fields {
            let field = sink.classify(name.as_bytes(), value.as_bytes());
            sink.field(field, name.as_bytes(), value.as_bytes());
        }
        head
    }

    const PLAIN: [(&str, &str); 5] = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/etcdserverpb.KV/Put"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];

    #[test]
    fn an_ordinary_request() {
        let head = head(&PLAIN);
        assert_eq!((head.method, head.post, head.grpc), (1, true, true));
        assert_eq!(head.coding, Coding::Identity);
        assert!(!head.malformed);
    }

    #[test]
    fn token_wins_over_authorization_and_bearer_is_removed() {
        let fields = |extra: &[(&'static str, &'static str)]| head(&[&PLAIN[..], extra].concat());
        assert_eq!(
            fields(&[("authorization", "Bearer a.1"), ("token", "b.2")]).token,
            b"b.2"
        );
        assert_eq!(
            fields(&[("token", "b.2"), ("authorization", "Bearer a.1")]).token,
            b"b.2"
        );
        assert_eq!(fields(&[("authorization", "Bearer a.1")]).token, b"a.1");
        assert_eq!(fields(&[("token", "x"), ("token", "y")]).token, b"x");
    }

    #[test]
    fn order_and_characters_of_http_2() {
        assert!(head(&[("te", "trailers"), (":method", "POST")]).malformed);
        assert!(head(&[(":method", "POST"), (":method", "POST")]).malformed);
        assert!(head(&[(":status", "200")]).malformed);
        assert!(head(&[("Te", "trailers")]).malformed);
        assert!(head(&[("x", "a\nb")]).malformed);
        assert!(!head(&[("client-api-version", "\u{fc}")]).malformed);
    }
}
