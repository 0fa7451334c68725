use roost_plugin_sdk::{
    Context, Device, Job, Messages, Reply, Result, Task, TaskDescription, Tasks, Time, minutes,
};
use serde::Deserialize;

/// What users may set in `plugin-name.toml`: each missing setting has a default here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Door {
    open_not_before: Time,
    close_not_after: Time,
}

impl Default for Door {
    fn default() -> Self {
        let time = |hour, minute| Time::new(hour, minute, 0).expect("it is a time of day");
        Self { open_not_before: time(6, 30), close_not_after: time(22, 0) }
    }
}

impl Device for Door {
    /// The complete plan of one device. Roost keeps it on disk and sends the messages, also after a crash.
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let door = ctx.topic("door/set");
        // After an outage, only the newer of both counts.
        Ok(vec![
            Job::sunrise("open").not_before(self.open_not_before).publish(&door, "OPEN").latest_of_group("door"),
            Job::sunset("close").not_after(self.close_not_after).publish(&door, "CLOSE").latest_of_group("door"),
        ])
    }
}

/// The arguments of the task `let-out`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LetOut {
    minutes: u32,
}

/// What users can call at any time, from the page or with `roost schedule now --task`.
impl Tasks for Door {
    fn list() -> Vec<TaskDescription> {
        let args = r#"{ "type": "object", "properties": { "minutes": { "type": "integer" } }, "required": ["minutes"] }"#;
        vec![TaskDescription::new("let-out", "Open the door for some minutes").args_schema(args)]
    }

    fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply> {
        if task.name() != "let-out" {
            return Err(task.unknown());
        }
        let args: LetOut = task.args()?;
        println!("the door is open for {} min", args.minutes);
        let door = ctx.topic("door/set");
        // Once OPEN is sent, CLOSE is owed: it is sent whatever happens.
        Ok(Messages::new().publish(&door, "OPEN").then(minutes(args.minutes.into()), &door, "CLOSE").into())
    }
}

roost_plugin_sdk::export!(Door, tasks);

#[cfg(test)]
mod tests {
    use roost_plugin_sdk::testing::TestHost;
    use serde_json::json;

    use super::*;

    fn host() -> TestHost {
        let host = TestHost::new("plugin-name", "north").time_zone("Europe/London").location(51.4779, -0.0015);
        host.at("2027-06-21T00:00:00+01:00")
    }

    #[test]
    fn the_door_opens_not_before_half_past_six_in_summer_and_closes_at_sunset() -> Result<()> {
        let plan = host().schedule_jobs::<Door>()?;
        assert_eq!(plan.job("open").due(1), ["2027-06-21T06:30:00+01:00"]);
        assert_eq!(plan.job("close").due(1)[0][..16], *"2027-06-21T21:20");
        Ok(())
    }

    #[test]
    fn it_can_be_opened_for_some_minutes() -> Result<()> {
        let reply = host().run_task::<Door>("let-out", json!({ "minutes": 5 }))?;
        assert_eq!(reply.messages(), ["0s plugin-name/north/door/set OPEN", "5m plugin-name/north/door/set CLOSE"]);
        Ok(())
    }
}
