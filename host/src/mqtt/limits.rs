//! Bounds of the link, each with its reason (I10).

use std::time::Duration;

/// Topics that are held back at the same time. More of them mean an attack on the memory, or a broker that denies
/// everything.
pub(super) const SUSPECTS: usize = 10_000;
/// Packets of a connection that are remembered to find the one that ended it: those under way, and as many at QoS 0.
pub(super) const RECENT_PACKETS: usize = 2_000;
/// A connection that ends later than this after a packet was written did not end because of that packet.
pub(super) const SUSPECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a trial waits for the packets under way to be answered, so that the suspect is alone on the connection; and
/// then how long it waits for the answer to the suspect. Nothing else is sent meanwhile. After that the trial is
/// postponed.
pub(super) const TRIAL: Duration = Duration::from_secs(1);
/// The pause between two trials, and between the turns of two deferred messages.
pub(super) const TURN: Duration = Duration::from_millis(20);
/// The latest turn. Messages beyond that share it, and all but one are deferred again.
pub(super) const LAST_TURN: Duration = Duration::from_secs(10);
/// The pause of a topic after an undecided trial.
pub(super) const UNDECIDED: Duration = Duration::from_secs(5);
/// The pause between a trial that ended the connection and the next trial, because each costs a connection.
pub(super) const AFTER_DENIAL: Duration = Duration::from_secs(1);
/// The first pause of a topic at which the broker ended the connection. It doubles each time.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest of these pauses: owed steps are delayed by up to this after the broker's rules were corrected.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest pause of the status topic. Nothing waits for that topic.
pub(super) const LONGEST_STATUS_PAUSE: Duration = Duration::from_secs(3_600);
/// Topics that are named in the log and in the host's status.
pub(super) const TOPICS_SHOWN: usize = 5;
/// How many consecutive CONNECTs in MQTT 5 a broker leaves unanswered before 3.1.1 is tried. A single one may mean that
/// the broker is starting or has reached its limit of clients.
pub(super) const UNANSWERED_CONNECTS: u32 = 2;
/// How long new connections to a broker that speaks 3.1.1 skip the try in MQTT 5. An existing connection is kept.
pub(super) const TRY_5_AGAIN: Duration = Duration::from_secs(3_600);
/// Addresses of one host that are tried. Each may take as long as the connect limit.
pub(super) const ADDRESSES_OF_HOST: usize = 8;
/// Attempts under way at the same time: enough to fill a fast link, few enough that a lost connection repeats little.
pub(super) const CREDIT: u16 = 1_000;
