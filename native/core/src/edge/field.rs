//! What each header field means to the edge.

use super::base64;
use super::grpc::{self, TimeoutFault};
use std::collections::HashMap;

/// What one header field means. Small, so that HPACK's table can keep it with each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Of no interest.
    Other,
    Method {
        post: bool,
    },
    /// `:path`; the method's index, or `UNKNOWN_METHOD`.
    Path(u16),
    Scheme,
    Authority,
    Host,
    ContentType {
        grpc: bool,
        /// It is "application/grpc" and nothing more.
        plain: bool,
    },
    /// Nanoseconds.
    Timeout(Result<u64, TimeoutFault>),
    Encoding(Coding),
    /// `connection`, which makes a request malformed.
    Connection,
    HasLeader {
        required: bool,
    },
    Gateway,
    Token,
    Authorization,
    ClientApiVersion,
    /// The value of a `-bin` field is not base64.
    BadBinary,
    /// A name or a value that HTTP/2 forbids, or a pseudo-header that no request has.
    Malformed,
}

/// How a client says it compresses messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Unknown,
}

/// The path names no method of the table.
pub const UNKNOWN_METHOD: u16 = u16::MAX;

/// The paths that are served, and where each is in the method table.
pub struct Paths(HashMap<Box<[u8]>, u16>);

impl Paths {
    pub fn new<'a>(paths: impl Iterator<Item = &'a str>) -> Paths {
        Paths(
            paths
                .enumerate()
                .map(|(index, path)| (path.as_bytes().into(), index as u16))
                .collect(),
        )
    }

    fn find(&self, path: &[u8]) -> u16 {
        self.0.get(path).copied().unwrap_or(UNKNOWN_METHOD)
    }

    /// The status message for a path that is not in the table.
    pub fn unknown_text(&self, path: &[u8]) -> String {
        let split = path.strip_prefix(b"/").and_then(|name| {
            let slash = name.iter().rposition(|&byte| byte == b'/')?;
            Some((&name[..slash], &name[slash + 1..]))
        });
        let Some((service, method)) = split else {
            return format!("malformed method name: {}", grpc::go_quoted(path));
        };
        let prefix = [b"/", service, b"/"].concat();
        let service = String::from_utf8_lossy(service);
        if self.0.keys().any(|known| known.starts_with(&prefix)) {
            format!(
                "unknown method {} for service {service}",
                String::from_utf8_lossy(method)
            )
        } else {
            format!("unknown service {service}")
        }
    }
}

/// Tells what a field means.
pub fn classify(paths: &Paths, name: &[u8], value: &[u8]) -> Field {
    if !valid_value(value) {
        return Field::Malformed;
    }
    match name {
        b":method" => Field::Method {
            post: value == b"POST",
        },
        b":path" => Field::Path(paths.find(value)),
        b":scheme" | b":protocol" => Field::Scheme,
        b":authority" => Field::Authority,
        b"host" => Field::Host,
        b"content-type" => Field::ContentType {
            grpc: grpc::content_subtype(value).is_some(),
            plain: value == b"application/grpc",
        },
        b"grpc-timeout" => Field::Timeout(grpc::parse_timeout(value)),
        b"grpc-encoding" => Field::Encoding(coding(value)),
        b"connection" => Field::Connection,
        b"hasleader" => Field::HasLeader {
            required: value == b"true",
        },
        b"grpcgateway-accept" => Field::Gateway,
        b"token" => Field::Token,
        b"authorization" => Field::Authorization,
        b"client-api-version" => Field::ClientApiVersion,
        _ if !valid_name(name) => Field::Malformed,
        _ if name.ends_with(b"-bin") && base64::check(value).is_err() => Field::BadBinary,
        _ => Field::Other,
    }
}

fn coding(value: &[u8]) -> Coding {
    match value {
        b"" | b"identity" => Coding::Identity,
        b"gzip" => Coding::Gzip,
        _ => Coding::Unknown,
    }
}

/// A token in lower case (RFC 9113 §8.2.1).
fn valid_name(name: &[u8]) -> bool {
    let token = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte)
    };
    !name.is_empty() && name.iter().all(token)
}

fn valid_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_not_served() {
        let paths = Paths::new(["/etcdserverpb.KV/Range"].into_iter());
        let text = |path: &str| paths.unknown_text(path.as_bytes());
        assert_eq!(
            text("/etcdserverpb.KV/Foo"),
            "unknown method Foo for service etcdserverpb.KV"
        );
        assert_eq!(text("/foo.Bar/Baz"), "unknown service foo.Bar");
        assert_eq!(text("/foo"), "malformed method name: \"/foo\"");
        assert_eq!(text("x/y"), "malformed method name: \"x/y\"");
        assert_eq!(
            text("/a/etcdserverpb.KV/Foo"),
            "unknown service a/etcdserverpb.KV"
        );
        assert_eq!(text("//"), "unknown service ");
    }
}
