//! What clients can make the edge hold, and how long one can keep it from the others.

use super::{PUT, Rig, SNAPSHOT, WATCH, cpu_time, framed, head, literal, string};
use crate::edge::batch::reply_kind;
use crate::edge::frame::{self, Reason, flag, kind};
use std::time::Duration;

/// A field that puts a name of 3,900 bytes into the table, then `times` that spell it out by its index.
fn spelled_out(times: usize) -> Vec<u8> {
    [
        vec![0x40],
        string(&[b'a'; 3900]),
        string(b""),
        [0x7e, 0].repeat(times),
    ]
    .concat()
}

#[test]
fn header_blocks_that_cost_much_more_than_they_are_long() {
    let mut rig = Rig::new(|_| {});
    let block = [head(PUT, &[]), spelled_out(30_000)].concat();
    let mut kind = kind::HEADERS;
    for chunk in block.chunks(16_000) {
        rig.frame(kind, 0, 1, chunk);
        kind = kind::CONTINUATION;
    }
    rig.frame(kind, flag::END_HEADERS, 1, &[0x7e, 0]);
    let fatal = rig.deliver().expect_err("a bomb");
    assert_eq!(fatal.reason, Reason::EnhanceYourCalm);

    let mut rig = Rig::new(|_| {});
    let block = [head(PUT, &[]), spelled_out(60)].concat();
    for stream in 0..10 {
        let flags = flag::END_HEADERS | flag::END_STREAM;
        rig.frame(kind::HEADERS, flags, 2 * stream + 1, &block);
    }
    let turns = rig.deliver_in_turns(|_| {}).expect("each one is allowed");
    assert!(turns >= 4, "all at once would be 2 MB of names: {turns}");
}

#[test]
fn requests_whose_refusals_are_long_are_refused_in_turns() {
    let mut rig = Rig::new(|_| {});
    let flags = flag::END_HEADERS | flag::END_STREAM;
    let first = [
        vec![0x83, 0x86, 0x44],
        string(&[0xff; 3900]),
        vec![0x5f],
        string(b"application/grpc"),
    ]
    .concat();
    rig.frame(kind::HEADERS, flags, 1, &first);
    for stream in 1..2000 {
        // All of it from the table: 13 bytes that are answered with 12,000.
        let again = [0x83, 0x86, 0xbf, 0xbe];
        rig.frame(kind::HEADERS, flags, 2 * stream + 1, &again);
    }
    let turns = rig.deliver_in_turns(|rig| {
        let waiting = rig.connection.out.waiting();
        assert!(waiting <= (256 << 10) + 16_384, "{waiting} bytes to write");
    });
    assert!(turns.expect("allowed") > 80);
}

#[test]
fn calls_whose_records_are_long_are_handed_over_in_turns() {
    let mut rig = Rig::new(|_| {});
    let mut block = vec![0x83, 0x86];
    literal(&mut block, ":path", WATCH);
    literal(&mut block, "content-type", "application/grpc");
    let first = [
        block.clone(),
        vec![0x40],
        string(b"token"),
        string(&[b'x'; 3900]),
    ]
    .concat();
    rig.frame(kind::HEADERS, flag::END_HEADERS, 1, &first);
    block.push(0xbe);
    for stream in 1..1000 {
        rig.frame(kind::HEADERS, flag::END_HEADERS, 2 * stream + 1, &block);
    }
    let turns = rig.deliver_in_turns(|rig| {
        let records = rig.context.records.len();
        assert!(records <= (256 << 10) + 8192, "{records} bytes of records");
    });
    assert!(turns.expect("allowed") > 10);
    rig.check();
}

#[test]
fn gzip_bombs_are_unpacked_in_turns() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&[0; 300_000]).expect("memory");
    let mut bomb = framed(&encoder.finish().expect("memory"));
    bomb[0] = 1;
    let mut rig = Rig::new(|limits| limits.receive_bytes_max = 200_000);
    for stream in 0..30 {
        let block = head(PUT, &[("grpc-encoding", "gzip")]);
        rig.frame(kind::HEADERS, flag::END_HEADERS, 2 * stream + 1, &block)
            .data(2 * stream + 1, true, &bomb);
    }
    let turns = rig.deliver_in_turns(|_| {}).expect("allowed");
    assert_eq!(turns, 11, "three of 200,000 bytes a turn");
}

