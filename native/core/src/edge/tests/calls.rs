//! Calls as clients make them, frame by frame.

use super::{PUT, Rig, SNAPSHOT, WATCH, fields, framed};
use crate::edge::batch::{call_kind, reply_kind};
use crate::edge::frame::{self, Header, flag, kind};
use crate::edge::hpack::Decoder;

#[test]
fn a_call_and_its_reply_frame_by_frame() {
    let mut rig = Rig::new(|_| {});
    let mut decoder = Decoder::new();
    for stream in [1, 3, 5] {
        rig.unary(stream, b"hello");
        let records = rig.records();
        assert_eq!(records.len(), 1);
        let (record, id, message) = &records[0];
        assert_eq!(
            (*record, message.as_slice()),
            (call_kind::CALL, &b"hello"[..])
        );
        rig.reply(*id, reply_kind::MESSAGE_AND_END, 0, b"world", b"");
        let frames = rig.out();
        let ours = frames.iter().filter(|(header, _)| header.stream == stream);
        let kinds: Vec<(u8, u8)> = ours
            .clone()
            .map(|(header, _)| (header.kind, header.flags))
            .collect();
        assert_eq!(
            kinds,
            [(kind::HEADERS, 4), (kind::DATA, 0), (kind::HEADERS, 5)]
        );
        let payloads: Vec<&[u8]> = ours.map(|(_, payload)| payload.as_slice()).collect();
        let named = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let first = fields(&mut decoder, payloads[0]);
        assert_eq!(
            first,
            named(&[(":status", "200"), ("content-type", "application/grpc")])
        );
        assert_eq!(payloads[1], framed(b"world"));
        let last = fields(&mut decoder, payloads[2]);
        assert_eq!(last, named(&[("grpc-status", "0"), ("grpc-message", "")]));
        rig.check();
    }
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let mut bytes = Vec::new();
    let mut whole = Rig::new(|_| {});
    whole.open(1, PUT).data(1, true, &framed(b"hello"));
    whole
        .open(3, WATCH)
        .data(3, false, &framed(b"a")[..3])
        .data(3, true, &framed(b"a")[3..]);
    bytes.append(&mut whole.sent);
    for cut in 0..bytes.len() {
        let mut rig = Rig::new(|_| {});
        rig.sent.clear();
        let taken = rig
            .connection
            .receive(&bytes[..cut], &mut rig.context)
            .expect("valid")
            .bytes;
        let rest = rig
            .connection
            .receive(&bytes[taken..], &mut rig.context)
            .expect("valid")
            .bytes;
        assert_eq!(taken + rest, bytes.len());
        let kinds: Vec<u8> = rig.records().iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(
            kinds,
            [
                call_kind::CALL,
                call_kind::CALL,
                call_kind::MESSAGE,
                call_kind::HALF_CLOSE
            ]
        );
        rig.check();
    }
}

#[test]
fn replies_wait_for_the_windows_and_take_turns() {
    let mut rig = Rig::new(|_| {});
    rig.open(1, SNAPSHOT)
        .data(1, true, &framed(b""))
        .open(3, SNAPSHOT)
        .data(3, true, &framed(b""));
    rig.deliver().expect("valid");
    let ids = rig.calls();
    for id in &ids {
        rig.reply(*id, reply_kind::MESSAGE, 1, &[9; 100_000], b"");
        rig.reply(*id, reply_kind::END, 0, b"", b"");
    }
    let size = |frames: &[(Header, Vec<u8>)], stream| -> usize {
        let data = frames
            .iter()
            .filter(|(header, _)| header.kind == kind::DATA && header.stream == stream);
        data.map(|(header, _)| header.length).sum()
    };
    let first = rig.out();
    assert_eq!(size(&first, 1) + size(&first, 3), 65_535);
    assert!(size(&first, 3) > 16_000, "the second has its turn");
    rig.frame(kind::WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes());
    rig.frame(kind::WINDOW_UPDATE, 0, 1, &1_000_000u32.to_be_bytes());
    rig.deliver().expect("valid");
    let second = rig.out();
    assert_eq!(size(&first, 1) + size(&second, 1), 100_005);
    assert_eq!(
        size(&first, 3) + size(&second, 3),
        65_535,
        "its own window is used up"
    );
    rig.check();
    rig.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 134, 165]);
    rig.deliver().expect("valid");
    let third = rig.out();
    assert_eq!(
        size(&first, 3) + size(&second, 3) + size(&third, 3),
        100_005
    );
    let writable = rig
        .records()
        .iter()
        .filter(|(kind, ..)| *kind == call_kind::WRITABLE)
        .count();
    assert_eq!(writable, 2);
    assert_eq!(rig.context.calls.live(), 0);
}

#[test]
fn calls_beyond_the_limit_wait_and_go_when_replies_come() {
    let mut rig = Rig::new(|limits| limits.in_flight_max = 2);
    for stream in [1, 3, 5, 7, 9] {
        rig.unary(stream, &[stream as u8]);
    }
    let first = rig.calls();
    assert_eq!(first.len(), 2);
    rig.frame(kind::RST_STREAM, 0, 5, &8u32.to_be_bytes());
    rig.deliver().expect("valid");
    rig.check();
    rig.reply(first[0], reply_kind::MESSAGE_AND_END, 0, b"", b"");
    let records = rig.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].2, [7], "the cancelled one is passed over");
    rig.reply(first[1], reply_kind::END, 5, b"", b"no");
    assert_eq!(rig.calls().len(), 1);
    rig.check();
}

