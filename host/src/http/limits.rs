//! The bounds of the HTTP API, each with its reason (I10).

use std::time::Duration;

/// Added to the niceness of the server's thread, so that requests do not delay due messages.
pub(super) const NICE: i32 = 10;
/// Threads for blocking work: reads of the database and of plugin files.
pub(super) const BLOCKING_THREADS: usize = 8;
/// Reads of the database at a time, also those whose clients have left: others wait without a thread, and some threads
/// are left for files.
pub(super) const BLOCKING_READS: usize = 6;
/// Connections over TCP at a time. Each needs a file descriptor, as do the broker and the store. A further connection
/// evicts the oldest idle one.
pub(super) const TCP_CONNECTIONS: usize = 1_024;
/// One connection over TCP is allowed per this many file descriptors of the process, if those are few.
pub(super) const FILES_EACH: u64 = 4;
/// Connections to the socket in the data folder. Their separate limit ensures that the operator is served whatever
/// clients do over TCP.
pub(super) const SOCKET_CONNECTIONS: usize = 64;
/// Timeout for the head of a request, and for the next request of a connection. It is shorter in tests.
pub(super) const HEAD: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 15_000 });
/// Timeout for a request, including the wait for its turn and for the disk.
pub(crate) const REQUEST: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 30 });
/// Timeout for the scheduler's reply to a command: shorter than [`REQUEST`], so that its error is the one that is
/// reported.
pub(super) const REPLY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 25 });
/// Timeout for a write to a client that does not read. It is shorter in tests.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 30_000 });
/// Delay after a connection could not be accepted, such as for lack of file descriptors.
pub(super) const ACCEPT_DELAY: Duration = Duration::from_secs(1);
/// Timeout for requests under way when the host stops.
pub(super) const SHUTDOWN: Duration = Duration::from_secs(1);
/// Bytes of the head of a request: names and queries are short.
pub(super) const HEAD_BYTES: usize = 64 << 10;
/// Bytes of a JSON body: the largest is a job with its steps.
pub(super) const JSON_BYTES: usize = 256 << 10;
/// Concurrent reads of the scheduler's state: the loop serves one query per turn.
pub(super) const READS: usize = 32;
/// Concurrent reads of the history: each takes a thread and reads the disk.
pub(super) const HISTORIES: usize = 4;
/// Concurrent writes.
pub(super) const WRITES: usize = 64;
/// Items of a page: the maximum and the default.
pub(super) const PAGE: u32 = 1_000;
pub(super) const DEFAULT_PAGE: u32 = 100;
/// Bytes of messages in a page of jobs or of a timeline, after which the page ends early.
pub(super) const PAGE_BYTES: usize = 4 << 20;
/// Jobs that one query of the scheduler copies: it holds up the loop.
pub(super) const JOBS_PER_QUERY: usize = 500;
/// Devices that one query of the scheduler visits.
pub(super) const DEVICES_PER_QUERY: usize = 1_000;
/// Jobs of which one query of the scheduler looks at when they are due, and devices.
pub(super) const DUE_TIMES_PER_QUERY: usize = 2_000;
/// Paused plugins, devices and jobs that the status lists by name; the rest is only counted.
pub(super) const PAUSED_NAMES: usize = 10;
/// Next days of a calendar that the status lists.
pub(super) const CALENDAR_DAYS: usize = 5;
/// Plugins that a filter offers by name.
pub(super) const PLUGIN_NAMES: usize = 100;
/// Known names that an unknown one is compared with: each comparison takes some microseconds of the loop.
pub(super) const SUGGESTION_CANDIDATES: usize = 64;
/// Occurrences of a job that may be requested in advance: those of the sun are expensive.
pub(super) const FOLLOWING: u32 = 10;
/// Runs under way that are listed of one job.
pub(super) const RUNS_OF_JOB: usize = 100;
/// Concurrent uploads: each holds a component, and later its plans.
pub(super) const UPLOADS: usize = 2;
/// Bytes of a component that are received before its turn: a client that sends slowly stays below that, and delays no other.
/// From there on, so many must come within [`UPLOAD_STALL`].
pub(super) const UPLOAD_BEGINNING: u64 = 1 << 20;
/// Beginnings of components that are received, or wait for their turn, at a time.
pub(super) const UPLOAD_BEGINNINGS: usize = 32;
/// Texts of settings that are received or checked at a time: each has at most 8 MiB.
pub(super) const SETTINGS: usize = 8;
/// Such texts that are checked at a time: each check loads the component and requests a plan of each device. Besides
/// uploads, so that a large component that comes slowly does not delay a change of settings.
pub(super) const TRIALS_OF_SETTINGS: usize = 1;
/// Timeout for the body of an upload: for its beginning, and for the rest.
pub(super) const UPLOAD_BODY: Duration = Duration::from_secs(60);
/// Timeout for each part of that body. It is shorter in tests.
pub(super) const UPLOAD_STALL: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 15_000 });
/// Timeout for an upload, including the wait for others, the compilation, and a plan of each device.
pub(crate) const UPLOAD: Duration = Duration::from_secs(600);
/// Devices that the changes of an upload are listed of, and ids of jobs in each of their lists.
pub(super) const CHANGED_DEVICES: usize = 500;
pub(super) const CHANGED_JOBS: usize = 50;
/// Timeout for the list of a plugin's tasks: the plugin may be busy, or have to be compiled.
pub(super) const TASKS: Duration = Duration::from_secs(5);
/// Concurrent event streams: each has a connection, a task, and a buffer for its client.
pub(super) const STREAMS: usize = 256;
/// Events that a stream examines at a time, and bytes that it sends at a time.
pub(super) const EVENTS_PER_CHUNK: usize = 256;
pub(super) const CHUNK_BYTES: usize = 32 << 10;
/// Interval of the heartbeats of a stream: proxies close connections that are silent for a minute.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });
/// Jobs in a timeline: more would take longer than a request may.
pub(super) const TIMELINE_JOBS: usize = 10_000;
/// Occurrences and steps that one page of a timeline examines, besides one for each job.
pub(super) const TIMELINE_ENTRIES: usize = 10_000;
/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// The longest period of a timeline: a sun trigger that is not due within 400 days is never due again.
pub(super) const TIMELINE_MS: i64 = 400 * DAY_MS;
/// The default period of a timeline.
pub(super) const DEFAULT_TIMELINE_MS: i64 = DAY_MS;
/// Occurrences that are searched for to count those of collapsed jobs: a tenth of a second for cron expressions.
pub(super) const COLLAPSED_OCCURRENCES: usize = 200_000;
/// Parts of a period in which the runs of collapsed jobs are counted for a picture: three pixels each of most screens.
pub(crate) const COLLAPSED_BUCKETS: u32 = 240;
/// Runs under way of each job in a timeline.
pub(super) const TIMELINE_RUNS: usize = 8;
/// Plugins with metrics of their own: each has several time series.
pub(super) const PLUGINS_MEASURED: usize = 1_000;
/// How often an explanation is retried because the outcome of a run may not be on disk yet. Bounded, because the job
/// may be due again meanwhile.
pub(super) const EXPLAIN_RETRIES: usize = 2;
/// The time after which the outcome of a run is expected to be on disk.
pub(super) const DURABLE: Duration = Duration::from_millis(300);
/// How far ahead runs are explained: sun events are not searched for beyond that.
pub(super) const EXPLAIN_AHEAD_MS: i64 = 400 * 24 * 60 * 60 * 1_000;
/// Timeout for the body of a write.
pub(super) const BODY: Duration = Duration::from_secs(10);
/// Bound on the searches for an occurrence in the past. Each search of a sun trigger covers a month.
pub(super) const EXPLAIN_SEARCHES: usize = 13;
/// Bytes of an idempotency key at the most.
pub(super) const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Characters of the part of a name that devices are searched for: a plugin's and a device's name have at most 128.
pub(super) const PART_CHARS: usize = 130;
/// Devices that one request pauses or resumes: the scheduler does it in one step, in less than a millisecond.
pub(crate) const DEVICES_PAUSED: usize = 1_000;
/// Bytes of a fault's reason by which it is grouped: a plugin's own may have several thousand.
pub(super) const TEMPLATE_BYTES: usize = 256;
/// Groups of faults that are listed, and faults of each.
pub(super) const FAULT_GROUPS: usize = 100;
pub(super) const FIRST_FAULTS: usize = 5;
/// For how long after its last run a job that has been removed counts as faulty: nothing can mend it any more.
pub(super) const GONE_FAULT_MS: i64 = 24 * 60 * 60 * 1_000;
/// Days of which the check of an upload lists changed messages: the default and the maximum.
pub(super) const CHECK_DAYS: u32 = 2;
pub(super) const MOST_CHECK_DAYS: u32 = 7;
/// Jobs whose messages a check compares, messages that it examines of each version, and changed messages that it lists.
pub(super) const CHECK_JOBS: usize = 10_000;
pub(super) const CHECK_MESSAGES: usize = 50_000;
pub(super) const CHANGED_MESSAGES: usize = 48;
/// Parts of a period in which runs are counted: the maximum, more than a screen has columns for, and the default.
pub(super) const BUCKETS: u32 = 1_000;
pub(super) const DEFAULT_BUCKETS: u32 = 240;
/// Groups in which runs are counted: as many lanes as a person can tell apart.
pub(super) const DENSITY_GROUPS: usize = 20;
/// Groups that are held in memory to find these: each takes a few kilobytes.
pub(super) const DENSITY_HELD_GROUPS: usize = 10_000;
/// Occurrences that are searched for to count them; those of jobs with the same trigger are searched for once.
pub(super) const DENSITY_OCCURRENCES: usize = 200_000;
/// The longest period for the bands of the sun: each day takes a millisecond to compute.
pub(super) const SUN_MS: i64 = 31 * DAY_MS;
/// Sessions of browsers. A further one ends the one that was not used for the longest time.
pub(super) const SESSIONS: usize = 100;
/// Bytes of the file with them: each has a digest and the beginning of a browser's description of itself.
pub(super) const SESSIONS_BYTES: u64 = 1 << 20;
/// How long a session lasts after it was used: a phone is put away for a season.
pub(super) const SESSION_MS: i64 = 90 * 24 * 60 * 60 * 1_000;
/// How precisely the last use of a session is kept: each change of it is a write to the disk.
pub(super) const SESSION_USED_MS: i64 = 60 * 60 * 1_000;
/// How often a session with an open event stream is examined. It is more often in tests.
pub(super) const SESSION_CHECK: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 60 * 60 * 1_000 });
/// Cookies of a request that are examined, more than browsers keep of one host: a digest is computed for each, in about a
/// microsecond. Other services on the machine can set cookies of the same name, which must not hide the session.
pub(super) const SESSION_COOKIES: usize = 256;
/// One-time codes that are valid at a time.
pub(super) const CODES: usize = 10;
/// How long a one-time code is valid: time to find the phone.
pub(super) const CODE_VALID: Duration = Duration::from_secs(600);
/// Bytes of the form of the login: the path that it leads back to, each byte of which may be encoded as three, and a secret.
pub(super) const LOGIN_BYTES: usize = 8 << 10;
/// Timeout for that form, which is the only body that a client without a token or session may send. It is shorter in
/// tests.
pub(super) const LOGIN_BODY: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 3_000 });
/// Such forms that are received at a time. A further one takes the place of the oldest, so that strangers hold few
/// connections, and keep no other client out with slow ones.
pub(super) const LOGIN_BODIES: usize = 16;
/// Bytes of the path that a login leads back to.
pub(crate) const NEXT_BYTES: usize = 2_048;