/// A client that keeps to its windows sends messages of 10,000 bytes as long as it may; returns how many.
fn send_while_allowed(rig: &mut Rig, next_stream: &mut u32, window: &mut i64) -> usize {
    let message = framed(&[7; 10_000]);
    for sent in 0.. {
        for (header, payload) in rig.out() {
            if header.kind == kind::WINDOW_UPDATE && header.stream == 0 {
                *window += i64::from(frame::read_u32(&payload));
            }
        }
        if *window < message.len() as i64 {
            return sent;
        }
        *window -= message.len() as i64;
        rig.open(*next_stream, PUT)
            .data(*next_stream, true, &message);
        *next_stream += 2;
        rig.deliver().expect("it keeps to its windows");
        assert!(sent < 1_000_000, "it may send forever");
    }
    unreachable!()
}

#[test]
fn whole_messages_that_wait_close_the_window_and_none_is_lost() {
    let mut rig = Rig::new(|limits| {
        limits.in_flight_max = 4;
        limits.connection_window = 1 << 20;
        limits.deferred_bytes_max = 2 << 20;
    });
    let (mut next_stream, mut window) = (1, 65_535);
    let sent = send_while_allowed(&mut rig, &mut next_stream, &mut window);
    assert!(
        (200..400).contains(&sent),
        "{sent} messages of 10,000 bytes"
    );
    rig.check();
    assert!(rig.connection.deferred_bytes <= 3 << 20);
    let (mut answered, mut more) = (0, 0);
    while answered < sent + more {
        let calls = rig.calls();
        assert!(!calls.is_empty(), "{answered} of {sent} and {more}");
        for id in calls {
            rig.reply(id, reply_kind::MESSAGE_AND_END, 0, b"", b"");
            answered += 1;
        }
        if more < 500 {
            more += send_while_allowed(&mut rig, &mut next_stream, &mut window);
        }
        rig.check();
    }
    assert!(more >= 500, "the window has opened again");
    assert_eq!(rig.connection.deferred_bytes, 0);
}

#[test]
fn requests_of_server_streams_that_never_begin_are_bounded() {
    let mut rig = Rig::new(|limits| limits.assembly_bytes_max = 1 << 20);
    for round in 0..1000 {
        let stream = 2 * round + 1;
        rig.open(stream, SNAPSHOT)
            .data(stream, false, &framed(&[7; 10_000]));
        rig.deliver().expect("allowed");
        rig.out();
        assert!(rig.connection.opening_bytes <= 1 << 20);
    }
    rig.check();
    assert!(rig.connection.streams.len() < 110);
}

#[test]
fn calls_of_a_connection_are_bounded_by_what_they_hold() {
    let mut rig = Rig::new(|limits| limits.held_bytes_max = 1 << 20);
    let token = "x".repeat(100);
    let block = head(WATCH, &[("token", &token)]);
    let mut next_stream = 1;
    let mut open = |rig: &mut Rig, count: u32| -> (usize, usize) {
        for _ in 0..count {
            rig.frame(kind::HEADERS, flag::END_HEADERS, next_stream, &block);
            next_stream += 2;
        }
        rig.deliver().expect("allowed");
        let refused = rig
            .out()
            .iter()
            .filter(|(header, payload)| {
                header.kind == kind::RST_STREAM && payload == &7u32.to_be_bytes()
            })
            .count();
        (rig.calls().len(), refused)
    };
    let (opened, refused) = open(&mut rig, 3000);
    assert_eq!(opened + refused, 3000);
    assert!((1500..2000).contains(&opened), "{opened} streams");
    rig.check();
    rig.frame(kind::RST_STREAM, 0, 1, &8u32.to_be_bytes());
    assert_eq!(open(&mut rig, 2), (1, 1), "one has made room for one");
    rig.check();
}

/// What each step costs must not grow with the number of streams: 200,000 of them would take half a minute.
#[test]
fn resets_of_streams_that_wait_for_a_large_message_cost_little() {
    let mut rig = Rig::new(|limits| {
        limits.stream_window = 100;
        limits.granted_bytes_max = 100_000;
        limits.held_bytes_max = usize::MAX;
    });
    let count = 200_000u32;
    let part = &framed(&[7; 90_000])[..6];
    for stream in (0..count).map(|place| 2 * place + 1) {
        rig.open(stream, PUT).data(stream, false, part);
    }
    rig.deliver_in_turns(|_| {}).expect("allowed");
    assert!(rig.connection.awaiting_grant.len() >= count as usize - 2);
    let before = cpu_time();
    for stream in (0..count).rev().map(|place| 2 * place + 1) {
        rig.frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
    }
    rig.deliver_in_turns(|_| {}).expect("allowed");
    let took = cpu_time() - before;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(rig.context.calls.live(), 0);
    rig.check();
}

