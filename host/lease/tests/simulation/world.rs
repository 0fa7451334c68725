//! Hosts, their clocks and their processes, the network and the store, in virtual time.

mod host;
mod server;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use roost_lease::{
    event::{Effect, Event},
    lease::Lease,
    row::{Epoch, Owner},
    time::{BootTime, Moment, WallTime},
};

use crate::{
    checker::Checker,
    network::{Connection, Cut},
    rng::Rng,
    store::{Request, Store},
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
