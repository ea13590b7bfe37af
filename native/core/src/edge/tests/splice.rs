//! An HTTP/1.1 connection between a client and an HTTP server, over pairs of Unix sockets.

use super::*;
use crate::edge::http_head::HEAD_BYTES_MAX;
use mio::net::UnixStream;
use std::io::{Read, Write};

/// A client and an HTTP server, with the splice between them.
struct Wire {
    splice: Splice,
    socket: Socket,
    client: UnixStream,
    server: Option<UnixStream>,
    buffer: Vec<u8>,
    connects: usize,
}

impl Wire {
    fn new() -> Wire {
        let (client, socket) = UnixStream::pair().expect("a pair");
        Wire {
            splice: Splice::new(Vec::new()),
            socket: Socket::Unix(socket),
            client,
            server: None,
            buffer: vec![0; 64 << 10],
            connects: 0,
        }
    }

    fn step(&mut self) -> Step {
        self.splice
            .run(&mut self.socket, &mut self.buffer, HEAD_BYTES_MAX)
    }

    fn run(&mut self) -> Step {
        loop {
            self.splice.ready(Side::Client, false);
            self.splice.ready(Side::Server, false);
            match self.step() {
                Step::More => {}
                Step::Waits if self.splice.wants_server() => {
                    let (ours, theirs) = UnixStream::pair().expect("a pair");
                    self.splice.connected(Socket::Unix(ours));
                    self.server = Some(theirs);
                    self.connects += 1;
                }
                step => return step,
            }
        }
    }

    /// The client sends.
    fn sends(&mut self, text: &str) -> Step {
        let mut rest = text.as_bytes();
        loop {
            match self.client.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
            let step = self.run();
            if rest.is_empty() || step == Step::Over {
                return step;
            }
        }
    }

    /// What the HTTP server has got.
    fn served(&mut self) -> String {
        self.run();
        self.server.as_mut().map(read_all).unwrap_or_default()
    }

    /// The HTTP server answers.
    fn answers(&mut self, text: &str) -> Step {
        let server = self.server.as_mut().expect("connected");
        server.write_all(text.as_bytes()).expect("there is room");
        self.run()
    }

    /// What the client has got.
    fn got(&mut self) -> String {
        self.run();
        read_all(&mut self.client)
    }
}

fn read_all(socket: &mut UnixStream) -> String {
    let mut all = Vec::new();
    // Ends with what is there: the socket does not block.
    let _ = socket.read_to_end(&mut all);
    String::from_utf8(all).expect("text")
}

fn ended(socket: &mut UnixStream) -> bool {
    matches!(socket.read(&mut [0; 16]), Ok(0))
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const HI: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";

#[test]
fn a_head_goes_on_once_it_is_whole() {
    let mut wire = Wire::new();
    for byte in GET[..GET.len() - 1].chars() {
        wire.sends(&byte.to_string());
        assert_eq!(wire.served(), "");
    }
    wire.sends("\n");
    assert_eq!(wire.served(), GET);
    wire.answers(HI);
    assert_eq!(wire.got(), HI);
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    for answer in [HI, CHUNKED] {
        let mut wire = Wire::new();
        let post = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
        wire.sends(&format!("{GET}{post}{GET}"));
        assert_eq!(wire.served(), GET);
        for byte in answer[..answer.len() - 1].chars() {
            wire.answers(&byte.to_string());
            assert_eq!(wire.served(), "");
        }
        wire.answers(&answer[answer.len() - 1..]);
        assert_eq!(wire.got(), answer);
        assert_eq!(wire.served(), post);
        wire.answers(answer);
        assert_eq!(wire.served(), GET);
        wire.answers(answer);
        assert_eq!(wire.got(), answer.repeat(2));
        assert_eq!(wire.connects, 1);
    }
}

#[test]
fn a_client_that_reads_nothing_is_read_no_further() {
    let mut wire = Wire::new();
    wire.sends(GET);
    let long = "x".repeat(100_000);
    wire.answers(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n{long}"
    ));
    let mut passed = long.len();
    loop {
        let server = wire.server.as_mut().expect("connected");
        match server.write(long.as_bytes()) {
            Ok(count) => passed += count,
            Err(_) => break,
        }
        wire.run();
    }
    assert!(wire.splice.to_client.len() <= 64 << 10);
    assert!(passed < 4 << 20, "{passed}");
    let mut got = 0;
    while got < passed {
        got += wire.got().len();
    }
}

