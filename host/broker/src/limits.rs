//! The bounds of the broker, each with its reason (I10).

use std::time::Duration;

/// Connected clients, if the limit of open files allows as many: each takes a file and about 2 KiB.
pub(crate) const CONNECTIONS: usize = 10_000;
/// Open files that are reserved for the rest of the host: HTTP, the control socket, plugins, the store.
pub(crate) const RESERVED_FILES: usize = 256;
/// Connections that have not sent CONNECT yet. Beyond this number, the oldest is closed, so that active clients can
/// connect.
pub(crate) const SILENT_CONNECTIONS: usize = 64;
/// How long such a connection is not closed: after a restart, hundreds of devices connect at the same time, and are
/// served one after the other.
pub(crate) const TIME_TO_SPEAK: Duration = Duration::from_secs(3);
/// The number of such connections that are closed together when the limit of open files is reached.
pub(crate) const SILENT_ENDED: usize = 16;
/// Connections that the kernel queues until they are accepted. Beyond this number, clients have to retry a second
/// later.
pub(crate) const BACKLOG: i32 = 1_024;
/// The time from the TCP connection to a complete CONNECT: an idle connection must not occupy a file.
pub(crate) const TIME_TO_CONNECT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, so that the loop does not spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The time for the last bytes of a connection that ends: a client that does not read must not occupy a file.
pub(crate) const TIME_TO_FLUSH: Duration = Duration::from_secs(1);

/// How long a client may leave its output unread. Then it counts as lost.
pub(crate) const TIME_TO_READ: Duration = Duration::from_secs(60);

/// Bytes of a packet in either direction: enough for the host's largest message, and for ordinary camera pictures.
pub(crate) const PACKET_BYTES: usize = 1 << 20;
/// Bytes of a packet that is read without a permit: 10,000 clients that stop half way occupy 80 MiB.
pub(crate) const SMALL_PACKET_BYTES: usize = 8 * 1024;
/// Bytes of all larger packets that are being read. Further ones wait for a permit.
pub(crate) const READING_BYTES: usize = 32 << 20;
/// The time from the first byte of a larger packet to its last, because others wait for its permit.
pub(crate) const TIME_FOR_PACKET: Duration = Duration::from_secs(30);
/// Writes to one client before others have their turn.
pub(crate) const WRITES: usize = 16;
/// Bytes that are read from one client before others have their turn.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Levels of filters, subscriptions and retained topics that are visited for one client before others have their turn:
/// about a millisecond of work.
pub(crate) const WORK: usize = 20_000;
/// A turn with more work than this is heavy. One heavy turn alternates with the turns of all other clients.
pub(crate) const HEAVY_WORK: usize = WORK / 4;
/// The work of one round. Beyond it, all clients except the host's own are treated as heavy: many clients that become
/// active at the same time must not delay the host's own client.
pub(crate) const ROUND_WORK: usize = 10 * WORK;

/// Bytes of a client identifier, which is stored with the session.
pub(crate) const CLIENT_ID_BYTES: usize = 256;
/// Bytes of a topic or a filter, whose levels are stored in the tree of subscriptions.
pub(crate) const TOPIC_BYTES: usize = 1_024;
/// Separators in a topic or a filter: matching descends one level for each.
pub(crate) const TOPIC_SEPARATORS: usize = 200;
/// Filters in one packet: others have their turn after each SUBSCRIBE.
pub(crate) const FILTERS_PER_PACKET: usize = 1_000;
/// Subscriptions of one client. The host itself has one for each report that it waits for.
pub(crate) const SUBSCRIPTIONS_PER_CLIENT: usize = 10_000;
/// Bytes of the subscriptions of all clients in the tree.
pub(crate) const SUBSCRIPTIONS_BYTES: usize = 64 << 20;
/// Bytes of a level of a filter in the tree, without its text.
pub(crate) const LEVEL_BYTES: usize = 256;
/// Topic aliases of a client. Each stores a topic.
pub(crate) const TOPIC_ALIASES: u16 = 16;
/// Bytes of the topics of all clients' aliases.
pub(crate) const ALIASES_BYTES: usize = 16 << 20;

/// Retained messages. A new subscription to `#` visits all of them, some in each of its client's turns.
pub(crate) const RETAINED_MESSAGES: usize = 10_000;
/// Bytes of all retained messages, which stay in memory.
pub(crate) const RETAINED_BYTES: usize = 32 << 20;
/// Bytes of all last wills, which stay in memory while their clients are connected.
pub(crate) const WILL_BYTES: usize = 16 << 20;

