//! The topics and the ids by which Home Assistant knows the host, its devices and their jobs.

use roost_scheduler::names::{DeviceName, JobId, PluginName};
use serde::{Deserialize, Serialize};

use crate::http::pauses::NewPauseRecord;

/// The names of a plugin and of a device of it.
pub(super) type Name = (PluginName, DeviceName);

/// What a description or a state is of. The host is last: its state has the next run of all devices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    Device(Name),
    Host,
}

impl Subject {
    /// Reads `PLUGIN/DEVICE`, or nothing for the host.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Host);
        }
        let (plugin, device) = text.split_once('/')?;
        Some(Self::Device((PluginName::parse(plugin).ok()?, DeviceName::parse(device).ok()?)))
    }
}

/// The two roots of all topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Topics {
    /// The host's own topic: `roost`.
    pub(super) own: String,
    /// The prefix at which Home Assistant discovers devices: `homeassistant`.
    pub(super) discovery: String,
}

impl Topics {
    /// Returns the id of the host or a device, in the letters that Home Assistant allows. Unequal names have unequal
    /// ids.
    pub(super) fn id(&self, of: &Subject) -> String {
        match of {
            Subject::Host => escaped(&self.own),
            Subject::Device((plugin, device)) => {
                format!("{}_{}_{}", escaped(&self.own), escaped(plugin.as_str()), escaped(device.as_str()))
            }
        }
    }

    /// Returns the topic of the retained description of the host or a device.
    pub(super) fn description(&self, of: &Subject) -> String {
        format!("{}/device/{}/config", self.discovery, self.id(of))
    }

    /// Returns the filter of all descriptions, those of other programs as well.
    pub(super) fn descriptions(&self) -> String {
        format!("{}/device/+/config", self.discovery)
    }

    /// Returns the topic of the retained state of the host or a device.
    pub(super) fn state(&self, of: &Subject) -> String {
        self.at("state", of)
    }

    /// Returns the filter of all states.
    pub(super) fn states(&self) -> String {
        format!("{}/state/#", self.own)
    }

    /// Returns what the state at a topic is of, if it is one of this host's.
    pub(super) fn subject_of_state(&self, topic: &str) -> Option<Subject> {
        let rest = topic.strip_prefix(&self.own)?.strip_prefix("/state")?;
        Subject::parse(rest.strip_prefix('/').unwrap_or(rest))
    }

    /// Returns the topic of a device's events.
    pub(super) fn event(&self, of: &Subject) -> String {
        self.at("event", of)
    }

    /// Returns the filter of all commands.
    pub(super) fn commands(&self) -> String {
        format!("{}/set/#", self.own)
    }

    /// Returns the topic of a command to a device: `what` is `enabled`, `run/JOB`, …
    pub(super) fn command(&self, of: &Subject, what: &str) -> String {
        format!("{}/{what}", self.at("set", of))
    }

    /// Returns a command's topic without its beginning: `PLUGIN/DEVICE/run/JOB`.
    pub(super) fn command_in<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix(&self.own)?.strip_prefix("/set/")
    }

    fn at(&self, what: &str, of: &Subject) -> String {
        match of {
            Subject::Host => format!("{}/{what}", self.own),
            Subject::Device((plugin, device)) => format!("{}/{what}/{plugin}/{device}", self.own),
        }
    }
}

/// Returns the key of a job's or a task's component: `run_JOB`.
pub(super) fn key(what: &str, name: &str) -> String {
    format!("{what}_{}", escaped(name))
}

/// Writes a name in letters, digits, `-` and `_`. Two underscores begin an escape, so that a single one separates names,
/// none of which begins with one.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for char in name.chars() {
        match char {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' => text.push(char),
            '_' => text.push_str("__u"),
            '.' => text.push_str("__d"),
            '/' => text.push_str("__s"),
            other => text.push_str(&format!("__x{:x}_", u32::from(other))),
        }
    }
    text
}

/// A command to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Resume or pause the device.
    Enable(bool),
    /// Pause the device, in most cases until an end.
    Pause(NewPauseRecord),
    /// Resume or pause a job.
    EnableJob(JobId, bool),
    /// Run a job now.
    Run(JobId),
    /// Skip a job's next run.
    Skip(JobId),
    /// Call a task with these arguments, as JSON.
    Task(String, Option<String>),
}

/// Reads a command from its topic, without the beginning, and its payload.
///
/// # Errors
/// Returns why it is none, in one sentence.
pub(super) fn parse_command(rest: &str, payload: &[u8]) -> Result<(Name, Command), String> {
    let parts: Vec<&str> = rest.split('/').collect();
    let [plugin, device, verb, of @ ..] = &parts[..] else {
        return Err("the topic ends with no `PLUGIN/DEVICE/COMMAND`".to_owned());
    };
    let name = |error: &dyn std::error::Error| error.to_string();
    let plugin = PluginName::parse(plugin).map_err(|error| name(&error))?;
    let device = DeviceName::parse(device).map_err(|error| name(&error))?;
    let text = std::str::from_utf8(payload).map_err(|_| "the payload is not UTF-8 text".to_owned())?.trim();
    let job = |of: &str| JobId::parse(of).map_err(|error| name(&error));
    let expects = |expected: &str| {
        (text == expected)
            .then_some(())
            .ok_or_else(|| format!("the payload is `{}`, and must be `{expected}`", cut(text)))
    };
    let is_on = || match text {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        other => Err(format!("the payload is `{}`, and must be `ON` or `OFF`", cut(other))),
    };
    let command = match (*verb, of) {
        ("enabled", []) => Command::Enable(is_on()?),
        ("enabled", [of]) => Command::EnableJob(job(of)?, is_on()?),
        ("pause", []) => Command::Pause(serde_json::from_str(text).map_err(|error| {
            format!("the payload is no pause, such as `{{\"for\": \"24h\", \"reason\": \"rain\"}}`: {error}")
        })?),
        ("run", [of]) => expects("RUN").and_then(|()| job(of)).map(Command::Run)?,
        ("skip", [of]) => expects("SKIP").and_then(|()| job(of)).map(Command::Skip)?,
        ("task", [of]) if text == "RUN" => Command::Task((*of).to_owned(), None),
        ("task", [of]) => Command::Task((*of).to_owned(), Some(text.to_owned())),
        _ => return Err("the command is none of `enabled`, `pause`, `run/JOB`, `skip/JOB`, `task/TASK`".to_owned()),
    };
    Ok(((plugin, device), command))
}

