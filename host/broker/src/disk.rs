//! What outlives the broker: sessions, their messages, retained messages and last wills, in a database of its own.
//!
//! Transactions are made on a thread of their own, each of everything that has come in the meantime. What has to
//! wait for one has its [`Ticket`].

mod load;
#[cfg(test)]
mod tests;
mod write;

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, ErrorCode};

pub(crate) use self::load::{Saved, SavedMessage};
#[cfg(test)]
pub(crate) use self::load::{SavedSession, SavedSubscription};
use crate::{
    codec::{Qos, SubscribeOptions},
    core::SessionId,
    limits,
    message::Message,
};

/// "RstB": that a database is the broker's.
const APPLICATION_ID: i64 = 0x5273_7442;
/// The version of its schema.
const FORMAT: i64 = 1;

/// The number of a transaction. One is durable when those before it are.
pub(crate) type Ticket = u64;
/// The number of a message in a queue, in the order of their arrival.
pub(crate) type MessageId = u64;

/// Something that has to outlive the broker.
#[derive(Debug)]
pub(crate) enum Op {
    Session {
        id: SessionId,
        client: Arc<str>,
        expiry_s: u32,
        away_ms: Option<i64>,
    },
    EndSession(SessionId),
    Subscribe {
        session: SessionId,
        filter: Box<str>,
        options: SubscribeOptions,
        id: Option<u32>,
    },
    Unsubscribe {
        session: SessionId,
        filter: Box<str>,
    },
    Queue {
        session: SessionId,
        queued: QueueOp,
    },
    /// Only PUBREL is left to be sent.
    Release(MessageId),
    Unqueue(MessageId),
    Receive {
        session: SessionId,
        packet_id: u16,
    },
    Forget {
        session: SessionId,
        packet_id: u16,
    },
    Retain {
        message: Arc<Message>,
        qos: Qos,
        expires_ms: Option<i64>,
    },
    Unretain(Arc<str>),
    Will {
        client: Arc<str>,
        will: Will,
    },
    NoWill(Arc<str>),
}

/// A message of a queue, as it is kept.
#[derive(Debug)]
pub(crate) struct QueueOp {
    pub(crate) id: MessageId,
    pub(crate) packet_id: u16,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Box<[u32]>,
    pub(crate) expires_ms: Option<i64>,
    pub(crate) message: Arc<Message>,
}

/// What is published when a client is lost.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    pub(crate) expiry_s: Option<u32>,
}

impl Op {
    /// Bytes that it holds while it waits.
    pub(crate) fn size(&self) -> usize {
        let more = match self {
            Self::Queue { queued: QueueOp { message, subscription_ids, .. }, .. } => {
                message.size() + size_of_val(&**subscription_ids)
            }
            Self::Retain { message, .. } => message.size(),
            Self::Will { will, .. } => will.message.size(),
            Self::Subscribe { filter, .. } | Self::Unsubscribe { filter, .. } => filter.len(),
            _ => 0,
        };
        128 + more
    }
}

/// What goes to the thread.
enum Order {
    Commit { ticket: Ticket, ops: Vec<Op>, bytes: usize },
    Close,
}

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct Disk {
    orders: mpsc::Sender<Order>,
    backlog: Arc<AtomicUsize>,
    is_closing: Arc<AtomicBool>,
    is_failing: Arc<AtomicBool>,
}

/// The thread.
pub(crate) struct Writer {
    disk: Disk,
    thread: JoinHandle<()>,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("`{}` cannot be opened", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("`{}` cannot be used", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("the thread that writes to the disk cannot be started")]
    Thread(#[source] io::Error),
}

impl Disk {
    /// A disk that keeps nothing.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self {
            orders: mpsc::channel().0,
            backlog: Arc::default(),
            is_closing: Arc::default(),
            is_failing: Arc::default(),
        }
    }