/// How long clients that were connected before a restart have to reconnect before their wills are published.
pub(crate) const WILL_AFTER_RESTART: Duration = Duration::from_secs(60);

/// Sessions of disconnected clients. Beyond this number, the one that was disconnected first is deleted.
pub(crate) const SESSIONS_AWAY: usize = 2_000;
/// The longest time in seconds for which the session of a disconnected client persists.
pub(crate) const SESSION_EXPIRY_S: u32 = 30 * 24 * 3_600;
/// Messages that wait for one session. Beyond this number, the oldest is dropped. Each has a packet identifier, of
/// which there are 65,535.
pub(crate) const QUEUE_MESSAGES: usize = 50_000;
/// Bytes of the messages that wait for one session, or for its acknowledgement. Beyond it, the oldest is dropped.
pub(crate) const QUEUE_BYTES: usize = 8 << 20;
/// Bytes of the messages that wait for all sessions. Each is counted once in memory, and once for each persistent
/// session on disk. Beyond it, the longest queue is shortened.
pub(crate) const QUEUES_BYTES: usize = 64 << 20;
/// By how much the longest queues are shortened together, because finding them visits all sessions.
pub(crate) const QUEUE_CUT_BYTES: usize = 4 << 20;
/// Bytes of a message in a queue, without its content.
pub(crate) const QUEUED_MESSAGE_BYTES: usize = 256;

/// Messages to a client that are not acknowledged, if the client's receive maximum (MQTT 5) allows as many. With fewer,
/// a client with infrequent turns would fall behind on a busy machine.
pub(crate) const IN_FLIGHT: u16 = 1_000;
/// Bytes of the messages to a client that are not acknowledged, except the first one: a client that never acknowledges
/// must not occupy the room for other queues.
pub(crate) const IN_FLIGHT_BYTES: usize = 4 << 20;
/// Messages from a client that are not acknowledged, because their packet identifiers are stored.
pub(crate) const RECEIVE_MAXIMUM: u16 = 2_048;
/// Packet identifiers of QoS 2 that all clients have used and not released: MQTT 3.1.1 has no receive maximum, and they
/// stay in memory and on disk as long as their sessions do.
pub(crate) const RECEIVED_IDS: usize = 250_000;
/// Packet identifiers of QoS 2 that each session may have beyond that number.
pub(crate) const RECEIVED_IDS_ALWAYS: usize = 64;

/// Bytes of the output for one client. Beyond it, messages at QoS 0 are dropped, and none at a higher QoS is taken from
/// its queue.
pub(crate) const OUTPUT_BYTES: usize = 2 << 20;
/// Bytes of the output for all clients. Near it, the client with the most output is disconnected.
pub(crate) const OUTPUTS_BYTES: usize = 64 << 20;
/// Bytes of a message that is sent beyond that limit to a client without other output.
pub(crate) const SMALL_OUTPUT_BYTES: usize = 4 * 1024;
/// Starving clients that are served together.
pub(crate) const STARVING: usize = 16;
/// Bytes of output beyond which nothing is read from the client.
pub(crate) const OUTPUT_STOPS_INPUT_BYTES: usize = 4 << 20;

/// Bytes that wait for the disk. Beyond it, nothing is read from clients that cause writes, and clients with persistent
/// sessions cannot connect.
pub(crate) const DISK_BACKLOG_BYTES: usize = 16 << 20;
/// The size that SQLite's journal is truncated to after a checkpoint.
pub(crate) const JOURNAL_BYTES: i64 = 8 << 20;
/// The pause before a failed transaction is retried, for example on a full disk.
pub(crate) const DISK_PAUSE: Duration = Duration::from_secs(1);

/// The default interval between two health checks.
pub(crate) const WATCH_EVERY: Duration = Duration::from_secs(5);
/// The time limit of a health check.
pub(crate) const WATCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the next health check after a failed one.
pub(crate) const WATCH_AGAIN: Duration = Duration::from_secs(1);
/// Consecutive failed health checks before the broker is restarted: a single one may only mean that the machine was
/// suspended.
pub(crate) const WATCH_MISSES: u32 = 2;
/// The longest pause between two tries to restart the broker.
pub(crate) const RESTART_PAUSE: Duration = Duration::from_secs(60);
/// The time for writing everything to disk when the broker stops.
pub(crate) const TIME_TO_STOP: Duration = Duration::from_secs(10);

/// The interval between two warnings of the same kind. Each has the number of suppressed ones.
pub(crate) const LOG_EVERY: Duration = Duration::from_secs(60);
