//! Clients that send what no client should, and what they can make the edge hold.

use super::{PUT, Rig, WATCH, framed, head};
use crate::edge::batch::call_kind;
use crate::edge::frame::{Fatal, Header, Reason, flag, kind};

#[test]
fn rapid_resets_leave_nothing_behind_and_cause_no_more_work_than_calls_that_wait() {
    let mut rig = Rig::new(|limits| limits.in_flight_max = 100);
    let mut given_on = 0;
    for stream in (0..20_000u32).map(|round| 2 * round + 1) {
        rig.open(stream, PUT);
        if stream % 4 == 1 {
            rig.data(stream, false, &framed(b"x"));
        }
        rig.frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        rig.deliver().expect("allowed");
        let kinds: Vec<u8> = rig.records().iter().map(|(kind, ..)| *kind).collect();
        if !kinds.is_empty() {
            assert_eq!(kinds, [call_kind::CALL, call_kind::CANCEL]);
            given_on += 1;
        }
        rig.out();
        rig.check();
    }
    assert_eq!(given_on, 100, "none of them has been answered");
    assert_eq!(rig.context.calls.live(), 0);
}

#[test]
fn floods_are_cut_off() {
    let calm =
        |result: Result<(), Fatal>| result.expect_err("a flood").reason == Reason::EnhanceYourCalm;
    let mut rig = Rig::new(|_| {});
    rig.frame(kind::HEADERS, 0, 1, &head(PUT, &[]));
    for _ in 0..20 {
        rig.frame(kind::CONTINUATION, 0, 1, &[0x88; 10_000]);
    }
    assert!(calm(rig.deliver()));

    let mut rig = Rig::new(|_| {});
    rig.frame(kind::HEADERS, 0, 1, &head(PUT, &[]))
        .frame(kind::CONTINUATION, 0, 1, &[]);
    assert!(calm(rig.deliver()), "empty continuations");

    let mut rig = Rig::new(|_| {});
    for _ in 0..2000 {
        rig.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
    }
    assert!(calm(rig.deliver()), "settings");

    let mut rig = Rig::new(|_| {});
    for _ in 0..4 {
        rig.frame(kind::PING, 0, 0, &[0; 8]);
    }
    assert!(calm(rig.deliver()), "pings");
}

#[test]
fn a_header_list_beyond_the_limit_resets_its_stream_only() {
    let mut rig = Rig::new(|_| {});
    // One long entry of the table, repeated by its index: a small block that decodes to a large list.
    let mut block = vec![0x40, 1, b'x', 127, 0x81, 0x17];
    block.extend_from_slice(&[b'y'; 3072]);
    block.extend_from_slice(&[0xbe; 1000]);
    let mut whole = head(PUT, &[]);
    whole.extend_from_slice(&block);
    rig.frame(
        kind::HEADERS,
        flag::END_HEADERS | flag::END_STREAM,
        1,
        &whole,
    );
    rig.deliver().expect("the connection goes on");
    let resets: Vec<(Header, Vec<u8>)> = rig
        .out()
        .into_iter()
        .filter(|(header, _)| header.kind == kind::RST_STREAM)
        .collect();
    assert_eq!(
        resets[0].1,
        6u32.to_be_bytes(),
        "FRAME_SIZE_ERROR, as grpc-go"
    );
    rig.unary(3, b"x");
    assert_eq!(rig.calls().len(), 1);
}

#[test]
fn messages_that_never_end_are_bounded() {
    let mut rig = Rig::new(|limits| limits.assembly_bytes_max = 1 << 20);
    for round in 0..1000u32 {
        let stream = 2 * round + 1;
        rig.open(stream, PUT)
            .data(stream, false, &framed(&[7; 50_000])[..16_000]);
        rig.deliver().expect("allowed");
        rig.out();
        assert!(rig.connection.assembly_bytes <= (1 << 20) + 16_384);
    }
    rig.check();
}

#[test]
fn large_messages_are_granted_in_turn() {
    let mut rig = Rig::new(|limits| {
        limits.stream_window = 20_000;
        limits.granted_bytes_max = 100_000;
    });
    let message = framed(&[7; 90_000]);
    for stream in [1, 3, 5] {
        rig.open(stream, PUT)
            .data(stream, false, &message[..16_000]);
    }
    rig.deliver().expect("allowed");
    for stream in [1, 3, 5] {
        let granted: Vec<Header> = rig
            .out()
            .into_iter()
            .filter(|(header, _)| header.kind == kind::WINDOW_UPDATE && header.stream != 0)
            .map(|(header, _)| header)
            .collect();
        assert_eq!(
            granted
                .iter()
                .map(|header| header.stream)
                .collect::<Vec<_>>(),
            [stream]
        );
        for chunk in message[16_000..].chunks(16_000) {
            rig.data(stream, false, chunk);
        }
        rig.deliver().expect("granted");
        rig.check();
    }
    assert_eq!(rig.calls().len(), 3);
    assert_eq!(rig.connection.granted_bytes, 0);
}

#[test]
fn a_client_that_ignores_its_windows_is_stopped() {
    let mut rig = Rig::new(|limits| limits.stream_window = 20_000);
    rig.open(1, PUT)
        .data(1, false, &framed(&[7; 90_000])[..16_000])
        .data(3, false, &[]);
    assert_eq!(
        rig.deliver().expect_err("stream 3 is idle").reason,
        Reason::Protocol
    );
    let mut rig = Rig::new(|limits| limits.stream_window = 20_000);
    rig.open(1, WATCH)
        .data(1, false, &framed(&[7; 90_000])[..16_000]);
    rig.open(3, WATCH);
    rig.deliver().expect("allowed");
    rig.out();
    let more = 90_005 - 16_000;
    rig.data(3, false, &framed(&[1; 30_000])[..16_000])
        .data(3, false, &[1; 16_000]);
    rig.deliver().expect("only the stream ends");
    assert!(rig.connection.streams.contains_key(&1) && more > 0);
    rig.check();
}
