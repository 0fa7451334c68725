//! Writes a batch of changes in one transaction.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::poll_fn,
    pin::Pin,
    task::Poll,
};

use roost_lease::{event::Event, row::Fence, time::WallTime};
use roost_scheduler::{event::Change, time::Instant};
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::{
    Fault, Session,
    batch::{Batch, Rows},
    keeper::owner_text,
    kinds::Kind,
};
use crate::store::{limits, tables::Value};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Deletes runs that ended too long ago, of the oldest occurrences.
const TOO_OLD: &str = "DELETE FROM runs WHERE cell = $1 AND (occurrence, plugin, device, job, origin) IN (
     SELECT occurrence, plugin, device, job, origin
     FROM (SELECT * FROM runs WHERE cell = $1 AND occurrence < $2 AND state <> 'running' ORDER BY occurrence LIMIT $4) AS old
     WHERE ended < $2 LIMIT $3)";

/// The statements of a connection that have been prepared.
#[derive(Debug, Default)]
pub(super) struct Statements {
    fence: Option<Statement>,
    kinds: HashMap<Kind, Statement>,
    too_old: Option<Statement>,
}

/// The first statement of each transaction: renews the lease, or finds no row if the cell is another's.
const FENCE: &str = "UPDATE cells SET beat = beat + 1, clock = greatest(clock, $4)
     WHERE id = $1 AND epoch = $2 AND owner = $3 RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::int8, pg_backend_pid()";
const RELEASE: &str = "UPDATE cells SET beat = beat + 1, clock = greatest(clock, $4), owner = NULL
     WHERE id = $1 AND epoch = $2 AND owner = $3 RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::int8, pg_backend_pid()";

/// Commits the fence alone, and releases the cell if it is to.
pub(super) fn alone(session: &Session, fence: &Fence, releases: bool) -> Result<Event, Fault> {
    let (sql, fence, cell) = (if releases { RELEASE } else { FENCE }, *fence, session.cell);
    session.run(limits::COMMIT, async move |client: &Client| {
        let (epoch, owner, clock) = (fence.epoch.0, owner_text(fence.owner), fence.clock.millis());
        let row = client.query_opt(sql, &[&cell, &epoch, &owner, &clock]).await?;
        Ok(renewed(session, row)?.map_or(Event::Fenced, |clock| Event::Committed { clock }))
    })
}

/// Returns the database's clock, or `None` if the cell is another's.
fn renewed(session: &Session, row: Option<Row>) -> Result<Option<WallTime>, Fault> {
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<_, i32>(1)? != session.backend {
        return Err(Fault::Pooled);
    }
    Ok(Some(WallTime::from_millis(row.try_get(0)?)))
}

/// Commits all changes behind the fence, or none. Runs that ended more than `days` ago are deleted with them.
///
/// It takes two round trips, however many statements there are: the server executes them in the order in which they are
/// sent, and nothing after one that fails.
pub(super) fn commit(
    session: &Session,
    statements: &mut Statements,
    fence: &Fence,
    changes: &[Change],
    days: u32,
) -> Result<Event, Fault> {
    let (fence, cell) = (*fence, session.cell);
    let batch: Vec<(Kind, Rows)> = Batch::new(changes)?.into_statements().collect();
    let old = old(changes, days);
    session.run(limits::COMMIT, async move |client: &Client| {
        let of_fence = prepare(client, statements, batch.iter().map(|(kind, _)| *kind), old.is_some()).await?;
        let row = write(client, statements, &of_fence, &fence, cell, batch, old).await?;
        // The connection is given up if one of them has failed, and the transaction with it.
        let clock = renewed(session, row)?;
        client.batch_execute(if clock.is_some() { "COMMIT" } else { "ROLLBACK" }).await?;
        Ok(clock.map_or(Event::Fenced, |clock| Event::Committed { clock }))
    })
}

