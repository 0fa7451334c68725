//! Every bound of the HTTP API, each with what it protects from (I10).

use std::time::Duration;

/// Added to the niceness of the thread: whoever asks must not make late what is due.
pub(super) const NICE: i32 = 10;
/// Threads that read the database for it, and pages of a plugin's file.
pub(super) const BLOCKING_THREADS: usize = 8;
/// Connections over TCP at a time. Each takes a file, and the broker and the store need some, too. Whoever comes when all
/// places are taken pushes out the one that has asked for nothing for the longest time.
pub(super) const TCP_CONNECTIONS: usize = 1_024;
/// Of so many files that the process may have open, one is for a connection over TCP, where files are few.
pub(super) const FILES_EACH: u64 = 4;
/// Connections to the socket in the data folder, which has room of its own: the owner gets through, whoever comes over TCP.
pub(super) const SOCKET_CONNECTIONS: usize = 64;
/// How long a request's head may take to come, and the next request of a connection: nobody may keep a place by doing
/// nothing. A test does not wait as long for those who say nothing.
pub(super) const HEAD: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 15 });
/// How long a request may take to come, to be done, and to be answered: what is asked for has to be on disk.
pub(super) const REQUEST: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 30 });
/// How long the core may take to do what it is asked for, and to keep it: a little less, so that this is what is told.
pub(super) const ANSWER: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 25 });
/// How long an answer may wait for somebody who does not read it.
pub(super) const UNREAD: Duration = Duration::from_secs(30);
/// The pause after a connection could not be taken, for want of files, say.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// How long those who have asked are waited for when the host stops.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of a request's head: names and queries are short.
pub(super) const HEAD_BYTES: usize = 64 << 10;
/// Bytes of a JSON body: a plan by hand, not a database.
pub(super) const JSON_BYTES: usize = 256 << 10;
/// Questions about what the loop has that are worked on at a time: it answers one at each of its turns.
pub(super) const READS: usize = 32;
/// Questions about the past that are worked on at a time: each takes a thread and reads the disk.
pub(super) const HISTORIES: usize = 4;
/// Requests that change something and are worked on at a time; so many may be slow to send what they want, too.
pub(super) const WRITES: usize = 64;
/// Items of a page at the most, and when nobody says how many.
pub(super) const PAGE: u32 = 1_000;
pub(super) const USUAL_PAGE: u32 = 100;
/// Bytes of messages in a page of jobs: a page ends early when it has more.
pub(super) const PAGE_BYTES: usize = 4 << 20;
/// Jobs that one look takes along: to copy what is shared takes long, too.
pub(super) const JOBS_PER_LOOK: usize = 500;
/// Devices that one look counts the jobs of, or looks for faults of.
pub(super) const DEVICES_PER_LOOK: usize = 1_000;
/// Names that are told of what is paused: the first say enough, and the rest is counted.
pub(super) const PAUSED: usize = 10;
/// Names that one is compared with that is not there: each takes some microseconds of the loop.
pub(super) const NEAREST: usize = 64;
/// Times that are told of a job in advance: the sun takes long to find.
pub(super) const FOLLOWING: u32 = 10;
/// Runs under way that are told of one job.
pub(super) const RUNS: usize = 100;
/// Uploads that are worked on at a time: each holds a component, and later its plans.
pub(super) const UPLOADS: usize = 2;
/// How long an upload's bytes may take to come: whoever is slow takes the place of others.
pub(super) const UPLOAD_BODY: Duration = Duration::from_secs(60);
/// How long nothing of them may come.
pub(super) const UPLOAD_PAUSE: Duration = Duration::from_secs(15);
/// How long an upload may take in all: to wait for others, for its compile, and for a plan of each of its devices.
pub(super) const UPLOAD: Duration = Duration::from_secs(600);
/// Devices that are told of what an upload would change, and ids of jobs in each of their lists.
pub(super) const CHANGED_DEVICES: usize = 500;
pub(super) const CHANGED_JOBS: usize = 50;
/// How long a plugin's tasks are waited for: it may be busy, or have to be compiled.
pub(super) const TASKS: Duration = Duration::from_secs(5);
/// Streams of what happens at a time: each has a connection and a task, and keeps what its reader has not taken yet.
pub(super) const STREAMS: usize = 256;
/// Happenings that a stream looks at, and bytes that it sends, at a time.
pub(super) const EVENTS_PER_PIECE: usize = 256;
pub(super) const PIECE_BYTES: usize = 32 << 10;
/// How often a stream says that it is there: proxies end connections that say nothing for a minute.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });
/// Jobs that a timeline looks at: of more, nobody could read it, and it would take longer than a request may.
pub(super) const TIMELINE_JOBS: usize = 10_000;
/// Places of a timeline that one page looks at, besides one for each job.
pub(super) const TIMELINE_PLACES: usize = 10_000;
/// How far a timeline goes: a sun trigger is never due again that is not within 400 days.
pub(super) const TIMELINE_MS: i64 = 400 * 24 * 60 * 60 * 1_000;
/// How far it goes when nobody says so.
pub(super) const USUAL_TIMELINE_MS: i64 = 24 * 60 * 60 * 1_000;
/// Runs under way of a job that a timeline has, where nothing of them is on disk yet.
pub(super) const TIMELINE_RUNS: usize = 8;
/// Plugins that are measured one by one for Prometheus: each is a handful of time series.
pub(super) const PLUGINS_MEASURED: usize = 1_000;
/// How often an explanation is made again where a run may have ended that is not on disk yet: of a job that is due each second
/// the next one may have come meanwhile.
pub(super) const EXPLAINED_AGAIN: usize = 2;
/// How long what was decided may take to be on disk, for those who ask at once.
pub(super) const DURABLE: Duration = Duration::from_millis(300);
/// How far ahead it is explained what will be: the sun is looked for no further.
pub(super) const EXPLAINED_MS: i64 = 400 * 24 * 60 * 60 * 1_000;
/// How long the body of a request that changes something may take to come.
pub(super) const BODY: Duration = Duration::from_secs(10);
