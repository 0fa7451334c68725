//! The database for persistent data: sessions, their messages, retained messages and last wills.
//!
//! A separate thread makes the transactions, each of all operations that have arrived meanwhile. An answer that must
//! wait for a transaction has its [`CommitToken`].

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

/// "RstB", which identifies the broker's databases.
const APPLICATION_ID: i64 = 0x5273_7442;
/// The version of its schema.
const FORMAT: i64 = 1;

/// The number of a transaction. If a transaction is durable, those before it are as well.
pub(crate) type CommitToken = u64;
/// The number of a message in a queue, in the order of their arrival.
pub(crate) type MessageId = u64;

/// An operation on the database.
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
    /// The client has received the message, and only PUBREL may have to be sent.
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

/// A stored message of a queue.
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

/// A last will, which is published when the connection to a client is lost.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    pub(crate) expiry_s: Option<u32>,
}

impl Op {
    /// The bytes that it takes in memory.
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

/// An order to the disk thread.
enum Order {
    Commit { token: CommitToken, ops: Vec<Op>, bytes: usize },
    Close,
}

/// A sender of operations to the disk thread.
#[derive(Clone)]
pub(crate) struct Disk {
    orders: mpsc::Sender<Order>,
    backlog: Arc<AtomicUsize>,
    is_closing: Arc<AtomicBool>,
    is_failing: Arc<AtomicBool>,
}

/// The handle to the disk thread.
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
    /// Returns a disk that drops all operations.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self {
            orders: mpsc::channel().0,
            backlog: Arc::default(),
            is_closing: Arc::default(),
            is_failing: Arc::default(),
        }
    }

    /// Queues a transaction. Never waits.
    pub(crate) fn commit(&self, token: CommitToken, ops: Vec<Op>) {
        let bytes = ops.iter().map(Op::size).sum();
        self.backlog.fetch_add(bytes, Ordering::Relaxed);
        // The thread ends only when it is closed; then nothing is acknowledged any more.
        if self.orders.send(Order::Commit { token, ops, bytes }).is_err() {
            self.backlog.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Checks whether the backlog is so large that the clients that cause it must wait.
    pub(crate) fn is_behind(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > limits::DISK_BACKLOG_BYTES
    }
}

impl Writer {
    /// Starts the thread, which calls `durable` after each transaction.
    pub(crate) fn start(
        connection: Connection,
        durable: impl Fn(CommitToken) + Send + 'static,
    ) -> Result<Self, DiskError> {
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

    /// Closes the thread: it ends after all queued transactions.
    pub(crate) fn close(&self) {
        self.disk.is_closing.store(true, Ordering::Relaxed);
        let _ = self.disk.orders.send(Order::Close);
    }

    /// Checks whether the last transaction failed and is being retried.
    pub(crate) fn is_failing(&self) -> bool {
        self.disk.is_failing.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Opens or creates the database. An unreadable one is renamed and replaced by a new one: Roost's guarantees do not
/// depend on its data, and a broker that does not start would be worse.
pub(crate) fn open(path: &Path) -> Result<(Connection, Saved), DiskError> {
    match try_open(path) {
        Err(DiskError::Database { source, .. }) if is_unreadable(&source) => {
            let aside = path.with_extension("db.unreadable");
            tracing::error!(
                "built-in broker: `{}` cannot be read: {source}; it is renamed to `{}`, and all sessions and \
                 retained messages are lost",
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
        // A table has data of another type.
        _ => true,
    }
}

fn try_open(path: &Path) -> Result<(Connection, Saved), DiskError> {
    // Messages are private: other users on this machine cannot read them. Links are not followed.
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
    // A committed transaction is durable.
    connection.pragma_update(None, "synchronous", "full")?;
    // A large transaction must not leave a large journal behind.
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
