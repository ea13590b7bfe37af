//! What JavaScript is told of a unary call that took long, for its line in the log.

use super::call_table::{Call, MethodKind};
use super::context::Context;

/// So much of a request is kept for the log; what is longer is shown in part.
const REQUEST_BYTES_KEPT: usize = 16 << 10;
/// And so much of all requests under way; beyond, a request is not shown.
const KEPT_BYTES_TOTAL_MAX: usize = 16 << 20;

/// Where the request begins in the record's payload.
const FACTS_END: usize = 56;

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
    // The clock is read once a turn, and a call may come and be answered in one.
    let took = now.saturating_sub(call.received).max(1);
    if took < slow_after || !call.started || call.told || call.kind != MethodKind::Unary {
        return None;
    }
    call.told = true;
    let mut payload = Vec::with_capacity(FACTS_END + call.shown.len());
    payload.extend_from_slice(&took.to_le_bytes());
    payload.extend_from_slice(&call.request_bytes.to_le_bytes());
    payload.extend_from_slice(&(response.len() as u32).to_le_bytes());
    for value in answer_facts(response) {
        payload.extend_from_slice(&value.to_le_bytes());
    }
    payload.extend_from_slice(&call.shown);
    Some(payload)
}

/// What an answer of KV says, all found by the numbers of its fields: fields 2 and 4 where they are varints (a count, or
/// whether the Txn succeeded), how often 2 and 3 are there as messages, and the revision in the header.
fn answer_facts(message: &[u8]) -> [u64; 5] {
    let mut facts = [0; 5];
    for_each_field(message, |tag, value, part| match tag {
        0x10 => facts[0] = value,
        0x20 => facts[1] = value,
        0x12 => facts[2] += 1,
        0x1a => facts[3] += 1,
        0x0a => for_each_field(part, |tag, value, _| {
            if tag == 0x18 {
                facts[4] = value;
            }
        }),
        _ => {}
    });
    facts
}

/// Tells of each field: its tag, and its number or its bytes. Ends at what none of our answers has.
fn for_each_field(message: &[u8], mut tell: impl FnMut(u64, u64, &[u8])) {
    let mut rest = message;
    while let Some(tag) = varint(&mut rest) {
        let is_part = tag & 7 == 2;
        if tag & 7 != 0 && !is_part {
            return;
        }
        let Some(value) = varint(&mut rest) else {
            return;
        };
        let length = if is_part { value as usize } else { 0 };
        let Some((part, after)) = rest.split_at_checked(length) else {
            return;
        };
        tell(tag, value, part);
        rest = after;
    }
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
        let range = [
            0x0a, 2, 0x18, 7, 0x12, 3, 0x10, 9, 0x20, 0x12, 0, 0x20, 0xac, 2,
        ];
        assert_eq!(answer_facts(&range), [0, 300, 2, 0, 7]);
        let txn = [0x0a, 0, 0x10, 1, 0x1a, 1, 0, 0x1a, 0];
        assert_eq!(answer_facts(&txn), [1, 0, 0, 2, 0]);
        assert_eq!(answer_facts(&[0x10, 1, 0x0a, 200, 1]), [1, 0, 0, 0, 0]);
        assert_eq!(answer_facts(&[0x20, 0xff]), [0; 5]);
        assert_eq!(answer_facts(&[0x0d, 1, 2, 3, 4, 0x10, 1]), [0; 5]);
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
        assert_eq!(payload[FACTS_END..], *b"abc");
        assert_eq!(slow_record(&mut call, &[], 20, 5), None);
        call.told = false;
        assert!(
            slow_record(&mut call, &[], 10, 1).is_some(),
            "no call takes no time"
        );
    }
}
