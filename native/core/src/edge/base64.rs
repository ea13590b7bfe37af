//! Whether a `-bin` header field is base64 as Go's decoder takes it: padded when its length is a multiple of
//! four, else without padding. Nothing reads such a field here, but grpc-go refuses the request.

/// The place of the byte that the decoder stumbles over.
#[derive(Debug, PartialEq, Eq)]
pub struct IllegalAt(pub usize);

/// Checks one value.
pub fn check(value: &[u8]) -> Result<(), IllegalAt> {
    let padded = value.len().is_multiple_of(4);
    for (quantum, digits) in value.chunks(4).enumerate() {
        let start = quantum * 4;
        for (place, &digit) in digits.iter().enumerate() {
            if is_digit(digit) {
                continue;
            }
            if !padded || digit != b'=' || place < 2 {
                return Err(IllegalAt(start + place));
            }
            return check_padding(value, start + place);
        }
        // A single digit holds less than a byte.
        if digits.len() == 1 {
            return Err(IllegalAt(start));
        }
    }
    Ok(())
}

/// The first `=` is at `at`, third or fourth of its quantum; the value's length is a multiple of four.
fn check_padding(value: &[u8], at: usize) -> Result<(), IllegalAt> {
    let mut next = at + 1;
    if at % 4 == 2 {
        if value[next] != b'=' {
            return Err(IllegalAt(at));
        }
        next += 1;
    }
    if next < value.len() {
        Err(IllegalAt(next))
    } else {
        Ok(())
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_go_takes_them() {
        for good in ["", "AAAA", "AAA", "AA", "AA==", "AAA=", "AAAAAAA", "+/+/"] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        let bad = [
            ("!!!", 0),
            ("AAAA!", 4),
            ("A", 0),
            ("AA=", 2),
            ("A===", 1),
            ("AA=A", 2),
            ("AA==AAAA", 4),
        ];
        for (bad, at) in bad {
            assert_eq!(check(bad.as_bytes()), Err(IllegalAt(at)), "{bad}");
        }
    }
}
