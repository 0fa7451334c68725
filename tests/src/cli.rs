//! Commands, and what they print.

use std::{
    fmt::Write as _,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{Roost, Site, redact_in};

/// What a command has returned.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub errors: String,
}

impl From<Output> for Ran {
    fn from(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: status.code(), out: text(stdout), errors: text(stderr) }
    }
}

impl Ran {
    /// Runs a command.
    pub fn of(command: &mut Command) -> Self {
        command.output().expect("the binary starts").into()
    }

    /// Returns the standard error of a command that must have failed, without any output.
    pub fn refused(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.errors);
        self.errors
    }
}

impl Site {
    /// Runs `roost` here, with times in UTC.
    pub fn tried(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).env("ROOST_TIME_ZONE", "UTC"))
    }

    /// Runs a command that succeeds.
    fn done(&self, arguments: &[&str]) -> Ran {
        let ran = self.tried(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.errors);
        ran
    }

    /// Runs a command that succeeds, and returns its standard output.
    pub fn roost(&self, arguments: &[&str]) -> String {
        self.done(arguments).out
    }

    /// Runs a command that succeeds, and returns its notes on standard error.
    pub fn notes(&self, arguments: &[&str]) -> String {
        self.done(arguments).errors
    }

    /// Runs a command that succeeds with `--json`, and returns its output.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.roost(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Returns the runs that `roost runs --json` shows.
    pub fn runs(&self, arguments: &[&str]) -> Vec<Value> {
        let out = self.roost(&[&["runs", "--json"], arguments].concat());
        out.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
    }

    /// Waits until a run is shown, and returns it.
    pub fn the_run(&self, host: &Roost, arguments: &[&str]) -> Value {
        host.log.wait("a run to be shown", |_| self.runs(arguments).pop())
    }

    /// Runs commands, and returns them with all that they print, for a snapshot.
    pub fn transcript(&self, commands: &[&[&str]]) -> String {
        commands.iter().map(|arguments| self.shown(arguments, &self.tried(arguments))).collect::<Vec<_>>().join("\n")
    }

    /// Returns a command with all that it has printed, redacted.
    pub fn shown(&self, arguments: &[&str], ran: &Ran) -> String {
        let quoted = |word: &&str| match word {
            word if word.contains([' ', '"', '*', '`']) => format!("'{word}'"),
            word => (*word).to_owned(),
        };
        let words: Vec<String> = arguments.iter().map(quoted).collect();
        let mut shown = format!("$ roost {}\n{}{}", words.join(" "), ran.out, ran.errors);
        if ran.code != Some(0) {
            writeln!(shown, "(exit {})", ran.code.map_or("by a signal".into(), |code| code.to_string()))
                .expect("a text grows");
        }
        redact_in(self.path(), &shown)
    }
}
