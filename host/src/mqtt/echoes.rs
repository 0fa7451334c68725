//! Our own messages, as they come back on topics that are listened to. In MQTT 5 they say which run they belong to; in 3.1.1
//! they say nothing, and are known by what they are.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use super::wire::Arrived;

/// Topics on which a retained message of ours is remembered: beyond that all are forgotten, and one of ours that a broker has
/// kept counts as a report.
const KEPT: usize = 10_000;

/// What is expected to come back.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    hasher: RandomState,
    /// How often each message has been sent and has not come back yet: at most as many as are under way, and those that
    /// the broker delivers to no client (I10: see [`Echoes::sent`]).
    live: HashMap<u64, u32>,
    /// The newest retained message on a topic, where it is ours.
    kept: HashMap<u64, u64>,
}

impl Echoes {
    /// A message is sent, perhaps to a topic that is listened to.
    pub(super) fn sent(&mut self, topic: &str, payload: &[u8], retain: bool, is_heard: bool) {
        let message = self.hasher.hash_one((topic, payload));
        if is_heard {
            if self.live.len() >= KEPT {
                self.live.clear();
            }
            *self.live.entry(message).or_default() += 1;
        }
        if retain {
            if self.kept.len() >= KEPT {
                self.kept.clear();
            }
            self.kept.insert(self.hasher.hash_one(topic), message);
        }
    }

    /// Whether what has come is ours.
    pub(super) fn takes(&mut self, arrived: &Arrived) -> bool {
        let topic = self.hasher.hash_one(arrived.topic.as_str());
        let message = self.hasher.hash_one((arrived.topic.as_str(), &arrived.payload[..]));
        if arrived.retained {
            return self.kept.get(&topic) == Some(&message);
        }
        if let Some(count) = self.live.get_mut(&message) {
            *count -= 1;
            if *count == 0 {
                self.live.remove(&message);
            }
            return true;
        }
        // Of what the device says, too, it is not known whether the broker keeps it: what is the same as ours is taken for
        // ours, and then at worst a message is sent that was not needed.
        false
    }

    /// The connection is over, and what was sent on it does not come back.
    pub(super) fn end(&mut self) {
        self.live.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(payload: &'static str, retained: bool) -> Arrived {
        let (topic, payload) = ("door/state".to_owned(), payload.into());
        Arrived { topic, payload, id: None, retained, expires: false, is_ours: false }
    }

    #[test]
    fn each_message_comes_back_once() {
        let mut echoes = Echoes::default();
        echoes.sent("door/state", b"open", false, true);
        assert!(!echoes.takes(&arrived("shut", false)));
        assert!(echoes.takes(&arrived("open", false)));
        assert!(!echoes.takes(&arrived("open", false)), "the device says so, too");
        echoes.sent("door/state", b"open", false, false);
        assert!(!echoes.takes(&arrived("open", false)), "no watch listened");
        echoes.sent("door/state", b"open", false, true);
        echoes.end();
        assert!(!echoes.takes(&arrived("open", false)));
    }

    #[test]
    fn what_the_broker_keeps_is_known_by_what_it_is() {
        let mut echoes = Echoes::default();
        assert!(!echoes.takes(&arrived("open", true)));
        echoes.sent("door/state", b"open", true, false);
        assert!(echoes.takes(&arrived("open", true)) && echoes.takes(&arrived("open", true)));
        assert!(!echoes.takes(&arrived("shut", true)));
        assert!(!echoes.takes(&arrived("open", false)));
        for number in 0..2 * KEPT {
            echoes.sent(&number.to_string(), b"open", true, true);
        }
        assert!(echoes.live.len() <= KEPT && echoes.kept.len() <= KEPT, "I10");
    }
}
