//! Streaming calls that are measured by themselves: keepalives in closed loop, and a snapshot.

use crate::message::{length, number};
use crate::process;
use crate::request::{FIRST_LEASE, put_varint};
use crate::run::{GOLDEN, splitmix};
use crate::streams::{Loop, Streams, WIDE};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);

pub struct KeepAlives {
    pub address: SocketAddr,
    pub connections: usize,
    /// On each connection; each with one message in flight.
    pub streams: usize,
    pub leases: u64,
    pub warmup: Duration,
    pub measure: Duration,
    pub seed: u64,
    pub pid: u32,
}

/// Keeps random leases alive, and prints how often.
pub fn keep_alive(settings: &KeepAlives) {
    let path = "/etcdserverpb.Lease/LeaseKeepAlive";
    let mut connections: Vec<Streams> = (0..settings.connections)
        .map(|_| Streams::open(settings.address, path, settings.streams, WIDE))
        .collect();
    let mut random = settings.seed;
    let mut next = move || {
        let mut message = vec![0x08];
        put_varint(
            &mut message,
            FIRST_LEASE + splitmix(random) % settings.leases,
        );
        random = random.wrapping_add(GOLDEN);
        message
    };
    for connection in &mut connections {
        for stream in 0..settings.streams {
            connection.send(stream, &next());
        }
        connection.flush();
    }
    let mut turns = Loop::new(&mut connections);
    let ticks = || {
        (
            process::cpu_ticks(&settings.pid.to_string()),
            process::cpu_ticks("self"),
        )
    };
    let mut before = ticks();
    let began = Instant::now();
    let mut measuring = false;
    let (mut completed, mut failed) = (0u64, 0u64);
    let mut asked: Vec<usize> = Vec::new();
    while began.elapsed() < settings.warmup + settings.measure {
        if !measuring && began.elapsed() >= settings.warmup {
            measuring = true;
            before = ticks();
            (completed, failed) = (0, 0);
        }
        turns.turn(POLL, |at, readable| {
            if readable {
                connections[at].receive(&mut |stream, message| {
                    // A lease that is not there has no TTL.
                    completed += u64::from(number(message, 3) > 0);
                    failed += u64::from(number(message, 3) == 0);
                    asked.push(stream);
                });
            }
            for stream in asked.drain(..) {
                connections[at].send(stream, &next());
            }
            connections[at].flush();
        });
    }
    let after = ticks();
    let seconds = |ticks: u64| ticks as f64 / process::TICKS_PER_SECOND;
    println!(
        "{{\"completed\":{completed},\"failed\":{failed},\"cpuSeconds\":{},\"ownCpuSeconds\":{}}}",
        seconds(after.0 - before.0),
        seconds(after.1 - before.1)
    );
}

/// Reads a snapshot, and prints how long it took and how large it was.
pub fn snapshot(address: SocketAddr, pid: u32) {
    let began = Instant::now();
    let cpu = process::cpu_ticks(&pid.to_string());
    let path = "/etcdserverpb.Maintenance/Snapshot";
    let mut connections = [Streams::open(address, path, 1, WIDE)];
    connections[0].send(0, &[]);
    connections[0].flush();
    connections[0].close(0);
    let (mut bytes, mut announced) = (0, 0);
    let mut turns = Loop::new(&mut connections);
    while connections[0].ended() == 0 {
        turns.turn(POLL, |_, _| {
            connections[0].receive(&mut |_, message| {
                let blob = length(message, 3);
                if bytes == 0 {
                    announced = number(message, 2) + blob;
                }
                bytes += blob;
            });
        });
    }
    println!(
        "{{\"bytes\":{bytes},\"announced\":{announced},\"ms\":{},\"cpuSeconds\":{}}}",
        began.elapsed().as_millis(),
        (process::cpu_ticks(&pid.to_string()) - cpu) as f64 / process::TICKS_PER_SECOND
    );
}
