//! What fails.

use std::{thread, time::Duration};

use roost_scheduler::time::Instant;
use roost_tests::{Cut, Network, Proxy};

use super::cluster::{Cluster, MACHINES};
use crate::{history::now, rng::Rng};

/// Something that failed.
pub(crate) struct Trouble {
    pub(crate) what: String,
    pub(crate) begun: Instant,
    /// From when on some host could work.
    pub(crate) ended: Instant,
}

/// How far a clock is wrong that no host is to go by.
const WRONG_MS: i64 = 10_000;
/// How far it may be wrong.
const NEARLY_MS: i64 = 1_500;
/// How long a replica works before it is promoted.
const REPLICATES: Duration = Duration::from_secs(1);
/// How long a commit is waited for at which connections are cut.
const COMMIT: Duration = Duration::from_secs(5);

const REQUESTS: Network = Network { blocks_requests: true, blocks_answers: false, delay: Duration::ZERO };
const ANSWERS: Network = Network { blocks_requests: false, blocks_answers: true, delay: Duration::ZERO };
const BOTH: Network = Network { blocks_requests: true, blocks_answers: true, delay: Duration::ZERO };

impl Cluster {
    /// Lets something fail, and mends it.
    pub(crate) fn suffer(&mut self, rng: &mut Rng) -> Trouble {
        let (owner, begun) = (self.owner(), now());
        let (what, ended) = match rng.below(20) {
            0..3 => (self.kill(owner, rng), begun),
            3 => (self.kill_all(rng), now()),
            4..6 => (self.stop(owner), begun),
            6..9 => (self.suspend(owner, rng), begun),
            9 => (self.suspend(other(owner, rng), rng), begun),
            10 => (self.end_connections(), begun),
            11 => (self.restart_database(rng), now()),
            12 => (self.promote_replica(), now()),
            13..15 => (self.lose_database(owner, rng), begun),
            15 => (self.lose_broker(owner, rng), now()),
            16 => (self.lose_both(owner, rng), begun),
            17..19 => (self.cut(owner, rng), begun),
            _ => (self.shift_clock(owner, rng), now().plus_ms(WRONG_MS)),
        };
        // A suspended host does not wake up in time to be of use; a slow network does.
        Trouble { what, begun, ended }
    }

    fn kill(&mut self, owner: usize, rng: &mut Rng) -> String {
        let down = rng.between(0, 8_000);
        self.machines[owner].kill();
        thread::sleep(down);
        self.machines[owner].start();
        format!("host {owner}, the owner, was killed, and started {down:?} later")
    }

    fn kill_all(&mut self, rng: &mut Rng) -> String {
        let down = rng.between(0, 6_000);
        for machine in &mut self.machines {
            machine.kill();
        }
        thread::sleep(down);
        for machine in &mut self.machines {
            machine.start();
        }
        format!("all hosts were killed, and started {down:?} later")
    }

    fn stop(&mut self, owner: usize) -> String {
        let fault = self.machines[owner].stop();
        self.faults.extend(fault);
        self.machines[owner].start();
        format!("host {owner}, the owner, was stopped with SIGTERM, and started")
    }

    fn suspend(&mut self, machine: usize, rng: &mut Rng) -> String {
        // Mostly for about as long as a lease, seldom for much longer.
        let most = if rng.one_in(4) { 30_000 } else { 7_000 };
        let asleep = rng.between(1_000, most);
        self.machines[machine].suspend();
        thread::sleep(asleep);
        self.machines[machine].resume();
        format!("host {machine} was suspended for {asleep:?}")
    }

    fn end_connections(&mut self) -> String {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'roost'";
        assert!(self.database().sql("roost", sql), "the connections can be ended");
        "the database ended all connections".into()
    }

    fn restart_database(&mut self, rng: &mut Rng) -> String {
        let down = rng.between(0, 6_000);
        self.database().crash();
        thread::sleep(down);
        self.database().start();
        format!("the database crashed, and was started {down:?} later")
    }

