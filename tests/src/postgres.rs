//! A PostgreSQL server in a folder of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::chown,
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
    port: u16,
    process: Option<Child>,
}

impl Postgres {
    /// Starts a server without passwords. `lines` are further settings.
    ///
    /// Nothing of it outlives a crash of the machine, unless `lines` says so.
    pub fn start_with(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, port) = (folder.path().join("data"), free_port());
        if rustix::process::geteuid().is_root() {
            chown(folder.path(), Some(UNPRIVILEGED.0), Some(UNPRIVILEGED.1)).unwrap();
        }
        let mut initdb = as_other_user(&program("initdb"));
        initdb
            .args(["--no-sync", "--auth=trust", "--username=roost", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
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

    /// Starts it (again), and waits until it answers.
    #[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
    pub fn start(&mut self) {
        // It ends when its parent does: then its standard input is closed.
        let guard = "\"$@\" & server=$!; read -r _; kill -INT $server; wait $server";
        let mut command = as_other_user(Path::new("/bin/sh"));
        command.args(["-c", guard, "sh"]).arg(program("postgres")).arg("-D").arg(self.folder.path().join("data"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while !self.sql("postgres", "SELECT 1") {
            assert!(Instant::now() < until, "the database does not start");
            thread::sleep(Duration::from_millis(20));
        }
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
