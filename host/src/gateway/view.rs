//! What a gateway knows of the hosts and of the owner of its cell, from the database.

use std::{sync::Arc, thread, time::Instant};

use tokio::sync::watch;

use super::limits;
use crate::{
    clock,
    report::Report,
    store::{Host, Hosts, Look, OwnedCell},
};

/// What was found in the database last. While that is away, it stays as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    look: Option<Arc<Look>>,
    /// Whether the last look succeeded.
    pub(super) is_current: bool,
    /// When the cell's row changed last, as this host has seen it.
    changed: Option<Instant>,
}

/// The owner of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) epoch: i64,
    pub(super) host: Host,
}

impl View {
    #[cfg(test)]
    pub(super) fn of(look: Look) -> Self {
        Self { look: Some(Arc::new(look)), is_current: true, changed: None }
    }

    /// Returns the hosts, by name.
    pub(super) fn hosts(&self) -> &[Host] {
        self.look.as_ref().map_or(&[], |look| &look.hosts)
    }

    pub(super) fn host(&self, id: &str) -> Option<&Host> {
        self.hosts().iter().find(|host| host.id == id)
    }

    pub(super) fn cells(&self) -> &[OwnedCell] {
        self.look.as_ref().map_or(&[], |look| &look.cells)
    }

    /// Returns what forwarded requests are recognised by.
    pub(super) fn secret(&self) -> Option<&str> {
        self.look.as_ref().map(|look| look.secret.as_str())
    }

    fn cell(&self, number: i64) -> Option<&OwnedCell> {
        self.cells().iter().find(|cell| cell.number == number)
    }

    /// Returns the owner of a cell, if it has one.
    pub(super) fn owner(&self, number: i64) -> Option<Owner> {
        let cell = self.cell(number).filter(|cell| cell.is_owned)?;
        let host = self.host(cell.host.as_deref()?)?.clone();
        Some(Owner { epoch: cell.epoch, host })
    }

    /// Returns the epoch of a cell, and for how many seconds this host has seen no sign of its owner.
    pub(super) fn beat(&self, number: i64) -> Option<(i64, f64)> {
        let age = clock::monotonic().duration_since(self.changed?);
        Some((self.cell(number)?.epoch, age.as_secs_f64()))
    }
}

/// Starts to look at the database, on a thread of its own.
pub(super) fn watch(hosts: Hosts, cell: i64) -> Result<watch::Receiver<View>, Report> {
    let (to, view) = watch::channel(View::default());
    let look = move || {
        for number in 0_u32.. {
            let found = hosts.look(number.is_multiple_of(limits::LOOKS_PER_SIGN));
            to.send_modify(|view| renew(view, cell, found.ok()));
            if to.is_closed() {
                return;
            }
            thread::sleep(limits::LOOK_EVERY);
        }
    };
    let started = thread::Builder::new().name("hosts".into()).spawn(look);
    started.map_err(|error| Report::new("the thread `hosts` cannot be started").cause(error))?;
    Ok(view)
}

/// A failed look is not logged: the cell process reports what is wrong with the database.
fn renew(view: &mut View, cell: i64, found: Option<Look>) {
    view.is_current = found.is_some();
    let Some(look) = found else { return };
    let before = view.cell(cell).cloned();
    view.look = Some(Arc::new(look));
    if before.as_ref() != view.cell(cell) {
        view.changed = Some(clock::monotonic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(epoch: i64, beat: i64, is_owned: bool, host: Option<&str>) -> Look {
        let known = |id: &str| Host {
            id: id.into(),
            name: id.to_uppercase(),
            address: None,
            version: "1".into(),
            seen_ms: 0,
            unseen_ms: 0,
            clock_ahead_ms: 0,
        };
        let cell = OwnedCell { number: 0, epoch, beat, is_owned, host: host.map(str::to_owned) };
        Look { hosts: vec![known("a"), known("b")], cells: vec![cell], secret: "s".into() }
    }

    #[test]
    fn the_owner_is_a_known_host_whose_process_owns_the_cell() {
        let mut view = View::default();
        assert_eq!((view.owner(0), view.beat(0)), (None, None));
        renew(&mut view, 0, Some(look(3, 1, true, Some("b"))));
        let owner = view.owner(0).unwrap();
        assert_eq!((owner.epoch, owner.host.name.as_str()), (3, "B"));
        assert_eq!(view.owner(1), None);
        for released in [look(3, 2, false, Some("b")), look(3, 2, true, None), look(3, 2, true, Some("c"))] {
            renew(&mut view, 0, Some(released));
            assert_eq!(view.owner(0), None);
        }
    }

    #[test]
    fn what_is_known_stays_while_the_database_is_away() {
        let mut view = View::default();
        renew(&mut view, 0, Some(look(3, 1, true, Some("b"))));
        let (owner, changed) = (view.owner(0), view.changed);
        renew(&mut view, 0, None);
        assert_eq!((view.owner(0), view.changed, view.is_current), (owner, changed, false));
        renew(&mut view, 0, Some(look(3, 1, true, Some("b"))));
        assert_eq!((view.changed, view.is_current), (changed, true));
    }
}
