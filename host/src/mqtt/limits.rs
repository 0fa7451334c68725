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
/// Subscriptions and unsubscriptions that the broker has not answered. Together with the credit, far fewer than packet
/// ids.
pub(super) const SUBSCRIPTIONS: usize = 1_000;
/// Orders taken at the same time, so that they leave with one write.
pub(super) const ORDERS_PER_WRITE: usize = 64;
/// While more bytes than this are queued for the socket, no further order is taken. This bounds the memory that a slow
/// broker takes.
pub(super) const OUTGOING_BYTES: usize = 256 * 1024;
/// The most bytes of one read. Even with [`REST`] after each read, this is more than brokers send in small packets.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// A read of at least this many bytes means that more is available. The task yields before the next read, but does not
/// rest: otherwise acknowledgements would wait behind large reports.
pub(super) const LARGE_READ_BYTES: usize = READ_BYTES / 2;
/// The number of attempts under way from which the task rests between two reads.
pub(super) const BUSY_ATTEMPTS: usize = CREDIT as usize / 2;
/// The pause between two reads while many attempts are under way: a hundred acknowledgements cost hardly more than one,
/// here and in the core, and the broker may run on the same machine. The task also rests during a flood of reports, so
/// that due messages are sent in between (I7).
pub(super) const REST: Duration = Duration::from_millis(1);
/// Ticks, each half of the keep-alive, that a message or a subscription may wait for its acknowledgement. Without this
/// limit a lost acknowledgement would hold its credit forever.
pub(super) const ACK_TICKS: u32 = 5;
/// Topics with a logged warning that they cannot be watched, or have no subscriber. Further warnings add little: the
/// core retries every few seconds, and the run's outcome contains the reason as well.
pub(super) const WARNINGS: usize = 100;
/// The limit for the disconnect, in case the broker does not read. Acknowledgements were waited for before, and a
/// service manager may soon kill the host.
pub(super) const DISCONNECT: Duration = Duration::from_millis(500);
/// Acknowledgements for the broker's messages that are queued. A broker that respects the receive maximum never
/// reaches it.
pub(super) const RECEIPTS: usize = 10_000;
/// Own messages that are remembered until they come back, of each kind. Beyond that they are forgotten, and an own message that comes back counts as a report.
pub(super) const ECHOES: usize = 10_000;
/// The factor on the longest pause if only the operator can resolve the failure: some brokers lock out clients that
/// often use a wrong password.
pub(super) const OPERATOR_FACTOR: u32 = 6;
/// A longer report is not parsed as JSON: parsed values take up to a hundred times its length, and nothing is sent
/// during the parse (I7).
pub(super) const REPORT_JSON_BYTES: usize = 64 * 1024;
/// Comparisons of a report with a condition in one period: about a millisecond of work. A flood on one topic must not
/// delay the others (I7): beyond this number, only the newest report of each topic is queued for a later period.
pub(super) const COMPARISONS_PER_PERIOD: usize = 4_096;
/// The length of a period. Nine tenths of it remain for other work.
pub(super) const PERIOD: Duration = Duration::from_millis(10);
/// Bytes of JSON that can be parsed in the time of one comparison, in the worst case.
pub(super) const JSON_BYTES_PER_COMPARISON: usize = 16;
/// Bytes of queued reports. Above that, nothing is read from the connection.
pub(super) const QUEUED_BYTES: usize = 4 << 20;
/// Messages in one read that count as a flood: after it, the task rests.
pub(super) const FLOOD: usize = 64;
/// The largest packet that is read, so that a broker cannot fill the memory.
pub(super) const INCOMING_PACKET_BYTES: usize = 1 << 20;
/// The number of messages that the broker may send before it waits for their acknowledgements.
pub(super) const RECEIVE_MAXIMUM: u16 = 100;
/// The longest reason string of a broker. It appears in the log and in a run's outcome.
pub(super) const REASON_TEXT_CHARS: usize = 200;
/// The end of the client id of the connection for messages that may wait.
pub(super) const BACKGROUND_CLIENT: &str = "background";
/// Messages that may wait, and that the broker has not acknowledged. Few, so that due messages find the broker idle.
pub(super) const BACKGROUND_WINDOW: usize = 16;
/// Events of that connection that its user has not taken yet.
pub(super) const BACKGROUND_EVENTS: usize = 64;
