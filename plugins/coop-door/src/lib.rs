//! A coop door: it opens when the sun is up and closes when the birds are in, and does either on request.
//!
//! The door is any device that subscribes to a topic and has one payload for open and one for close; see
//! `docs/devices.md` for the settings for ESPHome, Zigbee2MQTT, Tasmota and Shelly.

mod settings;
#[cfg(test)]
mod tests;

use roost_plugin_sdk::{
    Context, Device, Error, Job, JsonValue, Matches, Messages, Reply, Result, Task, TaskDescription, Tasks, seconds,
};

use self::settings::CoopDoor;

impl Device for CoopDoor {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let openings = self.openings()?.into_iter().map(|job| job.messages(self.open(ctx)));
        let closings = self.closings()?.into_iter().map(|job| job.messages(self.close(ctx)));
        Ok(openings.chain(closings).map(|job| self.with_policy(job)).collect())
    }
}

impl Tasks for CoopDoor {
    fn list() -> Vec<TaskDescription> {
        vec![TaskDescription::new("open", "Open the door"), TaskDescription::new("close", "Close the door")]
    }

    fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply> {
        match task.name() {
            "open" if self.is_held_closed(ctx.today()?) => {
                Err(Error::new("the door is held closed: remove `hold = \"closed\"` from its settings to open it"))
            }
            "open" => Ok(self.open(ctx).into()),
            "close" => Ok(self.close(ctx).into()),
            _ => Err(task.unknown()),
        }
    }
}

impl CoopDoor {
    fn open(&self, ctx: &Context) -> Messages {
        self.command(ctx, &self.open_payload, &self.open_state)
    }

    fn close(&self, ctx: &Context) -> Messages {
        self.command(ctx, &self.close_payload, &self.closed_state)
    }

    fn command(&self, ctx: &Context, payload: &str, state: &JsonValue) -> Messages {
        let door = self.topic.clone().unwrap_or_else(|| ctx.topic("door/set"));
        let mut message = Messages::new().publish(door, payload);
        if self.retain {
            message = message.retain();
        }
        let Some(topic) = &self.state_topic else { return message };
        let state = match &self.state_pointer {
            Some(pointer) => Matches::json(pointer, state.clone()),
            None => state.clone().into_payload().into(),
        };
        let message = message.confirm(topic, state, self.state_within);
        // Not by default: a retained state may be outdated, and repeating the command does no harm.
        if self.state_already { message.already() } else { message }
    }

    fn with_policy(&self, job: Job) -> Job {
        // After an outage only the newer of both is caught up, however late: a door that should be closed by now is
        // closed, and is not opened first.
        let job = job.latest_of_group("door");
        match self.state_topic {
            // A stuck door is not tried without end: it fails after some minutes, and users see it.
            Some(_) => job.attempts(5).backoff(seconds(10)),
            None => job,
        }
    }
}

roost_plugin_sdk::export!(CoopDoor, tasks);