    /// Hands over what belongs together. Never waits.
    pub(crate) fn commit(&self, ticket: Ticket, ops: Vec<Op>) {
        let bytes = ops.iter().map(Op::size).sum();
        self.backlog.fetch_add(bytes, Ordering::Relaxed);
        // The thread ends only when it is closed; then nothing is promised any more.
        if self.orders.send(Order::Commit { ticket, ops, bytes }).is_err() {
            self.backlog.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Whether so much waits that the clients that cause it have to wait, too.
    pub(crate) fn is_behind(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > limits::DISK_BACKLOG_BYTES
    }
}

impl Writer {
    /// Starts the thread, which reports each transaction that is durable.
    pub(crate) fn start(connection: Connection, durable: impl Fn(Ticket) + Send + 'static) -> Result<Self, DiskError> {
        let (orders, receiver) = mpsc::channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        let is_closing = Arc::new(AtomicBool::new(false));
        let is_failing = Arc::new(AtomicBool::new(false));
        let disk = Disk { orders, backlog, is_closing, is_failing };
        let shared = disk.clone();
        let spawned = thread::Builder::new().name("broker-disk".to_owned()).spawn(move || {
            write::run(connection, &receiver, &shared, &durable);
        });
        let thread = spawned.map_err(DiskError::Thread)?;
        Ok(Self { disk, thread })
    }

    pub(crate) fn disk(&self) -> Disk {
        self.disk.clone()
    }

    /// From here on nothing is written any more; ends when what was handed over is.
    pub(crate) fn close(&self) {
        self.disk.is_closing.store(true, Ordering::Relaxed);
        let _ = self.disk.orders.send(Order::Close);
    }

    /// Whether the last transaction has failed, and is tried again.
    pub(crate) fn is_failing(&self) -> bool {
        self.disk.is_failing.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Opens the database, or makes it. One that cannot be read is moved aside, and another one made: nothing that Roost
/// promises rests on it, and a broker that does not start would be worse.
pub(crate) fn open(path: &Path) -> Result<(Connection, Saved), DiskError> {
    match try_open(path) {
        Err(DiskError::Database { source, .. }) if is_unreadable(&source) => {
            let aside = path.with_extension("db.unreadable");
            tracing::error!(
                "built-in broker: `{}` cannot be read: {source}; it is kept as `{}`, and sessions and retained \
                 messages begin anew",
                path.display(),
                aside.display()
            );
            let failed = |source| DiskError::File { path: path.to_owned(), source };
            fs::rename(path, aside).map_err(failed)?;
            for journal in ["db-wal", "db-shm"] {
                match fs::remove_file(path.with_extension(journal)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                    _ => {}
                }
            }
            try_open(path)
        }
        opened => opened,
    }
}

fn is_unreadable(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
        }
        // What is in a table is not what the broker writes there.
        _ => true,
    }
}

fn try_open(path: &Path) -> Result<(Connection, Saved), DiskError> {
    // Messages are the household's: others on this machine cannot read them. No link is followed.
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600).custom_flags(no_follow);
    options.open(path).map_err(|source| DiskError::File { path: path.to_owned(), source })?;
    let failed = |source| DiskError::Database { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    prepare(&mut connection).map_err(failed)?;
    let saved = load::load(&connection).map_err(failed)?;
    Ok((connection, saved))
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // A transaction is durable when it is committed.
    connection.pragma_update(None, "synchronous", "full")?;
    // One large transaction must not leave a large journal for ever.
    connection.pragma_update_and_check(None, "journal_size_limit", limits::JOURNAL_BYTES, |_| Ok(()))?;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, format) = (pragma("application_id")?, pragma("user_version")?);
    if (application, format) == (APPLICATION_ID, FORMAT) {
        return Ok(());
    }
    if application != 0 || format != 0 || pragma("schema_version")? != 0 {
        return Err(rusqlite::Error::InvalidQuery);
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(include_str!("disk/schema.sql"))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}
