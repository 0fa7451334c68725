//! Keeps the lease of a cell: claims it, renews it, and writes under it.
//!
//! A thread of its own has the only connection that writes. A second one watches the deadline, because a commit may take
//! longer. A process that loses the lease begins anew: it executes its own program again, so that nothing of it is left
//! and nothing more is sent.

use std::{
    os::unix::process::CommandExt as _,
    process::Command,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use roost_lease::{
    event::{Effect, Event, Exit, Loss, Notice},
    lease::Lease,
    limits::LOCK_MS,
    row::{Backend, Claim, Epoch, Fence, Owner, Row},
    time::{BootTime, WallTime},
};
use roost_scheduler::event::Change;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_postgres::{Client, error::SqlState};

use super::{
    Address, Fault, Session, Source,
    commit::{self, Statements},
    load,
    session::Waited,
};
use crate::{
    lease::{LeaseHandle, moment},
    store::{StoreError, limits, machine_name},
};

const READ: &str = "SELECT epoch, owner, beat, backend, clock, (extract(epoch FROM clock_timestamp()) * 1000)::int8
     FROM cells WHERE id = $1";
const CLAIM: &str =
    "UPDATE cells SET epoch = epoch + 1, beat = beat + 1, owner = $4, backend = pg_backend_pid(), clock = $5, host = $6,
         host_id = $7
     WHERE id = $1 AND epoch = $2 AND beat = $3";

/// The lease of this process.
static OWN: OnceLock<LeaseHandle> = OnceLock::new();
/// The environment variable by which a program that begins anew knows the cell for its own: the process, the number of
/// the owner, and the highest wall clock by which it has sent.
const ANEW: &str = "ROOST_BEGUN_ANEW";

/// A request to the thread.
enum Order {
    /// Commit these changes, and report it.
    Commit(Vec<Change>, mpsc::Sender<Result<(), Fault>>),
    /// Release the cell, because the work has ended.
    Release(mpsc::Sender<()>),
}

/// The handle to the thread that keeps the lease.
#[derive(Debug)]
pub(super) struct Keeper {
    orders: UnboundedSender<Order>,
    source: Source,
}

impl Keeper {
    /// Waits until this process owns the cell, and starts the thread.
    pub(super) fn acquire(source: &Source, host: String, keep_days: u32) -> Result<(Self, LeaseHandle), StoreError> {
        let lease = match begun_anew() {
            Some((owner, decided)) => Lease::again(owner, decided),
            None => Lease::new(Owner(random().map_err(|error| source.error(Fault::Io(error)))?)),
        };
        let handle = LeaseHandle::new(lease);
        let _ = OWN.set(handle.clone());
        let mut standby = Standby {
            address: source.0.address.clone(),
            cell: source.0.cell,
            host,
            lease: handle.clone(),
            session: None,
            logged: String::new(),
        };
        let session = standby.acquire().map_err(|fault| source.error(fault))?;
        // One batch is committed at a time.
        let (orders, inbox) = unbounded_channel();
        let (work, watched) =
            (Work { session, statements: Statements::default(), lease: handle.clone(), keep_days }, handle.clone());
        let started = thread::Builder::new().name("lease".into()).spawn(move || work.run(inbox));
        let started =
            started.and_then(|_| thread::Builder::new().name("deadline".into()).spawn(move || watch(&watched)));
        started.map_err(StoreError::Thread)?;
        Ok((Self { orders, source: source.clone() }, handle))
    }

    /// Commits all changes durably, or none.
    pub(super) fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let (answer, committed) = mpsc::channel();
        let _ = self.orders.send(Order::Commit(changes.to_vec(), answer));
        // The thread ends before the process only if it panics.
        let committed = committed.recv().unwrap_or_else(|_| begin_anew("the thread that writes has ended"));
        committed.map_err(|fault| self.source.error(fault))
    }
}

impl Drop for Keeper {
    /// Releases the cell, so that another host takes it at once.
    fn drop(&mut self) {
        let (answer, released) = mpsc::channel();
        let _ = self.orders.send(Order::Release(answer));
        let _ = released.recv_timeout(limits::RELEASE);
    }
}

/// A process that waits for the cell.
struct Standby {
    address: Address,
    cell: i64,
    /// The id of this host.
    host: String,
    lease: LeaseHandle,
    session: Option<Session>,
    /// The fault that was logged last.
    logged: String,
}

