//! What the store does.

use roost_lease::{event::Event, limits::LOCK_MS};

use super::{Action, World};
use crate::{
    network::{Connection, Way},
    store::{Request, Tried},
};

impl World {
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

    /// A request arrives at the store.
    pub(super) fn arrive(&mut self, connection: usize, request: Request) {
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

    pub(super) fn commit(&mut self, connection: usize) {
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
    pub(super) fn reply(&mut self, connection: usize, event: Event) {
        let Connection { host, process, .. } = self.connections[connection];
        if self.is_verbose {
            self.show(host, &format!("store, connection {connection}: {event:?}"));
        }
        let at = self.connections[connection].arrival(Way::ToHost, self.now, &mut self.rng, self.is_calm);
        self.schedule_at(at, host, process, Action::Answer { connection, event });
    }
}
