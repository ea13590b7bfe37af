//! Reads the protobuf messages that streams bring.

/// The value of a field.
pub enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order. Panics on a broken one.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let tag = varint(&mut self.0);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut self.0)),
            2 => {
                let length = varint(&mut self.0) as usize;
                let (bytes, rest) = self.0.split_at(length);
                self.0 = rest;
                Value::Bytes(bytes)
            }
            other => panic!("a field of wire type {other}"),
        };
        Some((tag >> 3, value))
    }
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let byte = rest[0];
        *rest = &rest[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

/// What a WatchResponse says besides its events.
#[derive(Default)]
pub struct WatchHead {
    pub revision: u64,
    pub watch_id: u64,
    pub created: bool,
    pub canceled: bool,
}

/// What the checks need of an event.
#[derive(Default)]
pub struct Event<'a> {
    pub delete: bool,
    pub key: &'a [u8],
    pub mod_revision: u64,
    pub version: u64,
}

/// Reads a WatchResponse; `event` gets its events once its head is known.
pub fn watch_response(message: &[u8], mut event: impl FnMut(&WatchHead, Event<'_>)) -> WatchHead {
    let mut head = WatchHead::default();
    for field in Fields(message) {
        match field {
            (1, Value::Bytes(header)) => head.revision = number(header, 3),
            (2, Value::Number(id)) => head.watch_id = id,
            (3, Value::Number(flag)) => head.created = flag != 0,
            (4, Value::Number(flag)) => head.canceled = flag != 0,
            (11, Value::Bytes(bytes)) => event(&head, event_of(bytes)),
            _ => {}
        }
    }
    head
}

fn event_of(bytes: &[u8]) -> Event<'_> {
    let mut event = Event::default();
    for field in Fields(bytes) {
        match field {
            (1, Value::Number(kind)) => event.delete = kind == 1,
            (2, Value::Bytes(kv)) => {
                for field in Fields(kv) {
                    match field {
                        (1, Value::Bytes(key)) => event.key = key,
                        (3, Value::Number(revision)) => event.mod_revision = revision,
                        (4, Value::Number(version)) => event.version = version,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    event
}

/// A number's field; 0 when it is not there.
pub fn number(message: &[u8], wanted: u64) -> u64 {
    Fields(message).fold(0, |found, field| match field {
        (name, Value::Number(value)) if name == wanted => value,
        _ => found,
    })
}

/// The length of a field of bytes; 0 when it is not there.
pub fn length(message: &[u8], wanted: u64) -> u64 {
    Fields(message).fold(0, |found, field| match field {
        (name, Value::Bytes(value)) if name == wanted => value.len() as u64,
        _ => found,
    })
}
