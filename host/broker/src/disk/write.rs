//! The disk thread, which makes the transactions.

use std::{
    sync::{atomic::Ordering, mpsc::Receiver},
    thread,
};

use rusqlite::{Connection, params};

use super::{CommitToken, Disk, Op, Order, QueueOp, Will};
use crate::{codec::SubscribeOptions, limits};

pub(super) fn run(mut connection: Connection, orders: &Receiver<Order>, disk: &Disk, durable: &dyn Fn(CommitToken)) {
    let mut is_open = true;
    while is_open {
        let Ok(order) = orders.recv() else { return };
        let (mut gathered, mut bytes, mut last) = (Vec::new(), 0, 0);
        // Everything that arrived during the last transaction forms the next one.
        for order in std::iter::once(order).chain(std::iter::from_fn(|| orders.try_recv().ok())) {
            match order {
                Order::Commit { token, ops, bytes: more } => {
                    last = token;
                    bytes += more;
                    gathered.push(ops);
                    if bytes > limits::DISK_BACKLOG_BYTES {
                        break;
                    }
                }
                Order::Close => {
                    is_open = false;
                    break;
                }
            }
        }
        if gathered.is_empty() {
            continue;
        }
        if !commit_with_retries(&mut connection, &gathered, disk) {
            return;
        }
        disk.backlog.fetch_sub(bytes, Ordering::Relaxed);
        durable(last);
    }
}

/// Retries until the transaction succeeds; the messages in it are not acknowledged meanwhile. When the broker stops, it
/// tries only once more.
fn commit_with_retries(connection: &mut Connection, gathered: &[Vec<Op>], disk: &Disk) -> bool {
    let mut is_first = true;
    loop {
        let is_last = disk.is_closing.load(Ordering::Relaxed);
        let Err(error) = commit(connection, gathered) else {
            if !is_first {
                disk.is_failing.store(false, Ordering::Relaxed);
                tracing::info!("built-in broker: sessions and retained messages can be written again");
            }
            return true;
        };
        if is_first || is_last {
            tracing::error!(
                "built-in broker: sessions and retained messages cannot be written: {error}; messages that must be \
                 stored are not acknowledged until they can"
            );
        }
        if is_last {
            return false;
        }
        is_first = false;
        disk.is_failing.store(true, Ordering::Relaxed);
        thread::sleep(limits::DISK_PAUSE);
    }
}

fn commit(connection: &mut Connection, gathered: &[Vec<Op>]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for op in gathered.iter().flatten() {
        write(&transaction, op)?;
    }
    transaction.commit()
}

#[allow(clippy::too_many_lines, reason = "a statement for each kind")]
fn write(connection: &Connection, op: &Op) -> rusqlite::Result<()> {
    let execute = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<()> {
        connection.prepare_cached(sql)?.execute(values).map(|_| ())
    };
    match op {
        Op::Session { id, client, expiry_s, away_ms } => execute(
            "INSERT INTO session VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET expiry_s = ?3, away_ms = ?4",
            params![id, client.as_ref(), expiry_s, away_ms],
        ),
        Op::EndSession(id) => {
            execute("DELETE FROM session WHERE id = ?1", params![id])?;
            execute("DELETE FROM subscription WHERE session = ?1", params![id])?;
            execute("DELETE FROM queued WHERE session = ?1", params![id])?;
            execute("DELETE FROM received WHERE session = ?1", params![id])
        }
        Op::Subscribe { session, filter, options, id } => execute(
            "INSERT OR REPLACE INTO subscription VALUES (?1, ?2, ?3, ?4)",
            params![session, filter.as_ref(), to_number(*options), id],
        ),
        Op::Unsubscribe { session, filter } => {
            execute("DELETE FROM subscription WHERE session = ?1 AND filter = ?2", params![session, filter.as_ref()])
        }
        Op::Queue {
            session,
            queued: QueueOp { id, packet_id, qos, retain, subscription_ids, expires_ms, message },
        } => {
            let ids: Vec<u8> = subscription_ids.iter().flat_map(|id| id.to_be_bytes()).collect();
            execute(
                "INSERT INTO queued VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    id,
                    session,
                    packet_id,
                    *qos as u8,
                    retain,
                    ids,
                    expires_ms,
                    message.topic.as_ref(),
                    message.properties.as_ref(),
                    message.payload.as_ref()
                ],
            )
        }
        Op::Release(id) => {
            execute("UPDATE queued SET topic = NULL, properties = NULL, payload = NULL WHERE id = ?1", params![id])
        }
        Op::Unqueue(id) => execute("DELETE FROM queued WHERE id = ?1", params![id]),
        Op::Receive { session, packet_id } => {
            execute("INSERT OR IGNORE INTO received VALUES (?1, ?2)", params![session, packet_id])
        }
        Op::Forget { session, packet_id } => {
            execute("DELETE FROM received WHERE session = ?1 AND packet_id = ?2", params![session, packet_id])
        }
        Op::Retain { message, qos, expires_ms } => execute(
            "INSERT OR REPLACE INTO retained VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                message.topic.as_ref(),
                *qos as u8,
                expires_ms,
                message.properties.as_ref(),
                message.payload.as_ref()
            ],
        ),
        Op::Unretain(topic) => execute("DELETE FROM retained WHERE topic = ?1", params![topic.as_ref()]),
        Op::Will { client, will: Will { message, qos, retain, delay_s, expiry_s } } => execute(
            "INSERT OR REPLACE INTO will VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                client.as_ref(),
                message.topic.as_ref(),
                message.properties.as_ref(),
                message.payload.as_ref(),
                *qos as u8,
                retain,
                delay_s,
                expiry_s
            ],
        ),
        Op::NoWill(client) => execute("DELETE FROM will WHERE client = ?1", params![client.as_ref()]),
    }
}

/// Encodes options as in SUBSCRIBE.
pub(super) fn to_number(options: SubscribeOptions) -> u8 {
    let SubscribeOptions { qos, no_local, retain_as_published, retain_handling } = options;
    qos as u8 | u8::from(no_local) << 2 | u8::from(retain_as_published) << 3 | retain_handling << 4
}
