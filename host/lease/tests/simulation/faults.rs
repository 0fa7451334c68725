//! What goes wrong in a history.

use crate::{rng::Rng, world::World};

/// What a history is about, besides everything else.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) clocks_are_set: bool,
    /// The table is restored beneath its hosts.
    pub(crate) store_forgets: bool,
}

/// Returns a duration in milliseconds, seldom a long one.
fn any_duration(rng: &mut Rng, most: u64) -> i64 {
    let most = if rng.one_in(4) { most } else { most / 6 };
    rng.below(most)
}

/// Sets a wall clock.
fn set_clock(world: &mut World, host: usize) {
    let most = match world.rng.below::<u8>(12) {
        0 => 100_000,
        1..=3 => 10_000,
        4..=8 => 1_900,
        _ => 100,
    };
    world.hosts[host].ahead_ms = world.rng.below::<i64>(2 * most) - i64::try_from(most).expect("small");
}

/// Cuts one way or both between a host and the store; the host may notice.
fn cut(world: &mut World, host: usize) {
    let until = world.now + any_duration(&mut world.rng, 15_000);
    let ways = world.rng.below::<u8>(4);
    for (way, end) in world.hosts[host].cut.until.iter_mut().enumerate() {
        if ways >= 2 || usize::from(ways) == way {
            *end = until;
        }
    }
}

/// Ends the connection of a host, at one end first, or at neither.
fn reset(world: &mut World, host: usize) {
    let Some(connection) = world.hosts[host].connection else { return };
    if world.rng.one_in(4) {
        world.connections[connection].is_dead = true;
    } else if world.rng.one_in(3) {
        world.close_at_store(connection);
    } else if world.hosts[host].paused_until <= world.now {
        world.lose_connection(host, connection);
    }
}

fn store_away(world: &mut World) {
    world.store_away_until = world.now + any_duration(&mut world.rng, 10_000);
    // Otherwise it is only slow.
    if world.rng.one_in(2) {
        for connection in 0..world.connections.len() {
            world.close_at_store(connection);
        }
    }
}

/// Something goes wrong.
pub(crate) fn random_fault(world: &mut World, kind: Kind) {
    let any = world.rng.index(world.hosts.len());
    // Mostly where it matters.
    let owner = world.hosts.iter().position(|host| host.work.is_some());
    let host = owner.filter(|_| !world.rng.one_in(3)).unwrap_or(any);
    match world.rng.below::<u8>(16) {
        _ if kind.store_forgets && world.rng.one_in(4) => world.store.forget(world.rng.index(6)),
        0 | 1 => {
            let restart_after = any_duration(&mut world.rng, 8_000);
            world.kill(host, restart_after);
        }
        2..=4 => {
            let pause = 1_000 + any_duration(&mut world.rng, 29_000);
            let state = &mut world.hosts[host];
            state.paused_until = state.paused_until.max(world.now + pause);
        }
        5..=7 => cut(world, host),
        8 | 9 => reset(world, host),
        10 | 11 if kind.clocks_are_set => set_clock(world, host),
        12 => world.stop(host),
        13 => store_away(world),
        14 => world.hosts[host].is_sticky = world.rng.one_in(2),
        _ => {}
    }
}