impl Standby {
    /// Waits until this process owns the cell. Returns the connection on which it was claimed.
    fn acquire(&mut self) -> Result<Session, Fault> {
        let mut event = self.connect()?;
        let mut is_waiting = false;
        loop {
            let effects = self.lease.lock().step(moment(), event);
            let mut next = None;
            for effect in effects {
                match effect {
                    Effect::Start(epoch) => {
                        tracing::info!("this host owns the cell, in epoch {}", epoch.0);
                        if let Some(session) = self.session.take() {
                            return Ok(session);
                        }
                    }
                    Effect::Disconnect => self.session = None,
                    // A standby has no work.
                    Effect::Exit(_) | Effect::Abort(_) => {}
                    Effect::Report(notice) => report(notice),
                    effect => next = Some(self.carry_out(effect)),
                }
            }
            if !is_waiting && matches!(next, Some(Event::Read { row, .. }) if row.owner.is_some()) {
                is_waiting = true;
                tracing::info!("another host owns the cell: this one is a standby");
            }
            event = match next {
                Some(event) => event,
                None if self.session.is_none() => {
                    thread::sleep(limits::RECONNECT);
                    self.connect()?
                }
                None => {
                    self.rest();
                    Event::Woke
                }
            };
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Event {
        let Some(session) = &self.session else { return Event::ConnectionLost };
        let answer = match effect {
            Effect::Read => read(session),
            Effect::Claim(claim) => self::claim(session, &claim, &self.host),
            Effect::Terminate(backend) => terminate(session, backend),
            Effect::Renew(fence) => commit::alone(session, &fence, false),
            Effect::Release(fence) => commit::alone(session, &fence, true),
            _ => Ok(Event::Woke),
        };
        answer.unwrap_or_else(|fault| {
            self.log(&fault);
            self.session = None;
            Event::ConnectionLost
        })
    }

    /// Tries to connect. The tables are made if there are none.
    fn connect(&mut self) -> Result<Event, Fault> {
        let connected =
            Session::open(&self.address, self.cell).and_then(|session| load::prepare(&session).map(|()| session));
        match connected {
            Ok(session) => {
                self.logged.clear();
                self.session = Some(session);
                Ok(Event::Connected)
            }
            Err(fault) if fault.is_lasting() => Err(fault),
            Err(fault) => {
                self.log(&fault);
                Ok(Event::Woke)
            }
        }
    }

    /// Logs a fault, unless it is the same again.
    fn log(&mut self, fault: &Fault) {
        let text = fault.to_string();
        if self.logged != text {
            tracing::warn!("the database `{}` cannot be used, and is tried again: {text}", self.address);
            self.logged = text;
        }
    }

    fn rest(&self) {
        let wake = self.lease.lock().wake();
        thread::sleep(wake.map_or(limits::RECONNECT, until));
    }
}

/// The thread that writes.
struct Work {
    session: Session,
    statements: Statements,
    lease: LeaseHandle,
    keep_days: u32,
}

impl Work {
    fn run(mut self, mut inbox: UnboundedReceiver<Order>) {
        loop {
            let wake = self.lease.lock().wake();
            match self.session.wait_for(wake.map_or(limits::RECONNECT, until), inbox.recv()) {
                Waited::Value(Some(Order::Commit(changes, answer))) => {
                    let result = self.commit(&changes);
                    let _ = answer.send(result);
                }
                Waited::Value(Some(Order::Release(answer))) => {
                    self.step(Event::Stopped);
                    let _ = answer.send(());
                    return;
                }
                Waited::Value(None) => return,
                // Noticed before anything is sent that could not be committed.
                Waited::Disconnected => self.step(Event::ConnectionLost),
                Waited::Nothing => self.step(Event::Woke),
            }
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), Fault> {
        if changes.is_empty() {
            return Ok(());
        }
        let Some(fence) = self.lease.lock().fence(moment()) else { begin_anew("the lease has expired") };
        let done = commit::commit(&self.session, &mut self.statements, &fence, changes, self.keep_days);
        match done {
            Ok(event) => {
                self.step(event);
                Ok(())
            }
            Err(fault) => {
                tracing::error!("a commit failed: {fault}");
                self.step(Event::CommitFailed);
                Err(fault)
            }
        }
    }

    /// Passes an event to the lease, and carries out the effects.
    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let effects = self.lease.lock().step(moment(), event);
            for effect in effects {
                match effect {
                    Effect::Renew(fence) => events.push(self.alone(&fence, false)),
                    Effect::Release(fence) => events.push(self.alone(&fence, true)),
                    Effect::Abort(loss) => begin_anew(reason(loss)),
                    Effect::Report(notice) => report(notice),
                    // The last one: the process ends by itself.
                    Effect::Exit(Exit::Stopped) => {}
                    Effect::Exit(Exit::Stuck) => begin_anew("the work has not ended"),
                    Effect::Read | Effect::Claim(_) | Effect::Terminate(_) | Effect::Disconnect | Effect::Start(_) => {}
                }
            }
        }
    }

    fn alone(&self, fence: &Fence, releases: bool) -> Event {
        commit::alone(&self.session, fence, releases).unwrap_or_else(|fault| {
            tracing::error!("the lease was not renewed: {fault}");
            Event::CommitFailed
        })
    }
}

/// Ends the work when the deadline has passed, also while a commit is under way.
fn watch(lease: &LeaseHandle) {
    loop {
        let deadline = lease.lock().deadline();
        // The cell was released: the process is ending.
        let Some(deadline) = deadline else { return };
        if moment().boot > deadline {
            begin_anew(reason(Loss::Expired));
        }
        thread::sleep(until(deadline).max(limits::WATCH));
    }
}

fn until(at: BootTime) -> Duration {
    let ms = at.millis() - moment().boot.millis();
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

const fn reason(loss: Loss) -> &'static str {
    match loss {
        Loss::Fenced => "another host has claimed the cell",
        Loss::Expired => "the lease could not be renewed in time",
        Loss::CommitFailed => "a transaction failed, or it is unknown whether it took effect",
        Loss::Disconnected => "the connection to the database was lost",
    }
}

fn report(notice: Notice) {
    match notice {
        Notice::Skewed { ahead_ms } => tracing::warn!(
            "this host's clock differs from the database's by {ahead_ms} ms\nhint: let NTP set the clocks of both; beyond 2 s \
             this host takes over nothing"
        ),
        Notice::Agreed => tracing::info!("this host's clock agrees with the database's again"),
        Notice::WaitsForClock { behind_ms } => {
            tracing::warn!(
                "this host waits {behind_ms} ms, because the clock of the owner before was ahead of its own"
            );
        }
        Notice::TooFarBehind { behind_ms } => tracing::error!(
            "this host takes over nothing: its clock is {behind_ms} ms behind that of the owner before\nhint: set the clocks \
             right; if that owner's was wrong, set `clock` in the table `cells` to 0"
        ),
    }
}

/// Ends everything at once, and begins anew as a standby: with another image of the program nothing is flushed, and no
/// thread sends another byte.
pub(super) fn begin_anew(why: &str) -> ! {
    tracing::error!("this host has lost its cell, and begins anew: {why}");
    // The log is written by a thread of its own.
    thread::sleep(limits::LAST_WORDS);
    // The file may have been replaced by a newer one meanwhile.
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "roost".into());
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name).args(arguments);
    if let Some((owner, decided)) = OWN.get().and_then(LeaseHandle::identity) {
        command.env(ANEW, format!("{} {} {}", std::process::id(), owner_text(owner), decided.millis()));
    }
    let failed = command.exec();
    tracing::error!("the program could not be executed again: {failed}");
    std::process::abort();
}