#[test]
fn a_body_is_moved_a_buffer_at_a_time() {
    let mut wire = Wire::new();
    wire.sends("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    wire.served();
    wire.buffer = vec![0; 16 << 10];
    wire.client
        .write_all(&[b'7'; 100_000])
        .expect("room for it");
    wire.splice.ready(Side::Client, false);
    let (mut moved, mut turns) = (0, 0);
    loop {
        let step = wire.step();
        let count = read_all(wire.server.as_mut().expect("connected")).len();
        assert!(count <= wire.buffer.len(), "{count} bytes in one turn");
        moved += count;
        turns += 1;
        if step != Step::More {
            break;
        }
    }
    assert_eq!((moved, turns), (100_000, 7));
}

#[test]
fn the_http_server_may_close_what_is_idle() {
    let mut wire = Wire::new();
    for round in 1..=3 {
        wire.sends(GET);
        assert_eq!(wire.served(), GET);
        wire.answers(HI);
        assert_eq!(wire.got(), HI);
        assert_eq!(wire.connects, round);
        wire.server = None;
        assert_eq!(wire.run(), Step::Waits);
    }
    // And we give it up before that.
    wire.sends(GET);
    wire.answers(HI);
    for _ in 0..SERVER_IDLE {
        assert!(wire.splice.second_passed());
    }
    assert!(ended(wire.server.as_mut().expect("connected")) || wire.splice.server.is_none());
    wire.sends(GET);
    assert_eq!(wire.connects, 5);
}

#[test]
fn an_answer_that_is_cut_short_ends_the_connection() {
    for part in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh",
        &CHUNKED[..CHUNKED.len() - 2],
    ] {
        let mut wire = Wire::new();
        wire.sends(GET);
        wire.answers(part);
        wire.server = None;
        wire.run();
        assert_eq!(wire.got(), part);
        assert!(ended(&mut wire.client));
    }
}

#[test]
fn a_client_that_wants_no_more_is_told_the_end() {
    for request in [
        "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "HEAD /a HTTP/1.0\r\n\r\n",
    ] {
        let mut wire = Wire::new();
        wire.sends(&format!("{request}{GET}"));
        wire.served();
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        wire.answers(head);
        assert_eq!(wire.served(), "", "the next request is not passed on");
        assert_eq!(wire.got(), head);
        assert!(ended(&mut wire.client));
        assert!(wire.splice.second_passed());
        assert!(!wire.splice.second_passed());
    }
}

#[test]
fn a_client_that_goes_takes_its_request_with_it() {
    let mut wire = Wire::new();
    wire.sends(GET);
    wire.served();
    wire.socket = {
        let (client, socket) = UnixStream::pair().expect("a pair");
        wire.client = client;
        Socket::Unix(socket)
    };
    wire.client
        .shutdown(std::net::Shutdown::Write)
        .expect("open");
    assert_eq!(wire.run(), Step::Waits);
    assert!(ended(wire.server.as_mut().expect("connected")));
    wire.server = None;
    assert_eq!(wire.run(), Step::Over);
}

#[test]
fn heads_have_a_limit_and_a_time() {
    let mut wire = Wire::new();
    wire.sends("GET / HTTP/1.1\r\nHost: x\r\n");
    wire.sends(&"A: b\r\n".repeat(HEAD_BYTES_MAX / 6));
    assert!(
        wire.got()
            .starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n")
    );
    assert!(ended(&mut wire.client));
    assert_eq!(wire.connects, 0);

    let mut wire = Wire::new();
    assert_eq!(wire.sends(""), Step::Waits);
    for _ in 0..2 * HEAD_WITHIN {
        assert!(wire.splice.second_passed());
    }
    wire.sends("G");
    for _ in 1..HEAD_WITHIN {
        assert!(wire.splice.second_passed());
    }
    assert!(!wire.splice.second_passed());
}

#[test]
fn bodies_come_out_as_they_went_in() {
    let mut wire = Wire::new();
    wire.sends(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(
        wire.served(),
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    wire.sends("0003;x=\"y\"\r\nabc\r\n");
    assert_eq!(wire.served(), "3\r\nabc\r\n");
    wire.sends("0\r\nHost: y\r\n\r\n");
    assert_eq!(wire.served(), "0\r\n\r\n");

    let mut wire = Wire::new();
    wire.sends("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    assert!(wire.got().starts_with("HTTP/1.1 400 Bad Request\r\n"));
    assert!(ended(&mut wire.client));
}

#[test]
fn leave_to_send_is_given() {
    let mut wire = Wire::new();
    wire.sends("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(wire.got(), "HTTP/1.1 100 Continue\r\n\r\n");
    wire.sends("ab");
    assert!(wire.served().ends_with("\r\n\r\nab"));
}

#[test]
fn a_web_socket_is_left_alone() {
    let mut wire = Wire::new();
    wire.sends("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    wire.served();
    wire.answers("HTTP/1.1 101 Switching Protocols\r\n\r\nframe");
    assert!(wire.got().ends_with("\r\n\r\nframe"));
    wire.sends("GET / HTTP/9");
    assert_eq!(wire.served(), "GET / HTTP/9");
    wire.answers("more");
    assert_eq!(wire.got(), "more");
    wire.server = None;
    wire.run();
    assert!(ended(&mut wire.client));
}
