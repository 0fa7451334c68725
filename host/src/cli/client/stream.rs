//! A parser of server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::mem;

/// An event. An event without data only carries the position in the stream, its id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Event {
    pub(in crate::cli) id: String,
    pub(in crate::cli) kind: String,
    pub(in crate::cli) data: String,
}

/// Assembles events from bytes that arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
    event: Event,
}

impl Parser {
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next complete event.
    pub(super) fn next(&mut self) -> Option<Event> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => value.clone_into(&mut self.event.id),
                "event" => value.clone_into(&mut self.event.kind),
                "data" => self.event.data.push_str(value),
                _ if line.is_empty() && self.event != Event::default() => return Some(mem::take(&mut self.event)),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_assembled_from_pieces() {
        let mut parser = Parser::default();
        parser.put(b"retry: 1000\nid: a-1\n\n: \nid: a-2\nev");
        assert_eq!(parser.next().map(|event| event.id).as_deref(), Some("a-1"));
        assert_eq!(parser.next(), None);
        parser.put(b"ent: log\r\ndata: {\"a\":1}\n\n\n");
        let event = Event { id: "a-2".into(), kind: "log".into(), data: "{\"a\":1}".into() };
        assert_eq!(parser.next(), Some(event));
        assert_eq!(parser.next(), None);
    }
}
