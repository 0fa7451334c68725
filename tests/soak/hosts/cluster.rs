//! Three machines, a broker, and the servers of a database.

use std::{
    fs,
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant as Clock},
};

use roost_scheduler::names::RunId;
use roost_tests::{Broker, Listener, PATIENCE, Postgres, free_port, now_ms};

use super::{machine::Machine, past::Past, stored};
use crate::{disk::Row, history::record, load::DEVICES};

/// The number of machines.
pub(crate) const MACHINES: usize = 3;
/// A crash loses nothing that was committed.
const DURABLE: &str = "fsync = on";
/// How late a message may be that shows that the hosts are on time again.
const ON_TIME_MS: i64 = 1_000;
const VERSION: &str = "SELECT encode(substring(bytes FROM length(bytes) - 7), 'hex') FROM plugin_files
     JOIN contents ON digest = component WHERE plugin = 'soak'";

pub(crate) struct Cluster {
    broker: Broker,
    listener: Listener,
    /// The servers of the database, of which one or, for a moment, both run.
    pub(crate) databases: [Option<Postgres>; 2],
    pub(crate) machines: Vec<Machine>,
    /// The port of a database server that does not run at first.
    pub(crate) ports: [u16; 2],
    pub(crate) faults: Vec<String>,
    /// The highest epoch in the database so far.
    epoch: i64,
    /// The number of the plugin's version in the database.
    plugin: u64,
}

/// An upload that may be under way.
pub(crate) struct Upload {
    version: u64,
    request: Child,
}

impl Cluster {
    /// Starts everything, and waits for the first messages.
    pub(crate) fn start() -> Self {
        let first = Postgres::start_with(DURABLE);
        let _ = first.database("roost");
        // The broker puts each machine's number before its topics: `m1/…`.
        let of_machine: [u16; MACHINES] = std::array::from_fn(|_| free_port());
        let numbered = of_machine.iter().enumerate();
        let listeners = numbered.map(|(number, port)| format!("listener {port} 127.0.0.1\nmount_point m{number}/\n"));
        let broker = Broker::start_with(&listeners.collect::<String>());
        let listener = Listener::persistent(broker.port, "soak");
        let ports = [first.port, free_port()];
        let machine = |(number, port): (usize, &u16)| Machine::new(number, *port, ports);
        let machines = of_machine.iter().enumerate().map(machine).collect();
        let (databases, faults) = ([Some(first), None], Vec::new());
        let mut cluster = Self { broker, listener, databases, machines, ports, faults, epoch: 0, plugin: 0 };
        cluster.machines.iter_mut().for_each(Machine::start);
        let owner = &cluster.machines[cluster.owner()];
        owner.wait_until_connected();
        owner.install();
        cluster.plugin = cluster.version();
        cluster.listener.wait("each device's first message", |messages| {
            DEVICES
                .iter()
                .all(|(name, _)| messages.iter().any(|message| message.topic.ends_with(&format!("/soak/{name}/feed"))))
        });
        cluster
    }

    /// Returns the server of the database that accepts writes.
    pub(crate) fn database(&mut self) -> &mut Postgres {
        self.databases.iter_mut().flatten().next().expect("a server")
    }

    /// Returns the number of the machine that owns the cell.
    #[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
    pub(crate) fn owner(&self) -> usize {
        let end = Clock::now() + PATIENCE;
        loop {
            let epochs = self.machines.iter().filter_map(|machine| Some((machine.epoch()?, machine.number)));
            if let Some((_, owner)) = epochs.max() {
                return owner;
            }
            assert!(Clock::now() < end, "no host owns the cell");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Begins to replace the plugin, by way of the owner.
    pub(crate) fn upload(&self, version: u64) -> Upload {
        Upload { version, request: self.machines[self.owner()].upload(version) }
    }

    /// Waits for the end of an upload, and checks that a confirmed one is kept.
    pub(crate) fn finish(&mut self, mut upload: Upload) {
        let is_confirmed = upload.request.wait().expect("it was started").success();
        let stored = self.version();
        if stored != upload.version && (is_confirmed || stored != self.plugin) {
            let (before, wanted) = (self.plugin, upload.version);
            let was = if is_confirmed { "confirmed" } else { "not confirmed" };
            let what =
                format!("version {wanted} of the plugin was {was}, and after {before} the database has {stored}");
            self.faults.push(what);
        }
        self.plugin = stored;
    }

    /// Returns the number at the end of the component in the database.
    fn version(&mut self) -> u64 {
        let stored = self.database().ask("roost", VERSION);
        stored.first().and_then(|hex| u64::from_str_radix(hex, 16).ok()).expect("a version")
    }

    /// Waits for a message that is on time, and due from now on. Returns how many seconds that took.
    pub(crate) fn wait_for_messages(&mut self) -> f64 {
        let (begun, seen) = (now_ms(), self.listener.position());
        let is_on_time = |run: &RunId, at: f64| {
            let due = run.occurrence.millis();
            run.job.as_str().starts_with("tick") && due >= begun && at * 1e3 < (due + ON_TIME_MS) as f64
        };
        self.listener.wait_after(seen, "a message on time", |messages| {
            let run = |text: &str| text.parse::<RunId>().ok();
            messages.iter().any(|message| {
                message.property("roost-run").and_then(run).is_some_and(|run| is_on_time(&run, message.at))
            })
        });
        let silent = (now_ms() - begun) as f64 / 1e3;
        self.look();
        silent
    }

    /// Checks that the epoch does not go back, and that no host has ended by itself.
    fn look(&mut self) {
        let epoch = self.database().ask("roost", "SELECT epoch FROM cells");
        let epoch = epoch.first().and_then(|epoch| epoch.parse().ok()).expect("an epoch");
        if epoch < self.epoch {
            self.faults.push(format!("the epoch went back from {} to {epoch}", self.epoch));
        }
        self.epoch = epoch;
        for machine in &mut self.machines {
            if machine.has_ended() {
                self.faults.push(format!("host {} ended by itself", machine.number));
            }
        }
    }

    /// Returns all runs in the database.
    pub(crate) fn rows(&self) -> Vec<Row> {
        stored::rows(self.databases.iter().flatten().next().expect("a server"))
    }

    /// Ends all hosts, and returns what they have done.
    pub(crate) fn end(mut self, folder: &Path) -> Past {
        for machine in &mut self.machines {
            self.faults.extend(machine.stop());
        }
        let logs: Vec<_> = self.machines.iter().map(Machine::whole_log).collect();
        for (number, log) in logs.iter().enumerate() {
            fs::write(folder.join(format!("host-{number}.log")), log.join("\n")).expect("a file");
        }
        let messages = record(&self.listener, &self.broker);
        Past { rows: self.rows(), messages, logs, faults: self.faults, troubles: Vec::new() }
    }
}
