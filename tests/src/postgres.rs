//! A PostgreSQL server in a folder of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{PATIENCE, free_port};

/// The user and group that run the server where this process is root's, because the server refuses to be.
const UNPRIVILEGED: (u32, u32) = (65_534, 65_534);

/// A server, which ends with this process.
pub struct Postgres {
    folder: TempDir,
    /// The port at which it listens, on 127.0.0.1.
    pub port: u16,
    process: Option<Child>,
}

impl Postgres {
    /// Starts a server without passwords. `lines` are further settings.
    ///
    /// Nothing of it outlives a crash of the machine, unless `lines` says so.
    pub fn start_with(lines: &str) -> Self {
        let (folder, port) = (folder(), free_port());
        let data = folder.path().join("data");
        let mut initdb = as_other_user(&program("initdb"));
        initdb
            .args(["--no-sync", "--auth=trust", "--username=roost", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data);
        run(&mut initdb);
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n\
             synchronous_commit = on\nmax_connections = 100\n{lines}\n"
        );
        fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
        let mut server = Self { folder, port, process: None };
        server.start();
        server
    }

    /// Starts a server without passwords.
    pub fn new() -> Self {
        Self::start_with("")
    }

    /// Starts a synchronous replica of this server, without which nothing is committed from now on, on a port.
    pub fn replica(&self, port: u16) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        let mut copy = as_other_user(&program("pg_basebackup"));
        copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--dbname"])
            .arg(self.url("postgres"))
            .arg("-D");
        run(copy.arg(&data));
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.auto.conf")).unwrap();
        writeln!(settings, "port = {port}").unwrap();
        let mut replica = Self { folder, port, process: None };
        replica.start();
        for statement in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
            assert!(self.sql("postgres", statement), "{statement}");
        }
        wait("a replica", || {
            self.ask("postgres", "SELECT sync_state FROM pg_stat_replication").iter().any(|state| state == "sync")
        });
        replica
    }

    /// Makes a replica the server that accepts writes.
    pub fn promote(&self) {
        assert!(self.sql("postgres", "SELECT pg_promote()"), "the replica cannot be promoted");
        wait("the promotion", || self.ask("postgres", "SELECT pg_is_in_recovery()") == ["f"]);
    }

    /// Starts it (again), and waits until it answers.
    pub fn start(&mut self) {
        // It ends when its parent does: then its standard input is closed.
        let guard = "\"$@\" & server=$!; read -r how; kill -${how:-INT} $server; wait $server";
        let mut command = as_other_user(Path::new("/bin/sh"));
        command.args(["-c", guard, "sh"]).arg(program("postgres")).arg("-D").arg(self.folder.path().join("data"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // In a group of its own, so that Ctrl-C ends it last.
        self.process = Some(command.process_group(0).spawn().unwrap());
        wait("its start", || self.sql("postgres", "SELECT 1"));
    }

    /// Stops it as a crash does: what it had not written is in its log at most.
    pub fn crash(&mut self) {
        if let Some(stdin) = self.process.as_mut().and_then(|process| process.stdin.as_mut()) {
            stdin.write_all(b"QUIT\n").unwrap();
        }
        self.stop();
    }

    /// Stops it, so that its connections end.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }

    /// Makes an empty database, and returns its address.
    pub fn database(&self, name: &str) -> String {
        assert!(self.sql("postgres", &format!("CREATE DATABASE \"{name}\"")), "a database cannot be made");
        self.url(name)
    }

    /// Returns the address of a database.
    pub fn url(&self, name: &str) -> String {
        format!("postgres://roost@127.0.0.1:{}/{name}", self.port)
    }

    /// Executes a statement. Returns whether it could be.
    pub fn sql(&self, database: &str, statement: &str) -> bool {
        let mut psql = Command::new(program("psql"));
        psql.args(["--no-psqlrc", "--quiet", "-c", statement]).arg(self.url(database));
        psql.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Returns the lines of a query's answer.
    pub fn ask(&self, database: &str, query: &str) -> Vec<String> {
        let mut psql = Command::new(program("psql"));
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "-c", query]).arg(self.url(database));
        let answer = psql.stdin(Stdio::null()).output().unwrap();
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        BufReader::new(&*answer.stdout).lines().map(Result::unwrap).collect()
    }
}

impl Default for Postgres {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes a folder that the server can use.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    if rustix::process::geteuid().is_root() {
        chown(folder.path(), Some(UNPRIVILEGED.0), Some(UNPRIVILEGED.1)).unwrap();
    }
    folder
}

#[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
fn wait(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "timed out waiting for {what} of the database");
        thread::sleep(Duration::from_millis(20));
    }
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Returns a command that runs as another user if this one is root, which the server refuses.
fn as_other_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([
        format!("--reuid={}", UNPRIVILEGED.0),
        format!("--regid={}", UNPRIVILEGED.1),
        "--clear-groups".to_owned(),
    ]);
    command.arg(program).current_dir("/");
    command
}

/// Returns a program of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = installed.map(|version| version.path()).max_by_key(version);
    newest.map_or_else(|| name.into(), |path| path.join("bin").join(name))
}
