//! What hosts do: they carry out the effects of their leases, as an edge does, and their work sends and commits.

use roost_lease::{
    event::{Effect, Event},
    lease::Lease,
    limits::{BEHIND_MS, SKEW_MS},
    row::{Fence, Owner},
};

use super::{Action, Work, World};
use crate::{
    network::{Connection, Way},
    store::Request,
};

impl World {
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

    pub(super) fn perform_at_host(&mut self, host: usize, process: u128, action: Action) {
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

    pub(super) fn schedule_wake(&mut self, host: usize) {
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
    pub(super) fn act(&mut self, host: usize) {
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
            Effect::Report(_) => {}
        }
    }

    pub(super) fn abort(&mut self, host: usize) {
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
    pub(super) fn send(&mut self, host: usize) {
        let now = self.moment(host);
        let state = &mut self.hosts[host];
        let (Some(work), Some(process)) = (&state.work, state.process) else { return };
        if state.lease.may_send(now) {
            self.checker.sent(work.epoch, process, now, work.is_lost);
        }
        let after = 1 + self.rng.below::<i64>(200);
        self.schedule(host, after, Action::Send);
    }

    pub(super) fn connect(&mut self, host: usize) {
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

    pub(super) fn transact(&mut self, host: usize, fence: Fence, releases: bool) {
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

    pub(super) fn request(&mut self, host: usize, request: Request) {
        // The edge drops what it has no connection for: the lease hears of that, or has asked for it.
        let Some(connection) = self.hosts[host].connection else { return };
        let at = self.connections[connection].arrival(Way::ToStore, self.now, &mut self.rng, self.is_calm);
        self.schedule_at(at, host, 0, Action::Arrive { connection, request });
    }

    pub(super) fn answer(&mut self, host: usize, connection: usize, event: Event) {
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
}
