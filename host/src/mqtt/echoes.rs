//! Recognizes the link's own messages when the broker sends them back on a watched topic. In MQTT 5 they carry the id
//! of their run; in 3.1.1 they are recognized by topic and payload.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use super::{limits, wire::Arrived};

/// The own messages that may come back.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    hasher: RandomState,
    /// How often each message was sent and has not come back yet: messages under way, and those that the broker
    /// delivers to no client (I10: bounded by [`limits::ECHOES`]).
    live: HashMap<u64, u32>,
    /// The newest retained message of each topic, if it is the link's own.
    retained: HashMap<u64, u64>,
}

impl Echoes {
    /// Records that a message was sent, possibly to a watched topic.
    pub(super) fn sent(&mut self, topic: &str, payload: &[u8], retain: bool, is_watched: bool) {
        let message = self.hasher.hash_one((topic, payload));
        if is_watched {
            if self.live.len() >= limits::ECHOES {
                self.live.clear();
            }
            *self.live.entry(message).or_default() += 1;
        }
        if retain {
            if self.retained.len() >= limits::ECHOES {
                self.retained.clear();
            }
            self.retained.insert(self.hasher.hash_one(topic), message);
        }
    }

    /// Returns whether a message is the link's own, and counts it as having come back.
    pub(super) fn consume(&mut self, arrived: &Arrived) -> bool {
        let topic = self.hasher.hash_one(arrived.topic.as_str());
        let message = self.hasher.hash_one((arrived.topic.as_str(), &arrived.payload[..]));
        if arrived.retained {
            return self.retained.get(&topic) == Some(&message);
        }
        if let Some(count) = self.live.get_mut(&message) {
            *count -= 1;
            if *count == 0 {
                self.live.remove(&message);
            }
            return true;
        }
        // A device's report does not clear `retained`, because the link does not know whether the broker retains it. An
        // identical retained message then counts as the link's own; at worst a message is sent needlessly.
        false
    }

    /// Forgets the messages of a connection that ended: they do not come back.
    pub(super) fn end(&mut self) {
        self.live.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(payload: &'static str, retained: bool) -> Arrived {
        let (topic, payload) = ("door/state".to_owned(), payload.into());
        Arrived { topic, payload, id: None, retained, expires: false, is_own: false }
    }

    #[test]
    fn each_message_is_recognized_once() {
        let mut echoes = Echoes::default();
        echoes.sent("door/state", b"open", false, true);
        assert!(!echoes.consume(&arrived("shut", false)));
        assert!(echoes.consume(&arrived("open", false)));
        assert!(!echoes.consume(&arrived("open", false)), "the second one is the device's report");
        echoes.sent("door/state", b"open", false, false);
        assert!(!echoes.consume(&arrived("open", false)), "no watch listened");
        echoes.sent("door/state", b"open", false, true);
        echoes.end();
        assert!(!echoes.consume(&arrived("open", false)));
    }

    #[test]
    fn a_retained_message_is_recognized_by_its_payload() {
        let mut echoes = Echoes::default();
        assert!(!echoes.consume(&arrived("open", true)));
        echoes.sent("door/state", b"open", true, false);
        assert!(echoes.consume(&arrived("open", true)) && echoes.consume(&arrived("open", true)));
        assert!(!echoes.consume(&arrived("shut", true)));
        assert!(!echoes.consume(&arrived("open", false)));
        for number in 0..2 * limits::ECHOES {
            echoes.sent(&number.to_string(), b"open", true, true);
        }
        assert!(echoes.live.len() <= limits::ECHOES && echoes.retained.len() <= limits::ECHOES, "I10");
    }
}
