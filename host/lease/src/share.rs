//! Which cells a host should own, where several hosts share several cells: as many as each of the others, or one more.

use crate::limits::TURN_MS;

/// A host that works, and how many cells it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load<'h> {
    /// The host.
    pub host: &'h str,
    /// The number of cells that it owns.
    pub cells: usize,
}

/// Returns for how many milliseconds a host leaves a free cell to others: not at all if it owns the fewest cells, and
/// longer the more hosts own fewer.
#[must_use]
pub fn patience_ms(own: &str, loads: &[Load<'_>]) -> i64 {
    let Some(load) = loads.iter().find(|load| load.host == own) else { return 0 };
    let before = loads.iter().filter(|other| (other.cells, other.host) < (load.cells, load.host)).count();
    i64::try_from(before).unwrap_or(0) * TURN_MS
}

/// Returns whether a host should release one of its cells: it owns the most, and at least two more than another. Only
/// asked while no cell is free, so that one moves at a time.
#[must_use]
pub fn owns_too_many(own: &str, loads: &[Load<'_>]) -> bool {
    let Some(most) = loads.iter().max_by_key(|load| (load.cells, load.host)) else { return false };
    let fewest = loads.iter().map(|load| load.cells).min().unwrap_or(0);
    most.host == own && most.cells >= fewest + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out free cells and moves one at a time, until nothing changes. Returns the number of cells that were moved.
    fn settle(cells: &mut [Option<usize>], hosts: &[&str]) -> usize {
        let mut moved = 0;
        loop {
            let loads: Vec<_> = hosts
                .iter()
                .enumerate()
                .map(|(index, host)| Load { host, cells: cells.iter().filter(|owner| **owner == Some(index)).count() })
                .collect();
            if let Some(free) = cells.iter_mut().find(|owner| owner.is_none()) {
                *free = (0..hosts.len()).min_by_key(|index| patience_ms(hosts[*index], &loads));
                continue;
            }
            let Some(full) = (0..hosts.len()).find(|index| owns_too_many(hosts[*index], &loads)) else { return moved };
            *cells.iter_mut().rev().find(|owner| **owner == Some(full)).unwrap() = None;
            moved += 1;
        }
    }

    fn counts(cells: &[Option<usize>], hosts: usize) -> Vec<usize> {
        (0..hosts).map(|host| cells.iter().filter(|owner| **owner == Some(host)).count()).collect()
    }

    #[test]
    fn cells_are_shared_evenly_and_as_few_as_possible_move() {
        let mut cells = [None; 16];
        assert_eq!(settle(&mut cells, &["a", "b", "c"]), 0);
        assert_eq!(counts(&cells, 3), [6, 5, 5]);
        // One fails: its cells go to the others.
        cells.iter_mut().filter(|owner| **owner == Some(2)).for_each(|owner| *owner = None);
        assert_eq!(settle(&mut cells, &["a", "b"]), 0);
        assert_eq!(counts(&cells, 2), [8, 8]);
        // It is back.
        assert_eq!(settle(&mut cells, &["a", "b", "c"]), 5);
        assert_eq!(counts(&cells, 3), [6, 5, 5]);
    }

    #[test]
    fn one_cell_does_not_move() {
        let mut cells = [None; 1];
        settle(&mut cells, &["b"]);
        assert_eq!(settle(&mut cells, &["a", "b", "c"]), 0);
        let loads = [Load { host: "a", cells: 0 }, Load { host: "b", cells: 1 }];
        assert_eq!((patience_ms("a", &loads), patience_ms("b", &loads), patience_ms("c", &loads)), (0, TURN_MS, 0));
    }
}
