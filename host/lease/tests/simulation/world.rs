//! Hosts, their clocks and their processes, the network and the store, in virtual time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use roost_lease::{
    event::{Effect, Event, Notice},
    lease::Lease,
    limits::{BEHIND_MS, LOCK_MS, SKEW_MS},
    row::{Epoch, Fence, Owner},
    time::{BootTime, Moment, WallTime},
};

use crate::{
    checker::Checker,
    network::{Connection, Cut, Way},
    rng::Rng,
    store::{Request, Store, Tried},
};

/// The wall clock at the beginning, which is the store's: 2027-01-15T08:00:00Z.
const START_MS: i64 = 1_800_000_000_000;
/// No history has more actions, unless something goes round in circles.
const MOST_ACTIONS: u64 = 200_000;

/// Something that is to happen. Those of a host are put off while it is paused, and dropped when the process is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Arrive {
        connection: usize,
        request: Request,
    },
    Answer {
        connection: usize,
        event: Event,
    },
    /// The store's end of a connection notices that the other end is gone.
    CloseAtStore {
        connection: usize,
    },
    /// The host's end does.
    CloseAtHost {
        connection: usize,
    },
    /// A host connects to the store.
    Connect,
    /// A host begins with the next effect.
    Act,
    Wake {
        number: u64,
    },
    /// The work may send something.
    Send,
    /// The work has something to commit.
    Commit,
    /// The host sends the rest of a transaction.
    FinishCommit {
        connection: usize,
    },
    LetGo,
    Stop,
    Restart,
}

