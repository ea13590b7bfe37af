//! Loads a gRPC server with calls of etcd's API, over HTTP/2 with prior knowledge on one thread, and times every
//! answer. What it has over h2load: a new key for each put, the `grpc-status` of every answer, streams, an open loop
//! (so many requests a second, timed from when each was due), and less CPU of its own.
//!
//! `load address=127.0.0.1:2379 call=put|range|serializable|grant|put-lease [connections=100] [streams=10]
//! [warmup-ms=1000] [measure-ms=4000] [rate=0] [keys=500000] [value-bytes=256] [seed=1] [pid=0] [total=0] [ttl=60]
//! [latencies=FILE] [answered=FILE] [while=FILE]`
//!
//! rate=0 is the closed loop: every connection keeps `streams` requests in flight. A range asks for key 0. A grant is
//! of the n-th lease, a put-lease of the n-th key with it. `total` ends the run after so many requests, all measured.
//! With `while` the measured time ends as soon as that file is gone, after `measure-ms` at the latest.
//! `pid` is the server: its CPU time is taken at the begin and the end of the measured time.
//! Prints one JSON line; `latencies` gets those of the measured time, u32 each, little-endian, in 100 ns; `answered`
//! (with `total`) when request n was answered, u64 each, little-endian, in µs since the epoch.
//!
//! `call=keepalive`: `streams` streams a connection with one message in flight each, for random ones of `keys` leases.
//! `call=snapshot`: reads one.
//! `call=watch watched=one-key|each-key|all-keys|lease-keys watches=N [drained=0] [answered=FILE ttl=N]`: see watch.rs;
//! `answered` is of the grants.

mod calls;
mod connection;
mod message;
mod process;
mod request;
mod run;
mod status;
mod streams;
mod watch;
mod wire;

use run::{Outcome, Settings};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

fn main() {
    let arguments = Arguments::read();
    let address = arguments
        .text("address")
        .parse::<SocketAddr>()
        .expect("address=IP:PORT");
    match arguments.text("call") {
        "keepalive" => calls::keep_alive(&keep_alives(&arguments, address)),
        "snapshot" => calls::snapshot(address, arguments.number("pid", 0) as u32),
        "watch" => watch::run(watches(&arguments, address)),
        _ => unary(&arguments, address),
    }
}

fn unary(arguments: &Arguments, address: SocketAddr) {
    let ttl = arguments.number("ttl", 60);
    let settings = Settings {
        address,
        call: request::Call::of(arguments.text("call"), ttl).expect("call=, see above"),
        connections: arguments.number("connections", 100) as usize,
        streams: arguments.number("streams", 10) as usize,
        warmup: arguments.milliseconds("warmup-ms", 1000),
        measure: arguments.milliseconds("measure-ms", 4000),
        rate: arguments.number("rate", 0),
        keys: arguments.number("keys", 500_000).max(1),
        value_bytes: arguments.number("value-bytes", 256) as usize,
        seed: arguments.number("seed", 1),
        pid: arguments.number("pid", 0) as u32,
        total: arguments.number("total", 0),
        while_file: arguments.0.get("while").map(PathBuf::from),
    };
    let outcome = run::run(&settings);
    if let Some(path) = arguments.0.get("latencies") {
        let bytes = outcome.latencies.iter().flat_map(|ns| ns.to_le_bytes());
        std::fs::write(path, bytes.collect::<Vec<u8>>()).expect("write the latencies");
    }
    if let Some(path) = arguments.0.get("answered") {
        let bytes = outcome.answered.iter().flat_map(|us| us.to_le_bytes());
        std::fs::write(path, bytes.collect::<Vec<u8>>()).expect("write the times");
    }
    println!("{}", json(&outcome));
}

fn keep_alives(arguments: &Arguments, address: SocketAddr) -> calls::KeepAlives {
    calls::KeepAlives {
        address,
        connections: arguments.number("connections", 100) as usize,
        streams: arguments.number("streams", 10) as usize,
        leases: arguments.number("keys", 1).max(1),
        warmup: arguments.milliseconds("warmup-ms", 1000),
        measure: arguments.milliseconds("measure-ms", 4000),
        seed: arguments.number("seed", 1),
        pid: arguments.number("pid", 0) as u32,
    }
}

fn watches(arguments: &Arguments, address: SocketAddr) -> watch::Settings {
    let ttl_us = arguments.number("ttl", 60) * 1_000_000;
    let lease_ends = arguments.0.get("answered").map_or(Vec::new(), |path| {
        let bytes = std::fs::read(path).expect("read the times");
        let times = bytes.chunks_exact(8).map(|time| {
            let granted = u64::from_le_bytes(time.try_into().expect("8 bytes"));
            granted + ttl_us
        });
        times.collect()
    });
    watch::Settings {
        address,
        connections: arguments.number("connections", 100) as usize,
        streams: arguments.number("streams", 1) as usize,
        watches: arguments.number("watches", 1) as usize,
        watched: watch::Watched::of(arguments.text("watched")).expect("watched=, see above"),
        drained: arguments.number("drained", 0) as usize,
        value_bytes: arguments.number("value-bytes", 256) as usize,
        pid: arguments.number("pid", 0) as u32,
        lease_ends,
    }
}

/// `name=value`, each.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read() -> Arguments {
        let pairs = std::env::args().skip(1).map(|argument| {
            let (name, value) = argument.split_once('=').expect("arguments are name=value");
            (name.to_owned(), value.to_owned())
        });
        Arguments(pairs.collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn milliseconds(&self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.number(name, default))
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).map_or(default, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
        })
    }
}

fn json(outcome: &Outcome) -> String {
    let failed: Vec<String> = outcome
        .failed
        .iter()
        .map(|(code, count)| format!("\"{code}\":{count}"))
        .collect();
    let threads: Vec<String> = outcome
        .threads
        .iter()
        .map(|thread| {
            let (id, name, ns) = (thread.id, &thread.name, thread.cpu_ns);
            format!("{{\"id\":{id},\"name\":\"{name}\",\"cpuNs\":{ns}}}")
        })
        .collect();
    format!(
        "{{\"seconds\":{:.6},\"completed\":{},\"succeededTotal\":{},\"failed\":{{{}}},\"unfinished\":{},\
         \"serverCpuSeconds\":{:.3},\"ownCpuSeconds\":{:.3},\"threads\":[{}]}}",
        outcome.seconds,
        outcome.completed,
        outcome.succeeded_total,
        failed.join(","),
        outcome.unfinished,
        outcome.server_cpu_seconds,
        outcome.own_cpu_seconds,
        threads.join(","),
    )
}