#[test]
fn windows_that_are_opened_one_byte_at_a_time_cost_little() {
    let mut rig = Rig::new(|_| {});
    rig.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let count = 1000u32;
    let streams = (0..count).map(|place| 2 * place + 1);
    for stream in streams.clone() {
        rig.open(stream, WATCH);
    }
    rig.deliver().expect("allowed");
    for id in rig.calls() {
        rig.reply(id, reply_kind::MESSAGE, 0, &[1; 500], b"");
    }
    rig.out();
    for _ in 0..5 {
        for stream in streams.clone() {
            rig.frame(kind::WINDOW_UPDATE, 0, stream, &1u32.to_be_bytes());
        }
        rig.deliver_in_turns(|_| {}).expect("allowed");
        assert_eq!(
            rig.connection.window_blocked.len(),
            count as usize,
            "each is listed once"
        );
    }
    rig.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
    rig.deliver().expect("allowed");
    rig.frame(kind::WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes());
    rig.deliver().expect("allowed");
    rig.out();
    assert_eq!(rig.connection.pending_bytes, 0, "all of them go on");
    assert!(rig.connection.window_blocked.is_empty());
    rig.check();
}

#[test]
fn settings_that_set_many_streams_free_take_a_turn_each() {
    let mut rig = Rig::new(|_| {});
    rig.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    for stream in 0..9000u32 {
        rig.open(2 * stream + 1, WATCH);
    }
    rig.deliver().expect("allowed");
    for id in rig.calls() {
        rig.reply(id, reply_kind::MESSAGE, 0, &[1; 500], b"");
    }
    rig.out();
    rig.frame(kind::WINDOW_UPDATE, 0, 0, &100_000_000u32.to_be_bytes());
    for window in 1..=20 {
        rig.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, window]);
    }
    let turns = rig.deliver_in_turns(|_| {}).expect("allowed");
    assert!(turns >= 20, "{turns} turns");
    rig.check();
}

#[test]
fn an_idle_connection_gives_back_the_memory_of_a_busy_moment() {
    let mut rig = Rig::new(|_| {});
    for stream in 0..10 {
        rig.unary(2 * stream + 1, b"x");
    }
    for id in rig.calls() {
        rig.reply(id, reply_kind::MESSAGE_AND_END, 0, &[1; 5000], b"");
    }
    rig.connection.second_passed(&mut rig.context);
    assert!(rig.connection.out.waiting() > 50_000, "it is not idle yet");
    rig.out();
    assert!(rig.connection.out.bytes.capacity() > 50_000);
    rig.connection.second_passed(&mut rig.context);
    let kept = rig.connection.out.bytes.capacity();
    assert!(kept <= 4096, "{kept} bytes");
}

#[test]
fn calls_that_are_reset_count_until_they_are_answered_or_for_a_time() {
    let mut rig = Rig::new(|limits| limits.in_flight_max = 2);
    rig.unary(1, b"a");
    rig.unary(3, b"b");
    let first = rig.calls();
    assert_eq!(first.len(), 2);
    for stream in [1, 3] {
        rig.frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
    }
    for stream in [5, 7, 9, 11] {
        rig.unary(stream, b"c");
    }
    assert!(rig.calls().is_empty(), "two are still worked for");
    rig.check();
    rig.reply(first[0], reply_kind::MESSAGE_AND_END, 0, b"late", b"");
    assert_eq!(rig.calls().len(), 1);
    rig.reply(first[0], reply_kind::END, 0, b"", b"");
    assert!(rig.calls().is_empty(), "it counts once");
    rig.context.now = 999_999;
    rig.connection.second_passed(&mut rig.context);
    assert!(rig.calls().is_empty());
    rig.context.now = 1_000_000;
    rig.connection.second_passed(&mut rig.context);
    assert_eq!(rig.calls().len(), 1, "the other one may never be answered");
    rig.check();
    rig.connection.abandon(&mut rig.context);
    assert!(rig.context.orphans.is_empty());
}