fn cut(text: &str) -> String {
    roost_scheduler::text::excerpt(text)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn name(plugin: &str, device: &str) -> Subject {
        Subject::Device((PluginName::parse(plugin).unwrap(), DeviceName::parse(device).unwrap()))
    }

    fn topics() -> Topics {
        Topics { own: "roost".into(), discovery: "homeassistant".into() }
    }

    #[test]
    fn ids_have_only_letters_that_home_assistant_allows() {
        let (topics, long) = (topics(), "x".repeat(63));
        let of = [Subject::Host, name("coop-door", "north"), name("a-b", "c_d.e"), name(&long, &long)];
        for subject in &of {
            let id = topics.id(subject);
            assert!(id.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_')), "{id}");
        }
        expect![[r#"
            homeassistant/device/roost/config roost/state
            homeassistant/device/roost_coop-door_north/config roost/state/coop-door/north
            homeassistant/device/roost_a-b_c__ud__de/config roost/state/a-b/c_d.e"#]]
        .assert_eq(
            &of[..3]
                .iter()
                .map(|of| format!("{} {}", topics.description(of), topics.state(of)))
                .collect::<Vec<_>>()
                .join("\n"),
        );
        let odd = Topics { own: "höhe 2/roost".into(), ..topics };
        assert_eq!(odd.id(&Subject::Host), "h__xf6_he__x20_2__sroost");
    }

    /// With one underscore as escape, the job `next` of the device `d` and the key `next` of the device `d_run` would have
    /// one id.
    #[test]
    fn unequal_names_have_unequal_ids() {
        let names = ["a", "a.", "a_", "a__", "a_d", "a_run", "a_run_next", "d", "run", "next", "u", "a-"];
        let mut seen = std::collections::HashMap::new();
        for plugin in ["a", "a-", "d", "u"] {
            for device in names {
                let id = topics().id(&name(plugin, device));
                for last in ["next".to_owned()].into_iter().chain(names.map(|job| key("run", job))) {
                    let whole = format!("{id}_{last}");
                    let of = (plugin, device, last);
                    if let Some(other) = seen.insert(whole.clone(), of.clone()) {
                        panic!("{whole} is of {of:?} and of {other:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_state_of_a_topic_is_found_again() {
        let topics = topics();
        for subject in [Subject::Host, name("a-b", "c_d.e")] {
            assert_eq!(topics.subject_of_state(&topics.state(&subject)), Some(subject));
        }
        for other in ["roost/status", "roost2/state", "roost/state/a", "roost/state/a/b/c", "roost/stateless"] {
            assert_eq!(topics.subject_of_state(other), None, "{other}");
        }
    }

    #[test]
    fn a_command_is_read_from_its_topic_and_payload() {
        let topics = topics();
        let shown =
            |topic: &str, payload: &str| match parse_command(topics.command_in(topic).unwrap(), payload.as_bytes()) {
                Ok(((plugin, device), command)) => format!("{plugin}/{device} {command:?}"),
                Err(error) => error,
            };
        let all = [
            shown("roost/set/coop-door/north/enabled", "OFF"),
            shown("roost/set/coop-door/north/enabled/close", "ON"),
            shown("roost/set/sprinkler/garden/pause", r#"{"for": "24h", "reason": "rain"}"#),
            shown("roost/set/sprinkler/garden/pause", "24h"),
            shown("roost/set/coop-door/north/run/close", "RUN"),
            shown("roost/set/coop-door/north/skip/close", "SKIP"),
            shown("roost/set/sprinkler/garden/task/water", "RUN"),
            shown("roost/set/sprinkler/garden/task/water", r#"{"minutes": 5}"#),
            shown("roost/set/coop-door/north/enabled", "on"),
            shown("roost/set/coop-door/north/run/close", "SKIP"),
            shown("roost/set/coop-door/north/run", "RUN"),
            shown("roost/set/coop-door/north/run/a b", "RUN"),
            shown("roost/set/coop-door", "RUN"),
        ];
        expect![[r#"
            coop-door/north Enable(false)
            coop-door/north EnableJob(JobId("close"), true)
            sprinkler/garden Pause(NewPauseRecord { from: None, until: None, lasts: Some("24h"), reason: Some("rain") })
            the payload is no pause, such as `{"for": "24h", "reason": "rain"}`: invalid type: integer `24`, expected struct NewPauseRecord at line 1 column 2
            coop-door/north Run(JobId("close"))
            coop-door/north Skip(JobId("close"))
            sprinkler/garden Task("water", None)
            sprinkler/garden Task("water", Some("{\"minutes\": 5}"))
            the payload is `on`, and must be `ON` or `OFF`
            the payload is `SKIP`, and must be `RUN`
            the command is none of `enabled`, `pause`, `run/JOB`, `skip/JOB`, `task/TASK`
            `a b` is not a job id: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit
            the topic ends with no `PLUGIN/DEVICE/COMMAND`"#]]
        .assert_eq(&all.join("\n"));
        assert_eq!(topics.command_in("roost/state/coop-door/north"), None);
    }
}