#[test]
fn the_end_of_a_connection_lets_its_calls_finish() {
    let mut rig = Rig::new(|_| {});
    rig.unary(1, b"x");
    let id = rig.calls()[0];
    rig.connection.announce_end(&rig.context);
    rig.unary(3, b"crossed the first GOAWAY");
    let crossed = rig.calls()[0];
    rig.frame(kind::PING, flag::ACK, 0, &[1, 6, 1, 8, 0, 3, 3, 9]);
    rig.unary(5, b"too late");
    assert!(rig.calls().is_empty());
    let goaways: Vec<u32> = rig
        .out()
        .iter()
        .filter(|(header, _)| header.kind == kind::GOAWAY)
        .map(|(_, payload)| frame::read_u32(payload))
        .collect();
    assert_eq!(goaways, [0x7fff_ffff, 3]);
    assert!(!rig.connection.drained());
    rig.reply(id, reply_kind::MESSAGE_AND_END, 0, b"", b"");
    rig.reply(crossed, reply_kind::MESSAGE_AND_END, 0, b"", b"");
    assert!(rig.connection.drained());
}

/// A rig whose client has asked for 100,000 bytes and not taken what its windows do not let through.
fn slow_reader() -> Rig {
    let mut rig = Rig::new(|limits| {
        limits.pending_bytes_total_max = 30_000;
        limits.stall_time = 1_000;
        limits.stall_bytes_min = 20_000;
    });
    rig.open(1, SNAPSHOT).data(1, true, &framed(b""));
    rig.deliver().expect("valid");
    let id = rig.calls()[0];
    rig.reply(id, reply_kind::MESSAGE, 0, &[9; 100_000], b"");
    rig.out();
    rig
}

#[test]
fn a_client_that_takes_nothing_is_sent_away_while_others_lack_the_memory() {
    let mut rig = slow_reader();
    assert!(rig.context.pending_bytes > 30_000);
    assert!(
        !rig.connection.is_stalled(&rig.context),
        "it has taken its window"
    );
    rig.context.now = 999;
    assert!(!rig.connection.is_stalled(&rig.context));
    rig.context.now = 1_000;
    assert!(rig.connection.is_stalled(&rig.context));
    rig.connection.abandon(&mut rig.context);
    assert_eq!(rig.context.pending_bytes, 0);
}

#[test]
fn a_client_that_reads_slowly_stays_and_so_does_any_where_memory_is_not_short() {
    let mut rig = slow_reader();
    rig.connection.is_stalled(&rig.context);
    for (stream, widened) in [(0, 25_000u32), (1, 25_000)] {
        rig.frame(kind::WINDOW_UPDATE, 0, stream, &widened.to_be_bytes());
    }
    rig.deliver().expect("valid");
    rig.out();
    rig.context.now = 1_500;
    assert!(
        !rig.connection.is_stalled(&rig.context),
        "it has taken 25,000 bytes"
    );
    rig.context.limits.pending_bytes_total_max = 1 << 20;
    rig.context.now = 9_000;
    assert!(!rig.connection.is_stalled(&rig.context));
}

/// The messages that went out on a stream, from its DATA frames.
fn messages(rig: &mut Rig) -> Vec<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let frames = rig.out();
        if frames.is_empty() {
            break;
        }
        for (header, payload) in frames {
            if header.kind == kind::DATA {
                body.extend(payload);
            }
        }
        for stream in [0_u32, 1] {
            rig.frame(kind::WINDOW_UPDATE, 0, stream, &60_000_u32.to_be_bytes());
        }
        rig.deliver().expect("valid");
    }
    let mut messages = Vec::new();
    let mut rest = body.as_slice();
    while !rest.is_empty() {
        let end = 5 + frame::read_u32(&rest[1..]) as usize;
        messages.push(rest[5..end].to_vec());
        rest = &rest[end..];
    }
    messages
}

#[test]
fn a_message_in_parts_goes_out_when_it_is_whole_and_others_before_it() {
    let mut rig = Rig::new(|_| {});
    rig.open(1, SNAPSHOT).data(1, true, &framed(b""));
    rig.deliver().expect("valid");
    let id = rig.calls()[0];
    rig.reply(id, reply_kind::PART, 0, b"dropped", b"");
    rig.reply(id, reply_kind::PART, 1, b"", b"");
    rig.reply(id, reply_kind::PART, 0, &[1; 100_000], b"");
    rig.reply(id, reply_kind::MESSAGE, 0, b"other", b"");
    rig.reply(id, reply_kind::PART, 0, &[2; 3], b"");
    rig.check();
    rig.reply(id, reply_kind::LAST_PART, 1, &[3; 100_000], b"");
    rig.reply(id, reply_kind::MESSAGE, 0, b"next", b"");
    rig.check();
    let whole = [&[1; 100_000][..], &[2; 3], &[3; 100_000]].concat();
    assert_eq!(
        messages(&mut rig),
        [b"other".to_vec(), whole, b"next".to_vec()]
    );
    let records = rig.records();
    assert_eq!(records.len(), 1, "it has asked once: {records:?}");
    assert_eq!(records[0].0, call_kind::WRITABLE);
    rig.check();
}

#[test]
fn parts_go_with_their_call() {
    let mut rig = Rig::new(|_| {});
    rig.open(1, SNAPSHOT).data(1, true, &framed(b""));
    rig.deliver().expect("valid");
    let id = rig.calls()[0];
    rig.reply(id, reply_kind::PART, 0, &[1; 100_000], b"");
    rig.reply(id, reply_kind::END, 5, b"", b"gone");
    assert!(messages(&mut rig).is_empty());
    assert_eq!(rig.context.calls.live(), 0);
    rig.check();
}
