//! What JavaScript is told of a unary call that took long, for its line in the log.

use super::call_table::{Call, MethodKind};
use super::context::Context;

/// So much of a request is kept for the log; what is longer is shown in part.
const REQUEST_BYTES_KEPT: usize = 16 << 10;
/// And so much of all requests under way; beyond, a request is not shown.
const KEPT_BYTES_TOTAL_MAX: usize = 16 << 20;

/// Keeps what the log may have to show of a call's whole message.
pub fn keep_request(id: u32, message: &[u8], context: &mut Context) {
    let now = context.now;
    let budget = KEPT_BYTES_TOTAL_MAX - context.shown_bytes;
    let is_logged = context.limits.slow_after != u64::MAX;
    let call = context.calls.at(id);
    call.received = now;
    call.request_bytes = message.len() as u32;
    if !is_logged || call.kind != MethodKind::Unary {
        return;
    }
    let shown = message.len().min(REQUEST_BYTES_KEPT);
    if shown <= budget {
        call.shown.extend_from_slice(&message[..shown]);
        context.shown_bytes += shown;
    }
}

/// The payload of the record about a call that is answered with `response`, nothing for an error; `None` when the call
/// was quick, or was told of before.
pub fn slow_record(call: &mut Call, response: &[u8], now: u64, slow_after: u64) -> Option<Vec<u8>> {
    let took = now.saturating_sub(call.received);
    if took < slow_after || !call.started || call.told || call.kind != MethodKind::Unary {
        return None;
    }
    call.told = true;
    let mut payload = Vec::with_capacity(32 + call.shown.len());
    payload.extend_from_slice(&took.to_le_bytes());
    payload.extend_from_slice(&call.request_bytes.to_le_bytes());
    payload.extend_from_slice(&(response.len() as u32).to_le_bytes());
    for value in varint_fields(response) {
        payload.extend_from_slice(&value.to_le_bytes());
    }
    payload.extend_from_slice(&call.shown);
    Some(payload)
}

/// Fields 2 and 4 of a message where they are varints: in an answer of KV its count, or whether the Txn succeeded.
fn varint_fields(message: &[u8]) -> [u64; 2] {
    let mut found = [0; 2];
    let mut rest = message;
    while let Some(tag) = varint(&mut rest) {
        let Some(value) = (match tag & 7 {
            0 | 2 => varint(&mut rest),
            _ => None,
        }) else {
            break;
        };
        match tag {
            0x10 => found[0] = value,
            0x20 => found[1] = value,
            _ if tag & 7 == 2 => {
                let Some(after) = rest.get(value as usize..) else {
                    break;
                };
                rest = after;
            }
            _ => {}
        }
    }
    found
}

/// Takes a varint off the front.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (index, &byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *rest = &rest[index + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_among_other_fields() {
        let range = [0x0a, 2, 8, 1, 0x12, 3, 0x10, 9, 0x20, 0x20, 0xac, 2];
        assert_eq!(varint_fields(&range), [0, 300]);
        assert_eq!(varint_fields(&[0x0a, 0, 0x10, 7, 0x1a, 1, 0]), [7, 0]);
        assert_eq!(varint_fields(&[0x10, 1, 0x0a, 200, 1]), [1, 0]);
        assert_eq!(varint_fields(&[0x20, 0xff]), [0, 0]);
        assert_eq!(varint_fields(&[0x0d, 1, 2, 3, 4, 0x10, 1]), [0, 0]);
    }

    #[test]
    fn a_call_is_told_of_once_and_only_when_it_was_slow() {
        let mut call = Call {
            started: true,
            received: 10,
            request_bytes: 3,
            shown: b"abc".to_vec(),
            ..Call::default()
        };
        assert_eq!(slow_record(&mut call, &[], 14, 5), None);
        let payload = slow_record(&mut call, &[0x10, 1], 15, 5).expect("slow");
        assert_eq!(payload[..8], 5_u64.to_le_bytes());
        assert_eq!(payload[8..17], [3, 0, 0, 0, 2, 0, 0, 0, 1]);
        assert_eq!(payload[32..], *b"abc");
        assert_eq!(slow_record(&mut call, &[], 20, 5), None);
    }
}