struct Scheduled {
    at: i64,
    number: u64,
    host: usize,
    process: u128,
    action: Action,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What a process does under one epoch.
pub(crate) struct Work {
    pub(crate) epoch: Epoch,
    /// The process has heard that its lease is lost.
    is_lost: bool,
}

pub(crate) struct Host {
    /// The running process, by its random number.
    pub(crate) process: Option<u128>,
    lease: Lease,
    pub(crate) work: Option<Work>,
    pub(crate) connection: Option<usize>,
    outbox: VecDeque<(Moment, Effect)>,
    wake_number: u64,
    pub(crate) paused_until: i64,
    /// The boot time at the beginning, and how many of its milliseconds pass in a thousand.
    boot: (i64, i64),
    /// By how much its wall clock is ahead of the store's.
    pub(crate) ahead_ms: i64,
    /// Its clock when it asked the last question.
    asked: Moment,
    /// The next abort hangs until the process is ended.
    pub(crate) is_sticky: bool,
    pub(crate) is_stuck: bool,
    pub(crate) cut: Cut,
    pub(crate) notices: Vec<Notice>,
}

pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) rng: Rng,
    queue: BinaryHeap<Reverse<Scheduled>>,
    actions: u64,
    processes: u128,
    pub(crate) hosts: Vec<Host>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) store: Store,
    pub(crate) store_away_until: i64,
    pub(crate) checker: Checker,
    pub(crate) is_calm: bool,
    pub(crate) is_verbose: bool,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize) -> Self {
        let mut world = Self {
            now: 0,
            rng: Rng::new(seed),
            queue: BinaryHeap::new(),
            actions: 0,
            processes: 0,
            hosts: Vec::new(),
            // Number 0 is none's, and the backend of a row that was never claimed.
            connections: vec![Connection::new(0, 0)],
            store: Store::new(),
            store_away_until: 0,
            checker: Checker::new(),
            is_calm: false,
            is_verbose: false,
        };
        for host in 0..hosts {
            let boot = (world.rng.below::<i64>(1_000_000_000), 900 + world.rng.below::<i64>(201));
            let now = Moment { boot: BootTime::from_millis(boot.0), wall: WallTime::from_millis(START_MS) };
            world.hosts.push(Host {
                process: None,
                lease: Lease::new(Owner(0)),
                work: None,
                connection: None,
                outbox: VecDeque::new(),
                wake_number: 0,
                paused_until: 0,
                boot,
                ahead_ms: world.rng.below::<i64>(200) - 100,
                asked: now,
                is_sticky: false,
                is_stuck: false,
                cut: Cut::default(),
                notices: Vec::new(),
            });
            world.start(host);
        }
        world
    }

    /// Returns the store's wall clock.
    pub(crate) fn clock(&self) -> WallTime {
        WallTime::from_millis(START_MS + self.now)
    }

    /// Returns what the clocks of a host show.
    pub(crate) fn moment(&self, host: usize) -> Moment {
        let host = &self.hosts[host];
        let boot = BootTime::from_millis(host.boot.0 + self.now * host.boot.1 / 1_000);
        Moment { boot, wall: self.clock().plus_ms(host.ahead_ms) }
    }

    fn schedule(&mut self, host: usize, after: i64, action: Action) {
        let process = self.hosts[host].process.unwrap_or_default();
        self.schedule_at(self.now + after, host, process, action);
    }

    fn schedule_at(&mut self, at: i64, host: usize, process: u128, action: Action) {
        self.actions += 1;
        assert!(self.actions < MOST_ACTIONS, "it goes round in circles");
        self.queue.push(Reverse(Scheduled { at, number: self.actions, host, process, action }));
    }

    /// Starts a process.
    pub(crate) fn start(&mut self, host: usize) {
        self.processes += 1;
        let process = self.processes;
        let host_state = &mut self.hosts[host];
        host_state.process = Some(process);
        host_state.lease = Lease::new(Owner(process));
        host_state.outbox.clear();
        let after = self.rng.below(100);
        self.schedule(host, after, Action::Connect);
    }

    /// Ends a process, at once. The store notices the end of its connection later.
    pub(crate) fn kill(&mut self, host: usize, restart_after: i64) {
        let state = &mut self.hosts[host];
        if state.process.take().is_none() {
            return;
        }
        state.work = None;
        state.is_stuck = false;
        self.disconnect(host);
        self.schedule(host, restart_after, Action::Restart);
    }

    /// Closes the host's end of its connection. The store performs what has arrived before it notices.
    pub(crate) fn disconnect(&mut self, host: usize) {
        if let Some(connection) = self.hosts[host].connection.take() {
            self.connections[connection].is_open_at_host = false;
            let after = match self.rng.below::<u8>(8) {
                _ if self.is_calm => 20,
                0 => self.rng.below(20_000),
                _ => self.rng.below(300),
            };
            self.schedule(host, after, Action::CloseAtStore { connection });
        }
    }

    /// Closes the store's end of a connection. Its transaction is rolled back.
    pub(crate) fn close_at_store(&mut self, connection: usize) {
        let Connection { is_open_at_store, host, process, .. } = &mut self.connections[connection];
        let (host, process) = (*host, *process);
        if std::mem::take(is_open_at_store) {
            self.store.roll_back(connection);
            let at = self.connections[connection].arrival(Way::ToHost, self.now, &mut self.rng, self.is_calm);
            self.schedule_at(at, host, process, Action::CloseAtHost { connection });
        }
    }

    /// Runs until that time.
    pub(crate) fn run_until(&mut self, until: i64) {
        while let Some(Reverse(next)) = self.queue.peek()
            && next.at <= until
        {
            let Some(Reverse(next)) = self.queue.pop() else { return };
            self.now = self.now.max(next.at);
            if !self.is_lost(next.action) {
                self.perform(&next);
            }
        }
        self.now = until;
    }

    /// Returns whether a message is on a dead connection.
    fn is_lost(&self, action: Action) -> bool {
        match action {
            Action::Arrive { connection, .. }
            | Action::Answer { connection, .. }
            | Action::CloseAtHost { connection } => self.connections[connection].is_dead,
            _ => false,
        }
    }

    fn perform(&mut self, next: &Scheduled) {
        let Scheduled { host, process, action, .. } = *next;
        match action {
            Action::Arrive { connection, request } => return self.arrive(connection, request),
            Action::CloseAtStore { connection } => return self.close_at_store(connection),
            Action::Restart => {
                if self.hosts[host].process.is_none() {
                    self.start(host);
                }
                return;
            }
            _ => {}
        }
        if self.hosts[host].process != Some(process) {
            return;
        }
        if self.hosts[host].paused_until > self.now {
            let at = self.hosts[host].paused_until;
            return self.schedule_at(at, host, process, action);
        }
        self.perform_at_host(host, process, action);
    }

    fn perform_at_host(&mut self, host: usize, process: u128, action: Action) {
        match action {
            Action::Answer { connection, event } => self.answer(host, connection, event),
            Action::CloseAtHost { connection } => {
                let cut_until = self.hosts[host].cut.end(Way::ToHost);
                if cut_until > self.now {
                    return self.schedule_at(cut_until, host, process, action);
                }
                self.lose_connection(host, connection);
            }
            Action::Connect => self.connect(host),
            Action::Act => self.act(host),
            Action::Wake { number } => {
                if self.hosts[host].wake_number == number {
                    self.step(host, Event::Woke);
                }
            }
            Action::Send => self.send(host),
            Action::Commit => {
                let now = self.moment(host);
                if self.hosts[host].work.is_some() {
                    if let Some(fence) = self.hosts[host].lease.fence(now) {
                        self.transact(host, fence, false);
                    }
                    // An owner that has hardly anything to commit is a quiet time's.
                    let after = 50 + self.rng.below::<i64>(if self.is_calm { 20_000 } else { 2_500 });
                    self.schedule(host, after, Action::Commit);
                }
            }
            Action::FinishCommit { connection } => {
                if self.hosts[host].connection == Some(connection) {
                    self.request(host, Request::Commit);
                }
            }
            Action::LetGo => {
                self.hosts[host].work = None;
                self.step(host, Event::LetGo);
            }
            Action::Stop => self.step(host, Event::Stopped),
            Action::Arrive { .. } | Action::CloseAtStore { .. } | Action::Restart => {}
        }
    }

    /// Gives an event to the lease of a host.
    pub(crate) fn step(&mut self, host: usize, event: Event) {
        let now = self.moment(host);
        let state = &mut self.hosts[host];
        if matches!(event, Event::Fenced | Event::CommitFailed | Event::ConnectionLost)
            && let Some(work) = &mut state.work
        {
            work.is_lost = true;
        }
        let effects = state.lease.step(now, event);
        if self.is_verbose {
            self.show(host, &format!("{event:?} -> {effects:?}"));
        }
        for effect in effects {
            if let Effect::Claim(claim) = effect
                && let Event::Read { clock, .. } = event
            {
                let asked = self.hosts[host].asked.wall;
                let (first, last) = (asked.min(now.wall), asked.max(now.wall));
                let is_right = first <= clock.plus_ms(SKEW_MS) && clock <= last.plus_ms(SKEW_MS);
                assert!(is_right, "L9: a host claims whose clock is wrong");
                assert!(claim.clock.ms_since(now.wall) <= BEHIND_MS, "L9: a host claims that is far behind");
            }
            self.hosts[host].outbox.push_back((now, effect));
            let after = self.rng.below(3);
            self.schedule(host, after, Action::Act);
        }
        self.schedule_wake(host);
    }

    fn schedule_wake(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        state.wake_number += 1;
        let number = state.wake_number;
        if let Some(wake) = state.lease.wake() {
            let at = ((wake.millis() - state.boot.0) * 1_000).div_euclid(state.boot.1) + 1;
            let after = (at - self.now).max(0) + self.rng.below::<i64>(4);
            self.schedule(host, after, Action::Wake { number });
        }
    }

    /// Performs the next effect. The host may be paused before.
    fn act(&mut self, host: usize) {
        if !self.is_calm && self.rng.one_in(250) {
            self.hosts[host].paused_until = self.now + 1_000 + self.rng.below::<i64>(29_000);
            return self.schedule(host, 0, Action::Act);
        }
        let Some((decided_at, effect)) = self.hosts[host].outbox.pop_front() else { return };
        match effect {
            Effect::Read => {
                self.hosts[host].asked = decided_at;
                self.request(host, Request::Read);
            }
            Effect::Claim(claim) => self.request(host, Request::Claim(claim, 0)),
            Effect::Renew(fence) => self.transact(host, fence, false),
            Effect::Release(fence) => self.transact(host, fence, true),
            Effect::Terminate(backend) => self.request(host, Request::Terminate(backend)),
            Effect::Disconnect => {
                self.disconnect(host);
                self.schedule(host, 20, Action::Connect);
            }
            Effect::Start(epoch) => {
                self.checker.starts += 1;
                self.hosts[host].work = Some(Work { epoch, is_lost: false });
                self.schedule(host, 1, Action::Send);
                self.schedule(host, 20, Action::Commit);
            }
            Effect::Abort(_) => self.abort(host),
            Effect::Exit(_) => {
                let restart_after = self.rng.below(4_000);
                self.kill(host, restart_after);
            }
            Effect::Report(notice) => self.hosts[host].notices.push(notice),
        }
    }

    fn abort(&mut self, host: usize) {
        if std::mem::take(&mut self.hosts[host].is_sticky) {
            self.hosts[host].is_stuck = true;
            return;
        }
        let after = match self.rng.below::<u8>(6) {
            0 if !self.is_calm => self.rng.below(4_000),
            _ => self.rng.below(100),
        };
        self.schedule(host, after, Action::LetGo);
    }

    /// The work tries to send. The check and the send are one action.
    fn send(&mut self, host: usize) {
        let now = self.moment(host);
        let state = &mut self.hosts[host];
        let (Some(work), Some(process)) = (&state.work, state.process) else { return };
        if state.lease.may_send(now) {
            self.checker.sent(work.epoch, process, now, work.is_lost);
        }
        let after = 1 + self.rng.below::<i64>(200);
        self.schedule(host, after, Action::Send);
    }

    fn connect(&mut self, host: usize) {
        if self.hosts[host].connection.is_some() {
            return;
        }
        let until = self.hosts[host].cut.until;
        if self.store_away_until > self.now || until.iter().any(|until| *until > self.now) {
            let after = 100 + self.rng.below::<i64>(200);
            return self.schedule(host, after, Action::Connect);
        }
        self.hosts[host].connection = Some(self.connections.len());
        let process = self.hosts[host].process.unwrap_or_default();
        self.connections.push(Connection::new(host, process));
        self.step(host, Event::Connected);
    }

    /// The host's end of its connection notices that it is lost.
    pub(crate) fn lose_connection(&mut self, host: usize, connection: usize) {
        if self.hosts[host].connection == Some(connection) {
            self.disconnect(host);
            self.step(host, Event::ConnectionLost);
            let after = 20 + self.rng.below::<i64>(200);
            self.schedule(host, after, Action::Connect);
        }
    }

    fn transact(&mut self, host: usize, fence: Fence, releases: bool) {
        let Some(connection) = self.hosts[host].connection else { return };
        self.request(host, Request::Begin(fence, releases));
        if !self.is_calm && self.rng.one_in(150) {
            self.hosts[host].paused_until = self.now + 1_000 + self.rng.below::<i64>(29_000);
        }
        let after = match self.rng.below::<u8>(20) {
            0 if !self.is_calm => self.rng.below(1_000),
            _ => self.rng.below(10),
        };
        self.schedule(host, after, Action::FinishCommit { connection });
    }

    fn request(&mut self, host: usize, request: Request) {
        // The edge drops what it has no connection for: the lease hears of that, or has asked for it.
        let Some(connection) = self.hosts[host].connection else { return };
        let at = self.connections[connection].arrival(Way::ToStore, self.now, &mut self.rng, self.is_calm);
        self.schedule_at(at, host, 0, Action::Arrive { connection, request });
    }

    /// A request arrives at the store.
    fn arrive(&mut self, connection: usize, request: Request) {
        let Connection { host, is_open_at_store, .. } = self.connections[connection];
        let again_at = self.hosts[host].cut.end(Way::ToStore).max(self.store_away_until);
        if !is_open_at_store {
            return;
        }
        if again_at > self.now {
            return self.schedule_at(again_at, host, 0, Action::Arrive { connection, request });
        }
        match request {
            Request::Read => self.reply(connection, Event::Read { row: self.store.row, clock: self.clock() }),
            Request::Claim(claim, waited) => match self.store.claim(connection, &claim) {
                Tried::Done(is_claimed) => {
                    self.reply(connection, if is_claimed { Event::Claimed } else { Event::ClaimRefused });
                }
                Tried::Locked if waited >= LOCK_MS => self.reply(connection, Event::ClaimBlocked),
                Tried::Locked => {
                    let request = Request::Claim(claim, waited + 50);
                    self.schedule_at(self.now + 50, host, 0, Action::Arrive { connection, request });
                }
            },
            Request::Begin(fence, releases) => match self.store.begin(connection, fence, releases) {
                Tried::Done(true) => {}
                Tried::Done(false) => self.reply(connection, Event::Fenced),
                // Another host's claim or transaction, which ends or is ended.
                Tried::Locked => self.close_at_store(connection),
            },
            Request::Commit => self.commit(connection),
            Request::Terminate(backend) => {
                let victim = usize::try_from(backend.0).unwrap_or_default();
                if victim != connection {
                    self.close_at_store(victim);
                }
            }
        }
    }

    fn commit(&mut self, connection: usize) {
        if !self.is_calm && self.rng.one_in(60) && self.store.roll_back(connection) {
            return self.reply(connection, Event::CommitFailed);
        }
        let row = self.store.row.epoch;
        let Some(epoch) = self.store.commit(connection) else { return };
        self.checker.committed(epoch, row);
        if !self.is_calm && self.rng.one_in(60) {
            // It is durable, and the host never hears of it.
            return self.close_at_store(connection);
        }
        self.reply(connection, Event::Committed { clock: self.clock() });
    }

    /// Answers a request.
    fn reply(&mut self, connection: usize, event: Event) {
        let Connection { host, process, .. } = self.connections[connection];
        if self.is_verbose {
            self.show(host, &format!("store, connection {connection}: {event:?}"));
        }
        let at = self.connections[connection].arrival(Way::ToHost, self.now, &mut self.rng, self.is_calm);
        self.schedule_at(at, host, process, Action::Answer { connection, event });
    }

    fn answer(&mut self, host: usize, connection: usize, event: Event) {
        let until = self.hosts[host].cut.end(Way::ToHost);
        if until > self.now {
            let process = self.connections[connection].process;
            return self.schedule_at(until, host, process, Action::Answer { connection, event });
        }
        if self.hosts[host].connection == Some(connection) {
            self.step(host, event);
        }
    }

    /// Pauses a host whose transaction locks the row.
    pub(crate) fn pause_in_transaction(&mut self, host: usize) {
        let now = self.moment(host);
        if let Some(fence) = self.hosts[host].lease.fence(now) {
            self.request(host, Request::Begin(fence, false));
        }
        self.hosts[host].paused_until = self.now + 60_000;
    }

    /// The operator ends a process in good order.
    pub(crate) fn stop(&mut self, host: usize) {
        self.schedule(host, 0, Action::Stop);
    }

    /// Returns the hosts whose work may send.
    pub(crate) fn working(&mut self) -> Vec<usize> {
        let moments: Vec<Moment> = (0..self.hosts.len()).map(|host| self.moment(host)).collect();
        let hosts = self.hosts.iter_mut().zip(moments).enumerate();
        let is_working = |host: &mut Host, now| host.work.is_some() && host.lease.may_send(now);
        hosts.filter_map(|(number, (host, now))| is_working(host, now).then_some(number)).collect()
    }

    #[allow(clippy::print_stderr, reason = "shown to find the fault")]
    pub(crate) fn show(&self, host: usize, text: &str) {
        eprintln!("{:>9.3} host {host}: {text}", self.now as f64 / 1_000.0);
    }
}