/// Begins a transaction, with the fence and all changes. Returns the row of the fence.
async fn write(
    client: &Client,
    statements: &Statements,
    of_fence: &Statement,
    fence: &Fence,
    cell: i64,
    batch: Vec<(Kind, Rows)>,
    old: Option<(i64, i64, i64)>,
) -> Result<Option<Row>, tokio_postgres::Error> {
    let (epoch, owner, clock) = (fence.epoch.0, owner_text(fence.owner), fence.clock.millis());
    let fence: [&(dyn ToSql + Sync); 4] = [&cell, &epoch, &owner, &clock];
    let batch: Vec<(Kind, Vec<List>)> = batch.into_iter().map(|(kind, rows)| (kind, lists(rows))).collect();
    let batch: Vec<(&Statement, Vec<_>)> =
        batch.iter().map(|(kind, lists)| (&statements.kinds[kind], params(&cell, lists))).collect();
    let old = old.map(|(before, most, examined)| [before, most, examined]);
    let old = old
        .as_ref()
        .map(|[before, most, examined]| -> Vec<&(dyn ToSql + Sync)> { vec![&cell, before, most, examined] });
    let changes = batch.iter().map(|(statement, params)| (*statement, params));
    let changes = changes.chain(statements.too_old.as_ref().zip(old.as_ref()));
    let mut sent: Vec<Sent<'_>> = vec![
        Box::pin(async { client.batch_execute("BEGIN").await.map(|()| None) }),
        Box::pin(client.query_opt(of_fence, &fence)),
    ];
    for (statement, params) in changes {
        sent.push(Box::pin(async move { client.execute(statement, params).await.map(|_| None) }));
    }
    Ok(in_order(sent).await?.into_iter().flatten().next())
}

fn params<'a>(cell: &'a i64, lists: &'a [List]) -> Vec<&'a (dyn ToSql + Sync)> {
    let of_cell: &(dyn ToSql + Sync) = cell;
    std::iter::once(of_cell).chain(lists.iter().map(List::as_param)).collect()
}

/// A statement that is sent when it is polled first, with the row that it returns.
type Sent<'a> = Pin<Box<dyn Future<Output = Result<Option<Row>, tokio_postgres::Error>> + Send + 'a>>;

/// Sends all statements at once, in their order, and waits for all of them. Returns the first error: those behind it are
/// its consequences.
async fn in_order(mut sent: Vec<Sent<'_>>) -> Result<Vec<Option<Row>>, tokio_postgres::Error> {
    let mut done: Vec<Option<Result<Option<Row>, _>>> = sent.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (statement, done) in sent.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(result) = statement.as_mut().poll(context) {
                *done = Some(result);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Prepares statements that were not used before. Returns that of the fence.
async fn prepare(
    client: &Client,
    statements: &mut Statements,
    kinds: impl Iterator<Item = Kind>,
    prunes: bool,
) -> Result<Statement, Fault> {
    for kind in kinds {
        if let Entry::Vacant(unknown) = statements.kinds.entry(kind) {
            unknown.insert(client.prepare(&kind.sql()).await?);
        }
    }
    if prunes && statements.too_old.is_none() {
        statements.too_old = Some(client.prepare(TOO_OLD).await?);
    }
    match &statements.fence {
        Some(fence) => Ok(fence.clone()),
        None => Ok(statements.fence.insert(client.prepare(FENCE).await?).clone()),
    }
}

/// Returns before which instant ended runs are too old, how many of them are deleted, and how many are examined.
fn old(changes: &[Change], days: u32) -> Option<(i64, i64, i64)> {
    let ended =
        || changes.iter().filter_map(|change| if let Change::RunEnded(run) = change { Some(run.ended) } else { None });
    let (first, last) = (ended().min()?, ended().max()?);
    // Runs that end with this batch stay, even if the clock was set back meanwhile (I13).
    let before: Instant = last.plus_ms(-DAY_MS * i64::from(days)).min(first);
    let count = ended().count() as i64;
    let examined = count + limits::PRUNED_BEYOND;
    Some((before.millis(), examined.min(2 * count), examined))
}

/// The values of a column.
#[derive(Debug)]
enum List {
    Integers(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

impl List {
    fn of(value: Value) -> Self {
        match value {
            Value::Integer(value) => Self::Integers(vec![value]),
            Value::Real(value) => Self::Reals(vec![value]),
            Value::Text(value) => Self::Texts(vec![value.map(without_nul)]),
        }
    }

    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Integers(list), Value::Integer(value)) => list.push(value),
            (Self::Reals(list), Value::Real(value)) => list.push(value),
            (Self::Texts(list), Value::Text(value)) => list.push(value.map(without_nul)),
            (list, value) => unreachable!("{value:?} is no value of {list:?}"),
        }
    }

    fn as_param(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Integers(list) => list,
            Self::Reals(list) => list,
            Self::Texts(list) => list,
        }
    }
}

/// Replaces what a text in PostgreSQL cannot have. A device may report it, and a plugin may note it.
pub(super) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// Turns rows into columns.
fn lists(rows: Rows) -> Vec<List> {
    let mut rows = rows.into_iter();
    let mut lists: Vec<List> = rows.next().unwrap_or_default().into_iter().map(List::of).collect();
    for row in rows {
        lists.iter_mut().zip(row).for_each(|(list, value)| list.push(value));
    }
    lists
}
