//! Random histories from seeds: delayed and lost answers, connections cut one way or both, hosts that are killed,
//! restarted, stopped and paused, also between two of their actions and inside a transaction, boot times of different
//! rates, wall clocks that are wrong and set, commits that fail or whose outcome is unknown, a store that is away or slow.
//! The checker asserts the invariants at each action; when the faults stop, one host works, and stays; and when that one
//! fails in a known way, the next one follows in a known time.
//!
//! `SEED=n` repeats one history, `HISTORIES=n` sets the number of histories.

use std::{env, panic, thread};

use roost_lease::limits::{LEASE_MS, POLL_MS, TTL_MS};

use crate::{
    faults::{Kind, random_fault},
    world::World,
};

/// How many histories are always the same ones.
const FIXED: u64 = 10_000;
/// The time until everything has settled that began before the faults stopped: delays, a process that is stuck.
const SETTLE_MS: i64 = 14_000;
/// For messages and effects on the way, and for clocks of different rates: by a tenth.
const SLACK_MS: i64 = 250;

/// What histories have done, so that a simulation in which nothing happens is noticed.
#[derive(Clone, Copy, Default)]
struct Sum {
    ms: i64,
    sends: u64,
    starts: u64,
}

impl Sum {
    fn add(self, other: Self) -> Self {
        Self { ms: self.ms + other.ms, sends: self.sends + other.sends, starts: self.starts + other.starts }
    }
}

/// Returns a duration by the slowest clock.
const fn slowest(ms: i64) -> i64 {
    ms * 10 / 9
}

/// The faults stop, and what they have left behind ends.
fn calm(world: &mut World) {
    world.is_calm = true;
    let mut until = world.now.max(world.store_away_until);
    for host in &mut world.hosts {
        host.ahead_ms = world.rng.below::<i64>(100) - 50;
        host.is_sticky = false;
        until = until.max(host.paused_until).max(host.cut.until[0]).max(host.cut.until[1]);
    }
    world.run_until(until);
    // A clock that was far ahead is caught up with: until a minute before, no host claims.
    for _ in 0..2 {
        let behind_ms = world.store.row.clock.plus_ms(LEASE_MS).ms_since(world.clock());
        world.run_until(world.now + SETTLE_MS + behind_ms.max(0));
    }
}

/// The owner fails, and another host follows, or it itself.
fn fail_over(world: &mut World, owner: usize) {
    let epoch = world.store.row.epoch;
    let dead = slowest(TTL_MS + POLL_MS);
    // A restored row may name another connection than the one that locks it.
    let kinds = if world.checker.is_forgetful { 3 } else { 4 };
    let (what, within) = match world.rng.below::<u8>(kinds) {
        0 => {
            world.kill(owner, 60_000);
            ("was killed", dead)
        }
        1 => {
            let connection = world.hosts[owner].connection.expect("an owner is connected");
            world.lose_connection(owner, connection);
            ("has lost its connection", slowest(POLL_MS))
        }
        2 => {
            world.stop(owner);
            ("was stopped", slowest(POLL_MS))
        }
        _ => {
            world.pause_in_transaction(owner);
            // The claim waits for the lock, and is made again.
            ("is paused in a transaction", dead + 500)
        }
    };
    world.run_until(world.now + within + SLACK_MS);
    let working = world.working();
    assert_eq!(working.len(), 1, "L4: the owner {what}, and the cell is not taken in time");
    assert!(world.store.row.epoch > epoch, "L4: the owner {what}, and its epoch goes on");
}

fn history(seed: u64) -> Sum {
    let hosts = 2 + usize::try_from(seed % 4).expect("small");
    let mut world = World::new(seed, hosts);
    world.is_verbose = number("SEED").is_some();
    let kind = Kind { clocks_are_set: !seed.is_multiple_of(3), store_forgets: seed % 16 == 7 };
    world.checker.is_forgetful = kind.store_forgets;
    let end = 10_000 + world.rng.below::<i64>(30_000);
    while world.now < end {
        let pause = world.rng.below::<i64>(1_500);
        world.run_until(world.now + pause);
        random_fault(&mut world, kind);
    }
    calm(&mut world);
    let stuck = world.hosts.iter().filter(|host| host.is_stuck).count();
    assert_eq!(stuck, 0, "L8: a process that does not let go is ended");
    let working = world.working();
    let row = world.store.row;
    assert_eq!(working.len(), 1, "L4: one host works when the faults have stopped: {row:?}");
    world.run_until(world.now + 2 * TTL_MS);
    assert_eq!(world.working(), working, "L7: the owner stays");
    assert_eq!(world.store.row.epoch, row.epoch, "L7: the owner stays");
    fail_over(&mut world, working[0]);
    Sum { ms: world.now, sends: world.checker.sends, starts: world.checker.starts }
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

#[allow(clippy::print_stderr, reason = "shown to find the fault")]
fn run(seed: u64) -> Sum {
    panic::catch_unwind(|| history(seed)).unwrap_or_else(|panic| {
        // Written at once, so that no other thread's output divides it.
        let line = format!("reproduce: make sim-lease SEED={seed}\n");
        eprint!("{line}");
        panic::resume_unwind(panic);
    })
}

/// Runs histories on two threads: each has its own world.
#[allow(clippy::print_stderr, reason = "shows how much was simulated")]
fn run_all(from: u64, count: u64) {
    let half = count / 2;
    let run_some = |seeds: std::ops::Range<u64>| seeds.map(run).fold(Sum::default(), Sum::add);
    let sum = thread::scope(|scope| {
        let first = scope.spawn(move || run_some(from..from + half));
        let second = run_some(from + half..from + count);
        first.join().unwrap_or_else(|panic| panic::resume_unwind(panic)).add(second)
    });
    let Sum { ms, sends, starts } = sum;
    eprintln!("{count} histories, {} simulated hours, {sends} sends, {starts} takeovers", ms / 3_600_000);
    assert!(sends > count && starts > 2 * count, "hardly anything happens");
}

/// Runs the histories of some seeds until one fails, on this thread.
#[cfg(feature = "mutants")]
pub(crate) fn first_failure(mut seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    seeds.find_map(|seed| {
        let panic = panic::catch_unwind(|| history(seed)).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        Some((seed, text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()))
    })
}

#[test]
fn fixed_random_histories() {
    if number("SEED").is_none() {
        run_all(0, FIXED);
    }
}

#[test]
fn new_random_histories() {
    if let Some(seed) = number("SEED") {
        run(seed);
        return;
    }
    let fresh = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "seed") >> 16;
    run_all(number("FROM").unwrap_or_else(fresh), number("HISTORIES").unwrap_or(1_000));
}
