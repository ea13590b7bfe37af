//! Loads a gRPC server with one unary call of etcd's KV service, over HTTP/2 with prior knowledge on one thread,
//! and times every answer. What it has over h2load: a new key for each put, the `grpc-status` of every answer,
//! an open loop (so many requests a second, timed from when each was due), and less CPU of its own.
//!
//! `load address=127.0.0.1:2379 call=put|range|serializable [connections=100] [streams=10] [warmup-ms=1000]
//! [measure-ms=4000] [rate=0] [keys=500000] [value-bytes=256] [seed=1] [pid=0] [latencies=FILE]`
//!
//! rate=0 is the closed loop: every connection keeps `streams` requests in flight. A range asks for key 0.
//! `pid` is the server: its CPU time is taken at the begin and the end of the measured time.
//! Prints one JSON line; FILE gets the latencies of the measured time, u32 each, little-endian, in 100 ns.

mod connection;
mod process;
mod request;
mod run;
mod status;

use run::{Outcome, Settings};
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::time::Duration;

fn main() {
    let arguments = Arguments::read();
    let settings = Settings {
        address: arguments
            .text("address")
            .parse::<SocketAddr>()
            .expect("address=IP:PORT"),
        call: request::Call::of(arguments.text("call")).expect("call=put|range|serializable"),
        connections: arguments.number("connections", 100) as usize,
        streams: arguments.number("streams", 10) as usize,
        warmup: Duration::from_millis(arguments.number("warmup-ms", 1000)),
        measure: Duration::from_millis(arguments.number("measure-ms", 4000)),
        rate: arguments.number("rate", 0),
        keys: arguments.number("keys", 500_000).max(1),
        value_bytes: arguments.number("value-bytes", 256) as usize,
        seed: arguments.number("seed", 1),
        pid: arguments.number("pid", 0) as u32,
    };
    let outcome = run::run(&settings);
    if let Some(path) = arguments.0.get("latencies") {
        write_latencies(path, &outcome.latencies).expect("write the latencies");
    }
    println!("{}", json(&outcome));
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

    fn number(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).map_or(default, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
        })
    }
}

fn write_latencies(path: &str, latencies: &[u32]) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for latency in latencies {
        file.write_all(&latency.to_le_bytes())?;
    }
    file.flush()
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
