//! What the broker has refused: logged once, shown in the host's status, and left out where it ends the connection.

use std::collections::{BTreeSet, HashSet};

use super::topics::Topics;
use crate::{mqtt::background::Refused, report::Report};

/// The refusals since a connection was made for another reason than those.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The first one, as the host's status shows it.
    first: Option<String>,
    /// The topic at which the broker has just ended a connection: it may have restarted at that moment.
    suspected: Option<String>,
    /// Topics at which the broker has ended two connections, one after the other.
    left_out: HashSet<String>,
    /// The kinds that were logged: of many devices, each would have several refusals.
    logged: BTreeSet<Refused>,
}

impl Refusals {
    /// Returns the first one: `a message to …: the user is not authorized (0x87)`.
    pub(super) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Checks whether nothing is to be published at a topic.
    pub(super) fn leave_out(&self, topic: &str) -> bool {
        self.left_out.contains(topic)
    }

    /// Leaves nothing out any more, until the broker ends a connection again.
    pub(super) fn try_again(&mut self) {
        self.left_out.clear();
    }

    /// Takes in that the broker keeps no retained messages.
    pub(super) fn on_no_retained_messages(&mut self) {
        self.first = Some("retained messages".to_owned());
        tracing::warn!(
            "Home Assistant has no devices of this host: it reads them from retained messages, and the broker keeps \
             none\nhint: in Mosquitto's configuration, remove the line `retain_available false`"
        );
    }

    /// Takes in that the broker has refused an order.
    pub(super) fn on_refused(&mut self, topics: &Topics, (topic, what): (&str, Refused), reason: &str) {
        let refused = match what {
            Refused::Message | Refused::LargeMessage => "a message to",
            Refused::Subscription => "the subscription to",
        };
        self.first.get_or_insert_with(|| format!("{refused} `{topic}`: {reason}"));
        self.log(topics, what, &format!("the broker refused {refused} `{topic}`, which Home Assistant needs"), reason);
    }

    /// Takes in at which topic the broker has ended the last connection, if at one. A topic at which it has ended the one
    /// before as well is left out: otherwise no connection would get any further.
    pub(super) fn on_connection(&mut self, topics: &Topics, ended_at: Option<String>) {
        let Some(topic) = ended_at else {
            *self = Self::default();
            return;
        };
        if self.suspected.as_ref() != Some(&topic) {
            self.suspected = Some(topic);
            return;
        }
        self.first.get_or_insert_with(|| format!("a message to `{topic}`: it has ended the connection"));
        // Otherwise the broker has said itself what it refuses.
        if self.logged.is_empty() {
            let what = format!("the broker ended the connection for Home Assistant just after it was sent `{topic}`");
            self.log(topics, Refused::Message, &what, "it may deny that; it is left out for now");
        }
        self.left_out.insert(topic);
    }

    /// Logs the first one of its kind.
    fn log(&mut self, Topics { own, discovery }: &Topics, kind: Refused, what: &str, reason: &str) {
        if !self.logged.insert(kind) {
            tracing::debug!("{what}: {reason}");
            return;
        }
        let hint = match kind {
            Refused::LargeMessage => "let the broker accept larger messages: in Mosquitto's configuration, \
                                      `max_packet_size` and `message_size_limit`; or leave the device out by `devices` \
                                      in `[home_assistant]`"
                .to_owned(),
            Refused::Message | Refused::Subscription => format!(
                "let Roost's user of the broker use these topics: in Mosquitto's `acl_file`, the lines `topic readwrite \
                 {own}/#` and `topic readwrite {discovery}/device/#` below the user's line"
            ),
        };
        tracing::warn!("{}", Report::new(what).cause(reason).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_left_out_where_two_connections_end_until_one_ends_for_another_reason() {
        let topics = Topics { own: "roost".into(), discovery: "homeassistant".into() };
        let mut refusals = Refusals::default();
        let mut ends_at = |topic: Option<&str>| {
            refusals.on_connection(&topics, topic.map(str::to_owned));
            (["a", "b"].map(|topic| refusals.leave_out(topic)), refusals.first().map(str::to_owned))
        };
        let shown = Some("a message to `a`: it has ended the connection".to_owned());
        assert_eq!(ends_at(Some("a")), ([false, false], None));
        assert_eq!(ends_at(Some("b")), ([false, false], None));
        assert_eq!(ends_at(Some("a")), ([false, false], None));
        assert_eq!(ends_at(Some("a")), ([true, false], shown.clone()));
        assert_eq!(ends_at(Some("b")), ([true, false], shown.clone()));
        assert_eq!(ends_at(Some("b")), ([true, true], shown));
        assert_eq!(ends_at(None), ([false, false], None));
    }

    #[test]
    fn what_is_left_out_is_tried_again_and_left_out_again_at_once() {
        let topics = Topics { own: "roost".into(), discovery: "homeassistant".into() };
        let (mut refusals, ended_at) = (Refusals::default(), || Some("a".to_owned()));
        refusals.on_connection(&topics, ended_at());
        refusals.on_connection(&topics, ended_at());
        refusals.try_again();
        assert!(!refusals.leave_out("a"));
        refusals.on_connection(&topics, ended_at());
        assert!(refusals.leave_out("a"));
    }
}
