//! Every bound of the broker in one place, each with what it protects from (I10).

use std::time::Duration;

/// Clients at once, as far as files may be open: each costs a file and about 2 KiB.
pub(crate) const CONNECTIONS: usize = 10_000;
/// Open files that are left to the rest of the host: HTTP, the control socket, plugins, the store.
pub(crate) const RESERVED_FILES: usize = 256;
/// Connections that have not sent CONNECT yet: of more, the oldest is closed, so that a client that speaks gets in.
pub(crate) const SILENT_CONNECTIONS: usize = 64;
/// How long one is spared: after a restart, hundreds of devices come at once, and are asked one after the other.
pub(crate) const TIME_TO_SPEAK: Duration = Duration::from_secs(3);
/// How many of them make room at once where no more files may be opened.
pub(crate) const SILENT_ENDED: usize = 16;
/// Connections that the kernel keeps until they are accepted: of more, clients would have to try again a second later.
pub(crate) const BACKLOG: i32 = 1_024;
/// From the TCP connection to a complete CONNECT: an idle connection must not hold a file.
pub(crate) const TIME_TO_CONNECT: Duration = Duration::from_secs(10);
/// The pause after the kernel refused to accept a connection: without one, the loop would spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For the last bytes of a connection that ends: a client that does not read must not hold a file.
pub(crate) const TIME_TO_FLUSH: Duration = Duration::from_secs(1);

/// How long a client may read nothing of what is written to it: it is gone, or as good as gone.
pub(crate) const TIME_TO_READ: Duration = Duration::from_secs(60);

/// Of a packet, either way: the host's largest message, and ordinary camera pictures.
pub(crate) const PACKET_BYTES: usize = 1 << 20;
/// A packet up to this size is read without asking: 10,000 clients that stop half way hold 80 MiB.
pub(crate) const SMALL_PACKET_BYTES: usize = 8 * 1024;
/// Memory for all larger packets that are being read; others wait for their turn.
pub(crate) const READING_BYTES: usize = 32 << 20;
/// From the first byte of a larger packet to its last: it holds room that others wait for.
pub(crate) const TIME_FOR_PACKET: Duration = Duration::from_secs(30);
/// How often what waits for one client is written before others have their turn.
pub(crate) const WRITES: usize = 16;
/// What is read from one client before others have their turn.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Levels of filters, subscriptions and retained topics that are looked at for one client before others have their turn:
/// about a millisecond of work.
pub(crate) const WORK: usize = 20_000;
/// A turn of more work is heavy: of all clients with heavy turns, one has its turn, then all others, and so on.
pub(crate) const HEAVY_WORK: usize = WORK / 4;
/// Beyond so much work between two turns of one client, each other client is treated as a heavy one: many of them that have
/// said nothing until now must not keep the host's own client waiting.
pub(crate) const ROUND_WORK: usize = 10 * WORK;

/// Of a client identifier: it is kept with the session.
pub(crate) const CLIENT_ID_BYTES: usize = 256;
/// Of a topic or a filter: they are kept in the tree of subscriptions, level by level.
pub(crate) const TOPIC_BYTES: usize = 1_024;
/// Separators in a topic or a filter: matching descends one level for each.
pub(crate) const TOPIC_SEPARATORS: usize = 200;
/// Filters in one packet: others have their turn after each packet that subscribes.
pub(crate) const FILTERS_PER_PACKET: usize = 1_000;
/// Subscriptions of one client: the host itself has one for each report that it waits for.
pub(crate) const SUBSCRIPTIONS_PER_CLIENT: usize = 10_000;
/// Bytes of the subscriptions of all clients, in the tree that they are looked up in.
pub(crate) const SUBSCRIPTIONS_BYTES: usize = 64 << 20;
/// What a level of a filter costs there besides its text.
pub(crate) const LEVEL_BYTES: usize = 256;
/// Topic aliases that a client may set: each keeps a topic.
pub(crate) const TOPIC_ALIASES: u16 = 16;
/// Bytes of the topics that aliases of all clients stand for.
pub(crate) const ALIASES_BYTES: usize = 16 << 20;

/// Retained messages: a new subscription to `#` looks at each of them, a part in each of its client's turns.
pub(crate) const RETAINED_MESSAGES: usize = 10_000;
/// Bytes of all retained messages: they stay in memory.
pub(crate) const RETAINED_BYTES: usize = 32 << 20;
/// Bytes of all last wills: they stay in memory while their clients are connected.
pub(crate) const WILL_BYTES: usize = 16 << 20;

