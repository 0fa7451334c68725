//! A coop door: it opens when the sun is up and closes when the birds are in, and does either on request.
//!
//! The door is any device that subscribes to a topic and has one payload for open and one for close; see
//! `coop-door.toml` for the settings for ESPHome, Zigbee2MQTT and Tasmota.

use roost_plugin_sdk::{
    Context, Device, Job, Matches, Messages, Reply, Result, Span, SunEvent, Task, TaskDescription, Tasks, Time,
    minutes, seconds,
};
use serde::Deserialize;

/// The settings of a door.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CoopDoor {
    /// The door's command topic. Default: `coop-door/<device>/door/set`.
    topic: Option<String>,
    open_payload: String,
    close_payload: String,
    /// Whether the broker retains the command. Then a door that was offline executes it when it reconnects, however
    /// late.
    retain: bool,

    /// The door's state topic, if it has one: then the command is repeated until the state matches.
    state_topic: Option<String>,
    /// The JSON pointer to the state, if the message is JSON: `/state`.
    state_pointer: Option<String>,
    open_state: String,
    closed_state: String,
    /// How long the door may take.
    state_within: Span,

    open_at: SunEvent,
    open_offset: Span,
    /// Not too early in June, when foxes are about.
    open_not_before: Time,
    /// The time on a day without the event. Default: as early as it may open.
    open_otherwise: Option<Time>,

    close_at: SunEvent,
    /// Hens go in at dusk, the last one a little later.
    close_offset: Span,
    close_not_after: Option<Time>,
    /// The time on an evening without the event, as in the northern summer. Default: as late as it may close, otherwise
    /// 23:00.
    close_otherwise: Option<Time>,
}

impl Default for CoopDoor {
    fn default() -> Self {
        Self {
            topic: None,
            open_payload: "OPEN".into(),
            close_payload: "CLOSE".into(),
            retain: false,
            state_topic: None,
            state_pointer: None,
            open_state: "open".into(),
            closed_state: "closed".into(),
            state_within: minutes(1),
            open_at: SunEvent::Sunrise,
            open_offset: Span::default(),
            open_not_before: time("06:30"),
            open_otherwise: None,
            close_at: SunEvent::CivilDusk,
            close_offset: minutes(10),
            close_not_after: None,
            close_otherwise: None,
        }
    }
}

fn time(text: &str) -> Time {
    text.parse().unwrap_or_else(|_| unreachable!("`{text}` is a time of day"))
}

impl Device for CoopDoor {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let open = Job::sun("open", self.open_at)
            .label("Open the door")
            .offset(self.open_offset)
            .not_before(self.open_not_before)
            .otherwise(self.open_otherwise.unwrap_or(self.open_not_before));
        let close = Job::sun("close", self.close_at)
            .label("Close the door")
            .offset(self.close_offset)
            .otherwise(self.close_otherwise.or(self.close_not_after).unwrap_or_else(|| time("23:00")));
        let close = match self.close_not_after {
            Some(time) => close.not_after(time),
            None => close,
        };
        Ok(vec![self.with_policy(open.messages(self.open(ctx))), self.with_policy(close.messages(self.close(ctx)))])
    }
}

impl Tasks for CoopDoor {
    fn list() -> Vec<TaskDescription> {
        vec![TaskDescription::new("open", "Open the door"), TaskDescription::new("close", "Close the door")]
    }

    fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply> {
        match task.name() {
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

    fn command(&self, ctx: &Context, payload: &str, state: &str) -> Messages {
        let door = self.topic.clone().unwrap_or_else(|| ctx.topic("door/set"));
        let mut message = Messages::new().publish(door, payload);
        if self.retain {
            message = message.retain();
        }
        let Some(topic) = &self.state_topic else { return message };
        let state = match &self.state_pointer {
            Some(pointer) => Matches::json(pointer, state),
            None => state.into(),
        };
        // Not `already`: a retained state may be outdated, and repeating the command does no harm.
        message.confirm(topic, state, self.state_within)
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

#[cfg(test)]
mod tests {
    use roost_plugin_sdk::testing::{Plan, TestHost};
    use serde_json::{Value, json};

    use super::*;

    fn plan(config: Value, now: &str) -> Result<Plan> {
        let host = TestHost::new("coop-door", "north").time_zone("Europe/London").location(51.4779, -0.0015);
        host.config(config).at(now).schedule_jobs::<CoopDoor>()
    }

    #[test]
    fn it_opens_with_the_sun_but_not_before_half_past_six() -> Result<()> {
        let open = plan(json!({}), "2027-06-01T12:00:00+01:00")?;
        assert_eq!(open.job("open").due(1), ["2027-06-02T06:30:00+01:00"]);
        let winter = plan(json!({}), "2027-12-20T12:00:00Z")?;
        assert!(winter.job("open").due(1)[0].starts_with("2027-12-21T08:0"), "{:?}", winter.job("open").due(1));
        Ok(())
    }

    #[test]
    fn it_closes_after_dusk() -> Result<()> {
        let plan = plan(json!({ "close_offset": "0m" }), "2027-06-01T12:00:00+01:00")?;
        assert!(plan.job("close").due(1)[0].starts_with("2027-06-01T21:5"), "{:?}", plan.job("close").due(1));
        Ok(())
    }

    #[test]
    fn the_closing_time_can_be_limited() -> Result<()> {
        let plan = plan(json!({ "close_not_after": "21:30" }), "2027-06-01T12:00:00+01:00")?;
        assert_eq!(plan.job("close").due(1), ["2027-06-01T21:30:00+01:00"]);
        Ok(())
    }

    #[test]
    fn it_closes_at_midsummer_in_the_north_and_opens_again() -> Result<()> {
        // Oulu has no civil dusk from late May on, Tromsø no sunset and no sunrise.
        for (zone, latitude, longitude) in [("Europe/Helsinki", 65.01, 25.47), ("Europe/Oslo", 69.65, 18.96)] {
            let door = TestHost::new("coop-door", "north").time_zone(zone).location(latitude, longitude);
            let door = door.at("2027-06-21T12:00:00Z");
            let plan = door.clone().schedule_jobs::<CoopDoor>()?;
            assert_eq!(plan.job("close").due(1)[0][..16], *"2027-06-21T23:00", "{zone}");
            assert_eq!(plan.job("open").due(1)[0][..16], *"2027-06-22T06:30", "{zone}");
            let early = door.config(json!({ "close_not_after": "22:00" })).schedule_jobs::<CoopDoor>()?;
            assert_eq!(early.job("close").due(1)[0][..16], *"2027-06-21T22:00", "{zone}");
        }
        Ok(())
    }

    #[test]
    fn the_limit_holds_for_an_evening_that_lasts_beyond_midnight() -> Result<()> {
        let door = TestHost::new("coop-door", "north").time_zone("Europe/Helsinki").location(60.17, 24.94);
        let door = door.config(json!({ "close_not_after": "22:00" })).at("2027-06-21T12:00:00+03:00");
        assert_eq!(door.schedule_jobs::<CoopDoor>()?.job("close").due(1), ["2027-06-21T22:00:00+03:00"]);
        Ok(())
    }

    #[test]
    fn topics_and_payloads_can_be_configured() -> Result<()> {
        let plan = plan(json!({}), "2027-06-01T12:00:00+01:00")?;
        assert_eq!(plan.job("open").messages(), ["0s coop-door/north/door/set OPEN"]);
        assert_eq!(plan.job("close").messages(), ["0s coop-door/north/door/set CLOSE"]);
        let config = json!({ "topic": "cmnd/north/ShutterPosition", "open_payload": "100", "close_payload": "0" });
        let plan = self::plan(config, "2027-06-01T12:00:00+01:00")?;
        assert_eq!(plan.job("close").messages(), ["0s cmnd/north/ShutterPosition 0"]);
        Ok(())
    }

    #[test]
    fn after_an_outage_only_the_newest_command_is_caught_up() -> Result<()> {
        let plan = plan(json!({}), "2027-06-01T12:00:00+01:00")?;
        for id in ["open", "close"] {
            assert_eq!(plan.job(id).misfire(), "latest-of-group door");
        }
        Ok(())
    }

    #[test]
    fn a_door_with_a_state_topic_confirms_its_commands() -> Result<()> {
        let config = json!({ "state_topic": "coop-door/north/door", "state_within": "40s" });
        let plan = plan(config, "2027-06-01T12:00:00+01:00")?;
        assert_eq!(
            plan.job("close").messages(),
            ["0s coop-door/north/door/set CLOSE, confirmed by coop-door/north/door closed within 40s"]
        );
        let config = json!({ "state_topic": "z/door", "state_pointer": "/state", "open_state": "OPEN" });
        let plan = self::plan(config, "2027-06-01T12:00:00+01:00")?;
        assert_eq!(
            plan.job("open").messages(),
            ["0s coop-door/north/door/set OPEN, confirmed by z/door /state=\"OPEN\" within 1m"]
        );
        Ok(())
    }

    #[test]
    fn tasks_open_and_close_the_door() -> Result<()> {
        let host = TestHost::new("coop-door", "north").config(json!({ "state_topic": "coop-door/north/door" }));
        let answer = host.run_task::<CoopDoor>("open", json!(null))?;
        assert_eq!(
            answer.messages(),
            ["0s coop-door/north/door/set OPEN, confirmed by coop-door/north/door open within 1m"]
        );
        let answer = TestHost::new("coop-door", "north").run_task::<CoopDoor>("close", json!({}))?;
        assert_eq!(answer.messages(), ["0s coop-door/north/door/set CLOSE"]);
        Ok(())
    }

    #[test]
    fn a_mistake_in_the_settings_is_named() {
        let error = plan(json!({ "open_not_before": "half past six" }), "2027-06-01T12:00:00Z").unwrap_err();
        assert_eq!(
            error.to_string(),
            "config `open_not_before`: `half past six` is not a time of day, write it like `06:30` or `06:30:15`"
        );
        assert!(plan(json!({ "opn_at": "sunrise" }), "2027-06-01T12:00:00Z").is_err());
    }
}