    fn promote_replica(&mut self) -> String {
        let at = self.databases.iter().position(Option::is_some).expect("a server");
        let port = self.ports[1 - at];
        let replica = self.database().replica(port);
        thread::sleep(REPLICATES);
        self.databases[at].take().expect("a server").crash();
        replica.promote();
        self.databases[1 - at] = Some(replica);
        "the database crashed, and its synchronous replica was promoted".into()
    }

    fn lose_database(&mut self, owner: usize, rng: &mut Rng) -> String {
        let (network, named) = draw(rng);
        let away = rng.between(500, 10_000);
        self.set_to_database(owner, network);
        thread::sleep(away);
        self.set_to_database(owner, Network::default());
        format!("the network from host {owner}, the owner, to the database {named} for {away:?}")
    }

    fn lose_broker(&mut self, owner: usize, rng: &mut Rng) -> String {
        let (network, named) = draw(rng);
        let away = rng.between(500, 8_000);
        self.machines[owner].to_broker.set(network);
        thread::sleep(away);
        self.machines[owner].to_broker.set(Network::default());
        format!("the network from host {owner}, the owner, to the broker {named} for {away:?}")
    }

    fn lose_both(&mut self, owner: usize, rng: &mut Rng) -> String {
        let away = rng.between(500, 10_000);
        self.machines[owner].to_broker.set(BOTH);
        self.set_to_database(owner, BOTH);
        thread::sleep(away);
        // The broker first: what has waited there arrives before the host knows.
        self.machines[owner].to_broker.set(Network::default());
        self.set_to_database(owner, Network::default());
        format!("host {owner}, the owner, was cut off for {away:?}")
    }

    fn cut(&mut self, owner: usize, rng: &mut Rng) -> String {
        let machine = &self.machines[owner];
        let cut = match rng.below(4) {
            0 => {
                machine.to_broker.cut();
                return format!("the connection of host {owner}, the owner, to the broker was cut");
            }
            1 => {
                machine.to_database.iter().for_each(Proxy::cut);
                return format!("the connections of host {owner}, the owner, to the database were cut");
            }
            2 => Cut::Before,
            _ => Cut::After,
        };
        let proxies = &machine.to_database;
        proxies.iter().for_each(|proxy| proxy.cut_at("COMMIT", cut));
        let end = now().plus_ms(COMMIT.as_millis() as i64);
        while proxies.iter().all(Proxy::is_set_to_cut) && now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        proxies.iter().for_each(Proxy::forget_cut);
        let what = if cut == Cut::Before { "a commit was lost" } else { "the answer to a commit was lost" };
        format!("{what}, of host {owner}, the owner")
    }

    /// Shifts the clocks of standbys, or that of the owner before it is killed.
    fn shift_clock(&mut self, owner: usize, rng: &mut Rng) -> String {
        let sign = if rng.one_in(2) { 1 } else { -1 };
        let standby = other(owner, rng);
        let (of, by) = match rng.below(3) {
            0 => (owner, WRONG_MS),
            1 => (standby, sign * WRONG_MS),
            _ => (standby, sign * NEARLY_MS),
        };
        self.machines[of].shift_clock(by);
        thread::sleep(rng.between(500, 2_000));
        self.machines[owner].kill();
        thread::sleep(rng.between(0, 8_000));
        self.machines[owner].start();
        if of != owner {
            // It is stopped, because a clock that is set back under an owner is another matter.
            let fault = self.machines[of].stop();
            self.faults.extend(fault);
            self.machines[of].start();
        }
        format!("the clock of host {of} was shifted by {by} ms, and host {owner}, the owner, was killed")
    }

    fn set_to_database(&self, machine: usize, network: Network) {
        self.machines[machine].to_database.iter().for_each(|proxy| proxy.set(network));
    }
}

fn other(owner: usize, rng: &mut Rng) -> usize {
    (owner + 1 + rng.index(MACHINES - 1)) % MACHINES
}

/// Draws what a network does.
fn draw(rng: &mut Rng) -> (Network, String) {
    let delay = rng.between(20, 150);
    match rng.below(4) {
        0 => (REQUESTS, "lost what it sent".into()),
        1 => (ANSWERS, "lost what it was sent".into()),
        2 => (BOTH, "lost everything".into()),
        _ => (Network { delay, ..Network::default() }, format!("took {delay:?}")),
    }
}