/// After a restart, how long clients that were connected have to come back before their wills are published.
pub(crate) const WILL_AFTER_RESTART: Duration = Duration::from_secs(60);

/// Sessions of clients that are away: beyond that, the one that is away longest is forgotten.
pub(crate) const SESSIONS_AWAY: usize = 2_000;
/// The longest that a session is kept for a client that is away: a device that comes back later begins anew.
pub(crate) const SESSION_EXPIRY_S: u32 = 30 * 24 * 3_600;
/// Messages that wait for one session; of more, the oldest is dropped. Each has a packet identifier, of which there are
/// 65,535. Small ones reach the bound of bytes first.
pub(crate) const QUEUE_MESSAGES: usize = 50_000;
/// Bytes of the messages that wait for one session, or for its acknowledgement; of more, the oldest is dropped.
pub(crate) const QUEUE_BYTES: usize = 8 << 20;
/// Bytes of the messages that wait for all sessions, each counted once in memory, and once for each lasting session on
/// disk; of more, the longest queue is shortened.
pub(crate) const QUEUES_BYTES: usize = 64 << 20;
/// How much the longest queues are shortened at once: to find them takes a look at every session.
pub(crate) const QUEUE_CUT_BYTES: usize = 4 << 20;
/// What a message in a queue costs besides its bytes.
pub(crate) const QUEUED_MESSAGE_BYTES: usize = 256;

/// Messages to a client at once that are not acknowledged, where the client allows as many, which only MQTT 5 knows. With
/// fewer, a client that has its turn seldom, on a busy machine, falls behind.
pub(crate) const IN_FLIGHT: u16 = 1_000;
/// Bytes of the messages to a client at once that are not acknowledged, beyond the first one: a client that never
/// acknowledges must not hold what the queues of others need.
pub(crate) const IN_FLIGHT_BYTES: usize = 4 << 20;
/// Messages from a client at once that are not acknowledged: their packet ids are kept.
pub(crate) const RECEIVE_MAXIMUM: u16 = 2_048;
/// Packet identifiers of QoS 2 that all sessions have used and not released: MQTT 3.1.1 knows no receive maximum, and they
/// stay in memory and on disk as long as their sessions do.
pub(crate) const RECEIVED_IDS: usize = 250_000;
/// Those that a session may have even then.
pub(crate) const RECEIVED_IDS_ALWAYS: usize = 64;

/// Bytes that wait to be written to one client: beyond that, messages of QoS 0 are dropped, and none of a higher QoS is
/// taken from its queue.
pub(crate) const OUTPUT_BYTES: usize = 2 << 20;
/// The same for all clients: near it, the client that most of it waits for is disconnected.
pub(crate) const OUTPUTS_BYTES: usize = 64 << 20;
/// Beyond that, a message up to this size is still written to a client that has nothing to read.
pub(crate) const SMALL_OUTPUT_BYTES: usize = 4 * 1024;
/// Clients that wait for room are looked at so many at a time.
pub(crate) const STARVING: usize = 16;
/// Beyond this, nothing is read from a client that does not read its answers.
pub(crate) const OUTPUT_STOPS_INPUT_BYTES: usize = 4 << 20;

/// Bytes that wait for the disk: beyond that, nothing is read from clients whose messages have to be kept, and none is let
/// in that would bring more.
pub(crate) const DISK_BACKLOG_BYTES: usize = 16 << 20;
/// What the journal is cut to when it has been written to the database.
pub(crate) const JOURNAL_BYTES: i64 = 8 << 20;
/// The pause before a transaction that failed is tried again, on a full disk for example.
pub(crate) const DISK_PAUSE: Duration = Duration::from_secs(1);

/// How often the broker is asked whether it works.
pub(crate) const WATCH_EVERY: Duration = Duration::from_secs(5);
/// How long it may take to answer.
pub(crate) const WATCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before it is asked once more, after it did not answer.
pub(crate) const WATCH_AGAIN: Duration = Duration::from_secs(1);
/// How often in a row it may fail to answer before it is started again: a machine that was suspended is no fault.
pub(crate) const WATCH_MISSES: u32 = 2;
/// The longest pause between two tries to start it again.
pub(crate) const RESTART_PAUSE: Duration = Duration::from_secs(60);
/// For everything to be written when it stops.
pub(crate) const TIME_TO_STOP: Duration = Duration::from_secs(10);

/// Lines about one kind of trouble: at most one in this time, with a count.
pub(crate) const LOG_EVERY: Duration = Duration::from_secs(60);
