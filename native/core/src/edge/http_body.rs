//! Where a message's body ends in HTTP/1.1: after so many bytes, after the last chunk, or with the connection.
//!
//! Chunks are taken apart as strictly as Go's server does it: what is no chunk ends the message.

/// Longest line with a chunk's size, and longest trailer line, as in Go.
const LINE_BYTES_MAX: usize = 4 << 10;
/// All trailers of a message.
const TRAILER_BYTES_MAX: usize = 16 << 10;

/// Why the bytes are no body of this kind, as Go says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

const BAD_END: Malformed = Malformed("malformed chunked encoding");
const BAD_BYTE: Malformed = Malformed("invalid byte in chunk length");
const BARE_LF: Malformed = Malformed("chunked line ends with bare LF");
const NO_SIZE: Malformed = Malformed("empty hex number for chunk length");
const TOO_LARGE: Malformed = Malformed("http chunk length too large");
const LINE_TOO_LONG: Malformed = Malformed("header line too long");
const TRAILER_TOO_LONG: Malformed = Malformed("http: trailer header too long");

/// What of a body is still to come.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    Length(u64),
    Chunked(Chunks),
    /// It ends with the connection.
    UntilEnd,
}

impl Body {
    pub fn chunked() -> Body {
        Body::Chunked(Chunks::default())
    }

    pub fn is_done(&self) -> bool {
        match self {
            Body::Length(rest) => *rest == 0,
            Body::Chunked(chunks) => chunks.place == Place::Done,
            Body::UntilEnd => false,
        }
    }

    /// How many of these bytes are the body's; `data` gets those that are no framing.
    pub fn take(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        match self {
            Body::Length(rest) => {
                let count = bytes
                    .len()
                    .min(usize::try_from(*rest).unwrap_or(usize::MAX));
                *rest -= count as u64;
                data(&bytes[..count]);
                Ok(count)
            }
            Body::Chunked(chunks) => chunks.take(bytes, data),
            Body::UntilEnd => {
                data(bytes);
                Ok(bytes.len())
            }
        }
    }
}

/// Where in a chunked body the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In a line with a size.
    #[default]
    Size,
    /// In a chunk's data, of which so much is to come.
    Data(u64),
    /// Before a chunk's line end.
    DataEnd,
    /// In a trailer, or in the empty line after all of them.
    Trailer,
    Done,
}

/// See `Body`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    place: Place,
    /// The line under way, without its end.
    line: Vec<u8>,
    trailer_bytes: usize,
}

impl Chunks {
    fn take(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && self.place != Place::Done {
            if let Place::Data(rest) = self.place {
                let count = (bytes.len() - at).min(usize::try_from(rest).unwrap_or(usize::MAX));
                data(&bytes[at..at + count]);
                at += count;
                self.place = match rest - count as u64 {
                    0 => Place::DataEnd,
                    rest => Place::Data(rest),
                };
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if byte != b'\n' {
                self.line.push(byte);
                self.check_line()?;
                continue;
            }
            let has_cr = self.line.last() == Some(&b'\r');
            if has_cr {
                self.line.pop();
            }
            self.place = self.after_line(has_cr)?;
            self.line.clear();
        }
        Ok(at)
    }

    /// Looks at a line whose end has not come.
    fn check_line(&self) -> Result<(), Malformed> {
        match self.place {
            Place::DataEnd if self.line != b"\r" => Err(BAD_END),
            _ if self.line.len() > LINE_BYTES_MAX => Err(LINE_TOO_LONG),
            _ => Ok(()),
        }
    }

    fn after_line(&mut self, has_cr: bool) -> Result<Place, Malformed> {
        match self.place {
            Place::Size if !has_cr => Err(BARE_LF),
            Place::Size => match size(&self.line)? {
                0 => Ok(Place::Trailer),
                size => Ok(Place::Data(size)),
            },
            Place::DataEnd if has_cr => Ok(Place::Size),
            Place::Trailer if self.line.is_empty() => Ok(Place::Done),
            Place::Trailer => {
                self.trailer_bytes += self.line.len() + 2;
                if self.trailer_bytes > TRAILER_BYTES_MAX {
                    return Err(TRAILER_TOO_LONG);
                }
                Ok(Place::Trailer)
            }
            Place::DataEnd | Place::Data(_) | Place::Done => Err(BAD_END),
        }
    }
}

/// A chunk's size from its line; what follows a semicolon means nothing.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let end = line
        .iter()
        .position(|&byte| byte == b';')
        .unwrap_or(line.len());
    let digits = line[..end].trim_ascii_end();
    match digits.len() {
        0 => return Err(NO_SIZE),
        1..=16 => {}
        _ => return Err(TOO_LARGE),
    }
    digits.iter().try_fold(0, |size: u64, &digit| {
        let value = (digit as char).to_digit(16).ok_or(BAD_BYTE)?;
        Ok(size << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(body: &mut Body, bytes: &[u8]) -> Result<(usize, Vec<u8>), Malformed> {
        let mut data = Vec::new();
        let count = body.take(bytes, |piece| data.extend_from_slice(piece))?;
        Ok((count, data))
    }

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_cut() {
        let whole =
            b"5\r\nhello\r\n0a;x=y\r\n, world...\r\n1 \r\nA\r\n0\r\nTrailer: x\r\n\r\nGET /";
        let data = b"hello, world...A".to_vec();
        let count = whole.len() - 5;
        assert_eq!(take(&mut Body::chunked(), whole), Ok((count, data.clone())));
        for cut in 0..count {
            let mut body = Body::chunked();
            let (first, mut all) = take(&mut body, &whole[..cut]).expect("well-formed");
            assert_eq!(first, cut);
            assert!(!body.is_done());
            let (rest, more) = take(&mut body, &whole[cut..]).expect("well-formed");
            all.extend_from_slice(&more);
            assert_eq!((cut + rest, &all), (count, &data));
            assert!(body.is_done());
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for (text, why) in [
            ("\r\n", NO_SIZE),
            (";x\r\n", NO_SIZE),
            ("g\r\n", BAD_BYTE),
            ("-1\r\n", BAD_BYTE),
            ("+1\r\n", BAD_BYTE),
            ("0x1\r\n", BAD_BYTE),
            (" 1\r\n", BAD_BYTE),
            ("1\n", BARE_LF),
            ("1\r\nab\r\n", BAD_END),
            ("1\r\na\n", BAD_END),
            ("00000000000000001\r\n", TOO_LARGE),
        ] {
            assert_eq!(
                take(&mut Body::chunked(), text.as_bytes()),
                Err(why),
                "{text:?}"
            );
        }
        let endless = vec![b'1'; LINE_BYTES_MAX + 1];
        assert_eq!(take(&mut Body::chunked(), &endless), Err(LINE_TOO_LONG));
        let mut trailers = b"0\r\n".to_vec();
        trailers.extend(b"A: b\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1));
        assert_eq!(take(&mut Body::chunked(), &trailers), Err(TRAILER_TOO_LONG));
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let mut body = Body::Length(3);
        assert_eq!(take(&mut body, b"ab"), Ok((2, b"ab".to_vec())));
        assert!(!body.is_done());
        assert_eq!(take(&mut body, b"cde"), Ok((1, b"c".to_vec())));
        assert!(body.is_done());
        assert_eq!(take(&mut body, b"de"), Ok((0, Vec::new())));
        assert_eq!(take(&mut Body::UntilEnd, b"de"), Ok((2, b"de".to_vec())));
    }
}
