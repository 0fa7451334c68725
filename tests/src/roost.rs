//! A host in a folder of its own.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::{Broker, Lines, binary, now_ms, redact};

/// A folder with `plugins/` and `data/`, which outlives the hosts that run in it.
pub struct Site {
    folder: TempDir,
}

/// A running host.
pub struct Roost {
    process: Child,
    /// Its log, from standard error.
    pub log: Lines,
}

impl Site {
    /// Makes an empty site.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("plugins")).expect("a folder in it");
        Self { folder }
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the folder for good, and returns it.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// Returns the path of a file in `plugins/`.
    pub fn plugin(&self, file: &str) -> PathBuf {
        self.folder.path().join("plugins").join(file)
    }

    /// Copies a component into `plugins/`, as `cp` does.
    pub fn drop_in(&self, component: &Path, name: &str) {
        fs::copy(component, self.plugin(&format!("{name}.wasm"))).expect("a copy");
    }

    /// Writes `plugins/<name>.toml`.
    pub fn settings(&self, name: &str, text: &str) {
        fs::write(self.plugin(&format!("{name}.toml")), text).expect("a file");
    }

    /// Returns a command that runs `roost` here with the given arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(binary()), arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.current_dir(self.path()).args(arguments);
        for name in ["ROOST_MQTT", "ROOST_CONFIG", "ROOST_HTTP", "ROOST_URL", "ROOST_TOKEN"] {
            command.env_remove(name);
        }
        command
    }

    /// Starts a host here, with a broker, at Greenwich.
    pub fn start(&self, broker: &Broker) -> Roost {
        self.start_with(&["--mqtt", &broker.url()])
    }

    /// Starts a host here, with a broker, at Greenwich, whose clock shows a time, in milliseconds since the epoch.
    /// Tests move this clock instead of waiting.
    pub fn start_at(&self, broker: &Broker, millis: i64) -> Roost {
        self.set_clock(millis);
        self.start_shifted(&broker.url())
    }

    /// Starts a host here, with the address of a broker, at Greenwich, whose clock [`Self::shift_clock`] has shifted.
    pub fn start_shifted(&self, broker: &str) -> Roost {
        self.start_in(&[("ROOST_CLOCK_AHEAD_FILE", &self.clock())], &["--mqtt", broker])
    }

    /// Starts a host here again, as if it had been down for some milliseconds.
    pub fn start_later(&self, broker: &Broker, millis: i64) -> Roost {
        let ahead: i64 = fs::read_to_string(self.clock()).map_or(0, |ahead| ahead.parse().expect("a number"));
        self.start_at(broker, now_ms() + ahead + millis)
    }

    /// Sets the clock of the host that [`Self::start_at`] has started.
    pub fn set_clock(&self, millis: i64) {
        self.shift_clock(millis - now_ms());
    }

    /// Shifts the clock of such a host forward by milliseconds.
    pub fn shift_clock(&self, millis: i64) {
        fs::write(self.clock(), millis.to_string()).expect("a file");
    }

    fn clock(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }

    /// Starts a host here, with the given arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Roost {
        self.start_in(&[], arguments)
    }

    /// Starts a host here, with a limit on the number of open files.
    pub fn start_limited(&self, files: u32) -> Roost {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(binary());
        command.current_dir(self.path()).arg("run").env_remove("ROOST_MQTT");
        Self::started(command, &[], &[])
    }

    /// Starts a host here, with the given environment variables and arguments.
    pub fn start_in(&self, environment: &[(&str, &Path)], arguments: &[&str]) -> Roost {
        // It ends with this process also where this one is killed, although it is in a group of its own.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binary());
        Self::started(self.prepared(command, &["run"]), environment, arguments)
    }

    fn started(mut command: Command, environment: &[(&str, &Path)], arguments: &[&str]) -> Roost {
        let place = ["--time-zone", "Europe/London", "--latitude", "51.4779", "--longitude", "-0.0015"];
        command.args(["--plugins", "plugins", "--data", "data"]);
        // A port of its own, because other hosts run at the same time.
        command.env("ROOST_HTTP", "127.0.0.1:0").envs(environment.iter().copied());
        command.args(place).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        // In a group of its own, because it may start further processes.
        let mut process = command.process_group(0).spawn().expect("the binary starts");
        let log = Lines::of(process.stderr.take().expect("it is piped"));
        Roost { process, log }
    }

    /// Changes the host's database while no host runs.
    pub fn execute(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.path().join("data/roost.db")).expect("a database");
        database.execute(sql, []).expect(sql);
    }

    /// Queries one number from the host's database.
    pub fn query(&self, sql: &str) -> i64 {
        let path = self.path().join("data/roost.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = rusqlite::Connection::open_with_flags(path, flags).expect("a database");
        database.query_row(sql, [], |row| row.get(0)).expect(sql)
    }
}

impl Roost {
    /// Waits until a query returns the expected number.
    pub fn has(&self, site: &Site, sql: &str, expected: i64) {
        self.until(sql, || (site.query(sql) == expected).then_some(()));
    }

    /// Waits until `found` returns a value.
    pub fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        self.log.wait(what, |_| found())
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Roost {
    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the address and port of its HTTP API.
    pub fn address(&self) -> String {
        let line = self.wait_for_log("listening on http://");
        line.rsplit("http://").next().expect("it is there").trim().to_owned()
    }

    /// Checks whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("it was started").is_some()
    }

    /// Waits for a line of the log that contains a text, and returns it.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.log.wait_for(0, text)
    }

    /// Suspends all its processes: its connections stay open, and nothing is answered until it is resumed.
    pub fn suspend(&self) {
        kill_process_group(Pid::from_child(&self.process), Signal::STOP).expect("it runs");
    }

    /// Resumes it.
    pub fn resume(&self) {
        kill_process_group(Pid::from_child(&self.process), Signal::CONT).expect("it runs");
    }

    /// Returns the process that works for a cell, where the host has a process of its own for that.
    pub fn cell_process(&self) -> Option<Pid> {
        children(Pid::from_child(&self.process)).into_iter().next()
    }

    /// Kills it with SIGKILL. Its other processes end with it.
    pub fn kill(mut self) {
        kill_process_group(Pid::from_child(&self.process), Signal::KILL).expect("it ran");
        self.process.wait().expect("it ran");
    }

    /// Stops it with SIGTERM, as systemd does, and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it ran");
        self.process.wait().expect("it ran")
    }

    /// Waits until it ends by itself.
    pub fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.process.wait().expect("it ran");
        (status, self.log.whole())
    }

    /// Waits until it ends with an error, and returns that, redacted.
    pub fn refused(self) -> String {
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(1), "{log:#?}");
        let error = log.iter().skip_while(|line| !line.starts_with("error: "));
        redact(&error.map(|line| format!("{line}\n")).collect::<String>())
    }
}

/// Returns the processes that a process has started.
fn children(parent: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero())).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect::<Vec<_>>())
        .collect()
}

impl Drop for Roost {
    fn drop(&mut self) {
        // Without a check, the group of another process could have this number by now.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        }
        let _ = self.process.wait();
    }
}
