//! Compressed messages. etcd takes gzip, so this does; answers go out uncompressed, which every client takes:
//! compressing a large one would hold up all other connections.

use flate2::bufread::GzDecoder;
use std::io::Read;

/// A gzip stream is any number of members one after the other. An empty one takes 20 bytes and some microseconds, so
/// their number has a bound; compressors make one.
const MEMBERS_MAX: usize = 64;

/// Why a message cannot be decompressed: the text of grpc-go's status.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its status is ResourceExhausted.
    TooLarge(String),
    /// Its status is Internal.
    Corrupt(String),
}

/// Decompresses one message; the result has at most `max` bytes.
pub fn gunzip(coded: &[u8], max: usize) -> Result<Vec<u8>, Fault> {
    check_header(coded)?;
    let mut message = Vec::new();
    let mut rest = coded;
    for _ in 0..MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        let room = (max - message.len()) as u64;
        if member
            .by_ref()
            .take(room + 1)
            .read_to_end(&mut message)
            .is_err()
        {
            let text = "grpc: failed to read decompressed data: unexpected EOF";
            return Err(Fault::Corrupt(text.into()));
        }
        if message.len() > max {
            let text = format!("grpc: received message after decompression larger than max {max}");
            return Err(Fault::TooLarge(text));
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(message);
        }
    }
    let text = "grpc: failed to read decompressed data: too many gzip members";
    Err(Fault::Corrupt(text.into()))
}

fn check_header(coded: &[u8]) -> Result<(), Fault> {
    let why = match coded {
        [] => "EOF",
        [0x1f, 0x8b, 8, ..] if coded.len() >= 10 => return Ok(()),
        _ if coded.len() < 10 => "unexpected EOF",
        _ => "gzip: invalid header",
    };
    Err(Fault::Corrupt(format!(
        "grpc: failed to decompress the message: {why}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(message).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn a_message_comes_back() {
        assert_eq!(gunzip(&gzip(b"hello"), 5), Ok(b"hello".to_vec()));
        assert_eq!(gunzip(&gzip(b""), 0), Ok(Vec::new()));
    }

    #[test]
    fn members_are_joined_up_to_a_number() {
        let some = [gzip(b"a"), gzip(b""), gzip(b"bc")].concat();
        assert_eq!(gunzip(&some, 3), Ok(b"abc".to_vec()));
        assert!(matches!(gunzip(&some, 2), Err(Fault::TooLarge(_))));
        let many = gzip(b"").repeat(100_000);
        let text = "grpc: failed to read decompressed data: too many gzip members";
        assert_eq!(gunzip(&many, 2 << 20), Err(Fault::Corrupt(text.into())));
        let rubbish = [gzip(b"a"), b"not gzip at all".to_vec()].concat();
        assert!(matches!(gunzip(&rubbish, 99), Err(Fault::Corrupt(_))));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![0; 16 << 20]);
        let text = "grpc: received message after decompression larger than max 1000";
        assert_eq!(gunzip(&bomb, 1000), Err(Fault::TooLarge(text.into())));
    }

    #[test]
    fn corrupt_messages_are_refused() {
        let text = |coded: &[u8]| match gunzip(coded, 100) {
            Err(Fault::Corrupt(text)) => text,
            other => panic!("{other:?}"),
        };
        let header = "grpc: failed to decompress the message: ";
        assert_eq!(text(b""), format!("{header}EOF"));
        assert_eq!(text(b"abc"), format!("{header}unexpected EOF"));
        assert_eq!(text(b"0123456789"), format!("{header}gzip: invalid header"));
        let whole = gzip(b"hello");
        let body = "grpc: failed to read decompressed data";
        assert!(text(&whole[..whole.len() - 3]).starts_with(body));
    }
}
