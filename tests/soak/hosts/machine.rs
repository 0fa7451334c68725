//! A machine with a host, and the networks between it and the servers.

use std::{
    fs,
    process::{Child, Stdio},
};

use roost_tests::{Proxy, Roost, Site, guest};

use crate::load::{PUMP, STATUS, settings};

/// A machine.
pub(crate) struct Machine {
    pub(crate) number: usize,
    site: Site,
    pub(crate) to_broker: Proxy,
    /// The networks to each server of the database.
    pub(crate) to_database: [Proxy; 2],
    host: Option<Roost>,
    /// The log of the hosts that have ended.
    log: Vec<String>,
}

impl Machine {
    /// Makes a machine without a host. `broker` is its port of the broker, `database` those of the servers.
    pub(crate) fn new(number: usize, broker: u16, database: [u16; 2]) -> Self {
        let (to_broker, to_database) = (Proxy::to(broker), database.map(Proxy::to));
        let [one, two] = to_database.each_ref().map(|proxy| format!("127.0.0.1:{}", proxy.port));
        let url = format!("postgres://roost@{one},{two}/roost?target_session_attrs=read-write");
        let site = Site::new();
        let text = format!("[mqtt]\nstatus_topic = \"{STATUS}{number}\"\n[store]\nurl = \"{url}\"\n{PUMP}");
        fs::write(site.path().join("roost.toml"), text).expect("a file");
        Self { number, site, to_broker, to_database, host: None, log: Vec::new() }
    }

    pub(crate) fn start(&mut self) {
        self.site.shift_clock(0);
        self.host = Some(self.site.start_shifted(&format!("mqtt://127.0.0.1:{}", self.to_broker.port)));
    }

    pub(crate) fn kill(&mut self) {
        let host = self.host.take().expect("a host");
        let log = host.log.clone();
        host.kill();
        self.log.extend(log.whole());
    }

    /// Stops the host with SIGTERM. Returns its fault, if it has one.
    pub(crate) fn stop(&mut self) -> Option<String> {
        let host = self.host.take().expect("a host");
        let log = host.log.clone();
        let status = host.stop();
        self.log.extend(log.whole());
        (!status.success()).then(|| format!("host {} was stopped with SIGTERM, and ended with {status}", self.number))
    }

    pub(crate) fn suspend(&self) {
        self.host.as_ref().expect("a host").suspend();
    }

    pub(crate) fn resume(&self) {
        self.host.as_ref().expect("a host").resume();
    }

    /// Shifts the clock of the host, until it is started again.
    pub(crate) fn shift_clock(&self, ms: i64) {
        self.site.shift_clock(ms);
    }

    pub(crate) fn wait_until_connected(&self) {
        self.host.as_ref().expect("a host").wait_for_log("connected to the broker");
    }

    /// Installs the plugin, by way of the host.
    pub(crate) fn install(&self) {
        self.site.settings("soak", &settings());
        self.site.drop_in(&guest("soak"), "soak");
        self.site.roost(&["adopt", "plugins"]);
    }

    /// Uploads a component with the same jobs and with a number at its end, by way of the host.
    pub(crate) fn upload(&self, version: u64) -> Child {
        let mut bytes = fs::read(guest("soak")).expect("a component");
        // A custom section: its id, its length, and the length of its name, which is empty.
        bytes.extend([0, 9, 0]);
        bytes.extend(version.to_be_bytes());
        fs::write(self.site.path().join("upload.wasm"), bytes).expect("a file");
        let mut command = self.site.command(&["upload", "upload.wasm", "--as", "soak"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }

    /// Checks whether the host has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.host.as_mut().is_some_and(Roost::has_ended)
    }

    /// Returns all that was logged here.
    pub(crate) fn whole_log(&self) -> Vec<String> {
        let mut lines = self.log.clone();
        lines.extend(self.host.iter().flat_map(|host| host.log.all()));
        lines
    }

    /// Returns the epoch in which the host owns the cell, if it does for all that it has logged.
    pub(crate) fn epoch(&self) -> Option<i64> {
        let lines = self.host.as_ref()?.log.all();
        let last = lines.iter().rev().find(|line| line.contains(" owns the cell") || line.contains("begins anew"));
        last.and_then(|line| epoch(line))
    }
}

/// Parses the line in which a host reports that it owns the cell.
pub(crate) fn epoch(line: &str) -> Option<i64> {
    line.split_once("this host owns the cell, in epoch ")?.1.trim().parse().ok()
}
