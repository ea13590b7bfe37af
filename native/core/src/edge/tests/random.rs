//! Clients that send at random, mostly what is valid; seeds make them repeatable.

use super::{PUT, Rig, SNAPSHOT, WATCH, framed, head};
use crate::edge::batch::reply_kind;
use crate::edge::frame::{flag, kind};

/// A small generator of random numbers; the seed is all it depends on.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % below
    }
}

/// One random frame, mostly valid, about one of few streams.
fn random_frame(rig: &mut Rig, random: &mut Random, next_stream: &mut u32) {
    let stream = (*next_stream)
        .saturating_sub(2 * random.next(12) as u32)
        .max(1);
    let message = framed(&vec![1; [0, 5, 300, 30_000, 99_990][random.next(5)]]);
    let numbers = [random.next(100_000) as u32, random.next(200_000) as u32];
    match random.next(14) {
        0..=4 => random_request(rig, random, next_stream, &message),
        5 | 6 => {
            let end = random.next(2) == 0;
            rig.data(stream, end, &message[..message.len().min(16_000)]);
        }
        7 => {
            rig.data(stream, true, &[]);
        }
        8 => {
            rig.frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        }
        9 => {
            rig.frame(kind::WINDOW_UPDATE, 0, 0, &(numbers[0] + 1).to_be_bytes());
        }
        10 | 11 => {
            rig.frame(kind::WINDOW_UPDATE, 0, stream, &numbers[0].to_be_bytes());
        }
        12 => {
            let [a, b, c, d] = numbers[1].to_be_bytes();
            rig.frame(kind::SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
        }
        _ => {
            rig.frame(kind::DATA, flag::PADDED, stream, &[3, 0, 1, 2, 3]);
        }
    }
}

fn random_request(rig: &mut Rig, random: &mut Random, next_stream: &mut u32, message: &[u8]) {
    *next_stream += 2;
    let path = [PUT, PUT, WATCH, SNAPSHOT, "/no/such"][random.next(5)];
    let more: [&[(&str, &str)]; 4] = [
        &[],
        &[("grpc-timeout", "5u")],
        &[("grpc-encoding", "gzip")],
        &[("x-bin", "!")],
    ];
    let flags = flag::END_HEADERS | u8::from(random.next(20) == 0);
    let head = head(path, more[random.next(4)]);
    rig.frame(kind::HEADERS, flags, *next_stream, &head);
    for chunk in message.chunks(16_000) {
        if random.next(30) > 0 {
            rig.data(*next_stream, false, chunk);
        }
    }
}

fn random_reply(rig: &mut Rig, random: &mut Random, known: &mut Vec<u32>) {
    if known.is_empty() {
        return;
    }
    let place = random.next(known.len());
    let id = known[place];
    let message = vec![2; [0, 10, 20_000, 150_000][random.next(4)]];
    match random.next(4) {
        0 => rig.reply(id, reply_kind::MESSAGE, random.next(2) as u8, &message, b""),
        1 => rig.reply(id, reply_kind::END, 5, b"", "nö".as_bytes()),
        _ => rig.reply(id, reply_kind::MESSAGE_AND_END, 0, &message, b""),
    }
    if random.next(3) > 0 {
        known.swap_remove(place);
    }
}

#[test]
fn random_clients_break_nothing() {
    for seed in 1..=60u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut rig = Rig::new(|limits| {
            limits.in_flight_max = 6;
            limits.pending_bytes_max = 200_000;
            limits.stream_window = 40_000;
            limits.granted_bytes_max = 150_000;
            limits.assembly_bytes_max = 600_000;
        });
        let (mut next_stream, mut known) = (1, Vec::new());
        for step in 0..2000u64 {
            rig.context.now = step * 3;
            random_frame(&mut rig, &mut random, &mut next_stream);
            if random.next([40, 1000][seed as usize % 2]) == 0 {
                let at = random.next(rig.sent.len());
                rig.sent[at] ^= 1 << random.next(8);
            }
            let sent = std::mem::take(&mut rig.sent);
            match rig.connection.receive(&sent, &mut rig.context) {
                Ok(taken) => rig.sent.extend_from_slice(&sent[taken.bytes..]),
                Err(_) => {
                    assert_eq!(rig.context.calls.live(), 0, "seed {seed}, step {step}");
                    break;
                }
            }
            rig.connection.second_passed(&mut rig.context);
            known.extend(rig.calls());
            random_reply(&mut rig, &mut random, &mut known);
            let now = rig.context.now;
            while let Some(id) = rig.context.deadlines.pop_due(now, &mut rig.context.calls) {
                rig.connection.expire(id, &mut rig.context);
            }
            known.extend(rig.calls());
            rig.check();
            if random.next(3) > 0 {
                rig.out();
            }
        }
        rig.connection.abandon(&mut rig.context);
        assert_eq!(rig.context.calls.live(), 0);
        assert_eq!(rig.context.pending_bytes, 0);
        assert!(rig.context.orphans.is_empty());
    }
}
