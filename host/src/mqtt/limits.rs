//! Bounds of the link, each with its reason (I10).

use std::time::Duration;

/// Topics that are held back at once: more would be an attack on the memory, or a broker that denies everything.
pub(super) const SUSPECTS: usize = 10_000;
/// Packets of a connection that are remembered to find out which of them ended it: those under way, and as many at QoS 0.
pub(super) const RECENT_PACKETS: usize = 2_000;
/// A connection that ends longer than this after a packet was written has not ended because of that packet.
pub(super) const SUSPECT_WITHIN: Duration = Duration::from_secs(5);
/// How long all else waits until the broker has answered to what is under way, so that a suspect is alone; and then for the
/// answer to the suspect. A broker that takes longer is asked again later.
pub(super) const TRIAL: Duration = Duration::from_secs(1);
/// Between two trials, and between the turns of two messages that wait for theirs.
pub(super) const TURN: Duration = Duration::from_millis(20);
/// The last of these turns: with more messages than fit before that, several come at once, and all but one wait again.
pub(super) const LAST_TURN: Duration = Duration::from_secs(10);
/// The pause of a topic of which it could not be found out.
pub(super) const UNDECIDED: Duration = Duration::from_secs(5);
/// Between a trial that ended the connection and the next trial: each costs a connection.
pub(super) const AFTER_CONVICTION: Duration = Duration::from_secs(1);
/// The pause of a topic at which the broker ended the connection; it doubles each time.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest of these pauses: what is owed waits for it when the broker's rules were mended.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The same of the status topic, for which nothing waits.
pub(super) const LONGEST_STATUS_PAUSE: Duration = Duration::from_secs(3_600);
/// Topics that are named where people look: in the log and in the host's status.
pub(super) const TOPICS_SHOWN: usize = 5;
/// How often in a row a broker does not answer to CONNECT in MQTT 5 before 3.1.1 is tried: once may be a broker that is starting,
/// or has enough clients.
pub(super) const UNANSWERED_CONNECTS: u32 = 2;
/// How long a broker that speaks 3.1.1 is spoken to so at once; a connection that is there is kept, whatever it speaks.
pub(super) const TRY_5_AGAIN: Duration = Duration::from_secs(3_600);
/// Addresses of one host that are tried: each may cost the time of a connection.
pub(super) const ADDRESSES_OF_HOST: usize = 8;
