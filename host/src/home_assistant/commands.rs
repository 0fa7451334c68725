//! Carries out the commands of Home Assistant, by the same requests as those of the HTTP API.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_scheduler::event::{Part, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    limits,
    tokens::Tokens,
    topics::{Command, Name, Topics, parse_command},
    turns::Turns,
};
use crate::{
    http::{ApiState, NewJobRecord, Problem, make_job, pauses},
    mqtt::background::Message,
};

/// Carries commands out: those to one device one after the other, so that the last one counts, and those to others at the
/// same time.
pub(super) struct Commands {
    state: ApiState,
    places: Arc<Semaphore>,
    turns: Arc<Mutex<Turns<Name, Waiting>>>,
    /// Bounds the lines in the log, because anybody that may publish commands can send nonsense.
    logged: Arc<Mutex<Tokens>>,
}

/// A command that waits for the earlier ones to its device.
struct Waiting {
    topic: String,
    command: Command,
    _place: OwnedSemaphorePermit,
}

impl Commands {
    pub(super) fn new(state: ApiState) -> Self {
        let logged = Tokens::full(limits::REFUSALS_LOGGED);
        let places = Arc::new(Semaphore::new(limits::COMMANDS));
        Self { state, places, turns: Arc::default(), logged: Arc::new(logged.into()) }
    }

    /// Carries out the command of a message in the background, unless it must not be.
    pub(super) fn obey(&self, topics: &Topics, message: &Message) {
        let Message { topic, payload, retained, has_run } = message;
        let Some(rest) = topics.command_in(topic) else { return };
        // An empty payload removes a retained message, and is no command.
        if payload.is_empty() {
            return;
        }
        let refuse = |why: &str| self.log(&format!("the command on `{topic}` is not carried out: {why}"));
        if *retained {
            return refuse("it is retained, so it may be old: publish it without the retain flag");
        }
        if *has_run {
            return refuse("a run of Roost has sent it");
        }
        if payload.len() > limits::COMMAND_BYTES {
            return refuse("it is too long");
        }
        let (name, command) = match parse_command(rest, payload) {
            Ok(parsed) => parsed,
            Err(why) => return refuse(&why),
        };
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return refuse(&format!("{} others are being carried out", limits::COMMANDS));
        };
        let waiting = Waiting { topic: topic.clone(), command, _place: place };
        if lock(&self.turns).add(name.clone(), waiting) {
            tokio::spawn(carry_out_all(self.state.clone(), self.turns.clone(), self.logged.clone(), name));
        }
    }

    fn log(&self, line: &str) {
        log(&self.logged, line);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log(logged: &Mutex<Tokens>, line: &str) {
    if lock(logged).take() {
        tracing::warn!("{line}");
    } else {
        tracing::debug!("{line}");
    }
}

/// Carries out the commands to a device until there are no more.
async fn carry_out_all(
    state: ApiState,
    turns: Arc<Mutex<Turns<Name, Waiting>>>,
    logged: Arc<Mutex<Tokens>>,
    name: Name,
) {
    let next = || lock(&turns).next(&name);
    while let Some(Waiting { topic, command, _place }) = next() {
        if let Err(Problem { detail, hint, .. }) = carry_out(&state, name.clone(), command).await {
            let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            log(&logged, &format!("the command on `{topic}` was refused\n  caused by: {detail}{hint}"));
        }
    }
}

async fn carry_out(state: &ApiState, (plugin, device): Name, command: Command) -> Result<(), Problem> {
    let enable = async |what: Part, is_on: bool| match is_on {
        true => pauses::remove(state, what).await.map(drop),
        false => pauses::set(state, what, None).await.map(drop),
    };
    match command {
        Command::Enable(is_on) => enable(Part::Device(plugin, device), is_on).await,
        Command::Pause(new) => pauses::set(state, Part::Device(plugin, device), Some(new)).await.map(drop),
        Command::EnableJob(job, is_on) => enable(Part::Job((plugin, device, job)), is_on).await,
        Command::Run(job) => state.request(Request::RunNow((plugin, device, job))).await.map(drop),
        Command::Skip(job) => state.request(Request::Skip { job: (plugin, device, job), undo: false }).await.map(drop),
        Command::Task(task, args) => {
            let args = args.map(|args| {
                serde_json::from_str(&args)
                    .map_err(|error| Problem::bad_request(format!("the arguments are not JSON: {error}")))
            });
            let new = NewJobRecord {
                trigger: "now".to_owned(),
                plugin: Some(plugin.to_string()),
                device: Some(device.to_string()),
                task: Some(task),
                args: args.transpose()?,
                ..NewJobRecord::default()
            };
            make_job(state, new).await.map(drop)
        }
    }
}