/// Returns the number of this process and the highest wall clock by which it has sent, if it has begun anew. Another
/// process that was given the variable has another id.
fn begun_anew() -> Option<(Owner, WallTime)> {
    let text = std::env::var(ANEW).ok()?;
    let [process, owner, decided]: [&str; 3] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let is_own = process.parse() == Ok(std::process::id());
    let owner = u128::from_str_radix(owner, 16).ok().filter(|_| is_own)?;
    Some((Owner(owner), WallTime::from_millis(decided.parse().ok()?)))
}

/// Draws the number of this process.
fn random() -> std::io::Result<u128> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}

fn read(session: &Session) -> Result<Event, Fault> {
    session.run(limits::QUESTION, async move |client: &Client| {
        let row = client.query_one(READ, &[&session.cell]).await?;
        let owner =
            row.try_get::<_, Option<&str>>(1)?.and_then(|owner| u128::from_str_radix(owner, 16).ok()).map(Owner);
        let (backend, clock): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
        let found = Row {
            epoch: Epoch(row.try_get(0)?),
            owner,
            beat: row.try_get(2)?,
            backend: Backend(i32::try_from(backend).unwrap_or(0)),
            clock: WallTime::from_millis(clock),
        };
        Ok(Event::Read { row: found, clock: WallTime::from_millis(row.try_get(5)?) })
    })
}

fn claim(session: &Session, claim: &Claim, host_id: &str) -> Result<Event, Fault> {
    let Claim { epoch, beat, owner, clock } = *claim;
    let (owner, host) = (owner_text(owner), machine_name());
    session.run(limits::QUESTION, async move |client: &Client| {
        client.batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = {LOCK_MS}")).await?;
        match client.execute(CLAIM, &[&session.cell, &epoch.0, &beat, &owner, &clock.millis(), &host, &host_id]).await {
            Ok(1) => {
                client.batch_execute("COMMIT").await?;
                Ok(Event::Claimed)
            }
            Ok(_) => {
                client.batch_execute("ROLLBACK").await?;
                Ok(Event::ClaimRefused)
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                client.batch_execute("ROLLBACK").await?;
                Ok(Event::ClaimBlocked)
            }
            Err(error) => Err(error.into()),
        }
    })
}

pub(super) fn owner_text(Owner(owner): Owner) -> String {
    format!("{owner:032x}")
}

fn terminate(session: &Session, Backend(backend): Backend) -> Result<Event, Fault> {
    session.run(limits::QUESTION, async move |client: &Client| {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE pid = $1 AND pid <> pg_backend_pid() AND usename = current_user";
        client.execute(sql, &[&backend]).await?;
        Ok(Event::Woke)
    })
}
