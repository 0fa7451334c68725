//! The rules for parsed jobs, replies and summaries.

use super::fault::Fault;
use crate::{
    limits,
    model::{Action, Confirm, Job, Matches, Message, MessageProperties, Policy, Reply, Retry, Step},
    text::{excerpt, grouped, is_unprintable},
    time::{CLOCK_LOST_BEFORE, Site},
    topic::is_forbidden,
    trigger::{Almanac, Duration, Every, OutOfOrder, Search, Sun, Trigger},
    zone::Zone,
};

type Checked = Result<(), Fault>;

fn must(holds: bool, fault: impl FnOnce() -> Fault) -> Checked {
    if holds { Ok(()) } else { Err(fault()) }
}

/// Checks a text for users: at most `most` bytes, in one line, without unprintable characters.
///
/// # Errors
/// Returns the rule that is broken.
pub fn text(field: &'static str, text: &str, most: usize) -> Checked {
    let bytes = text.len();
    must(bytes <= most, || {
        let in_kib = if most.is_multiple_of(1_024) { format!(" ({} KiB)", most / 1_024) } else { String::new() };
        Fault::new(field, format!("of {bytes} bytes"), format!("it may have {}{in_kib}", grouped(most)))
    })?;
    printable(field, text)
}

fn printable(field: &'static str, text: &str) -> Checked {
    match text.chars().find(|char| is_unprintable(*char)) {
        None => Ok(()),
        Some(char) => {
            let rule = "users read it, so it must be one line of printable characters";
            Err(Fault::new(field, format!("with the character U+{:04X}", u32::from(char)), rule))
        }
    }
}

/// Checks a whole job, but not whether it is permitted.
pub(super) fn job(job: &Job) -> Checked {
    job.label.as_deref().map_or(Ok(()), |label| text("label", label, limits::LABEL_BYTES))?;
    trigger(&job.trigger)?;
    // The length of a task's run is not known before it is due.
    must(job.trigger.finish() != Some(0) || !job.steps().is_empty(), || {
        let rule = "the length of a task's run is not known; state it, as in `finish sunrise after 45m`";
        Fault::new("trigger.finish", "", rule)
    })?;
    if let Action::Steps(list) = &job.action {
        let count = list.len();
        let rule = "there must be 1 to 100";
        must((1..=limits::STEPS_PER_ACTION).contains(&count), || Fault::new("action.steps", count, rule))?;
        steps(list)?;
    }
    policy(&job.policy)?;
    if let Trigger::Every(every) = &job.trigger {
        let (jitter_ms, period_ms) = (job.policy.jitter_ms, every.period_ms);
        let rule = || format!("it must be less than the period, {period_ms} ms, or runs would overtake each other");
        must(u64::from(jitter_ms) < period_ms, || Fault::new("policy.jitter-ms", jitter_ms, rule()))?;
    }
    owed_steps_are_sent(job)
}

/// I5: each run of a job that replaces earlier runs takes over their owed steps. If the next run always starts before
/// they are due, they would be put off until the scheduler's bound is reached, again and again.
fn owed_steps_are_sent(job: &Job) -> Checked {
    let replaces = job.policy.overlap.replaces() || job.policy.group().is_some();
    let Some(after_ms) = job.steps().last().map(|step| step.after_ms).filter(|after_ms| replaces && *after_ms > 0)
    else {
        return Ok(());
    };
    must(!is_always_due_again_within(&job.trigger, after_ms), || {
        let (field, value) = match job.policy.group() {
            Some(_) => ("policy.misfire", "latest-of-group"),
            None => ("policy.overlap", "replace"),
        };
        let (trigger, after) = (&job.trigger, Duration(after_ms.into()));
        let rule = format!(
            "the next run, by `{trigger}`, replaces each one before its step of {after} is due, so that this step is never \
             sent: make it earlier, make the job due less often, or leave `{value}` out"
        );
        Fault::new(field, value, rule)
    })
}

/// Returns whether a trigger is due so often that an owed step is put off for longer than allowed. Computed in UTC:
/// summer time makes no difference.
fn is_always_due_again_within(trigger: &Trigger, after_ms: u32) -> bool {
    match trigger {
        Trigger::Every(every) => every.period_ms <= u64::from(after_ms),
        Trigger::Cron(_) => {
            let (site, almanac) = (Site { zone: Zone::UTC, location: None }, &mut Almanac::default());
            let most_ms = i64::from(after_ms) + i64::from(limits::PUT_OFF_MS.max(after_ms));
            let found = |search| if let Search::Found(at) = search { Some(at) } else { None };
            let Some(mut first) = found(trigger.next(CLOCK_LOST_BEFORE, &site, almanac)) else {
                return false;
            };
            let (mut last, mut gaps, mut without_gap) = (first, 0, 0);
            while gaps < limits::GAPS_LOOKED_AT && without_gap < limits::OVERLAPS_LOOKED_AT {
                let Some(next) = found(trigger.next(last, &site, almanac)) else { return false };
                if next.ms_since(last) > i64::from(after_ms) {
                    (first, last, gaps, without_gap) = (next, next, gaps + 1, 0);
                    continue;
                }
                // The occurrences in between are before it, too.
                let newest = found(trigger.last(next, last.plus_ms(after_ms.into()), &site, almanac));
                last = newest.unwrap_or(next);
                without_gap += 1;
                if last.ms_since(first) > most_ms {
                    return true;
                }
            }
            without_gap == limits::OVERLAPS_LOOKED_AT
        }
        Trigger::At(_) | Trigger::Sun(_) => false,
    }
}

fn trigger(trigger: &Trigger) -> Checked {
    // All else is short.
    let bytes = trigger.days().map_or(0, |_| trigger.to_string().len());
    must(bytes <= limits::TRIGGER_BYTES, || {
        let rule = format!("it may have {}; put dates into a calendar", grouped(limits::TRIGGER_BYTES));
        Fault::new("trigger", format!("of {bytes} bytes as text"), rule)
    })?;
    match trigger {
        Trigger::Every(Every { period_ms, .. }) => {
            must((limits::PERIOD_MS..=limits::LONGEST_PERIOD_MS).contains(period_ms), || {
                Fault::new("trigger.every.period-ms", period_ms, "it must be 1,000 to 315,576,000,000 (ten years)")
            })
        }
        Trigger::Sun(sun) => {
            let Sun { offset_ms, .. } = **sun;
            must(offset_ms.unsigned_abs() <= limits::SUN_OFFSET_MS.unsigned_abs(), || {
                let rule = "it must be -43,200,000 to 43,200,000 (12 hours)";
                Fault::new("trigger.sun.offset-ms", offset_ms, rule)
            })?;
            sun.out_of_order().map_or(Ok(()), |OutOfOrder { earlier, later, counted_from }| {
                let field = if later.0 == "otherwise" { "trigger.sun.otherwise" } else { "trigger.sun.not-after" };
                let rule = format!("counted from {counted_from} on, it is earlier than `{}`, {}", earlier.0, earlier.1);
                Err(Fault::new(field, later.1, rule))
            })
        }
        Trigger::At(_) | Trigger::Cron(_) => Ok(()),
    }
}

/// Checks a plugin's reply to a task.
pub(super) fn reply(reply: &Reply) -> Checked {
    let count = reply.steps.len();
    must(count <= limits::STEPS_PER_ACTION, || Fault::new("steps", count, "there may be 0 to 100"))?;
    reply.note.as_deref().map_or(Ok(()), |note| text("note", note, limits::NOTE_BYTES))?;
    steps(&reply.steps)
}

/// Checks the summary of a task.
pub(super) fn summary(summary: &str) -> Checked {
    let bytes = summary.len();
    must((1..=limits::SUMMARY_BYTES).contains(&bytes), || {
        Fault::new("summary", format!("of {bytes} bytes"), "it must have 1 to 1,024 (1 KiB)")
    })?;
    printable("summary", summary)
}

/// Checks the steps of an action or a reply.
fn steps(list: &[Step]) -> Checked {
    let mut earlier = 0;
    for (index, step) in list.iter().enumerate() {
        let after_ms = step.after_ms;
        let in_order = must(after_ms >= earlier, || {
            Fault::new("after-ms", after_ms, format!("it must not be less than the step before, {earlier}"))
        });
        let checked = in_order.and_then(|()| message(&step.message));
        let checked = checked.and_then(|()| step.confirm.as_deref().map_or(Ok(()), confirm));
        checked.map_err(|fault| fault.within_step(index))?;
        earlier = after_ms;
    }
    Ok(())
}

fn message(message: &Message) -> Checked {
    let bytes = message.payload.len();
    must(bytes <= limits::PAYLOAD_BYTES, || {
        Fault::new("payload", format!("of {bytes} bytes"), "it may have 262,144 (256 KiB)")
    })?;
    message.properties.as_deref().map_or(Ok(()), properties)
}

fn properties(properties: &MessageProperties) -> Checked {
    let MessageProperties { expiry_ms, content_type, user, .. } = properties;
    must(*expiry_ms != Some(0), || Fault::new("properties.expiry-ms", 0, "it must be 1 or more"))?;
    must(user.len() <= limits::USER_PROPERTIES, || Fault::new("properties.user", user.len(), "there may be 16"))?;
    if let Some((name, _)) = user.iter().find(|(name, _)| name.starts_with("roost-")) {
        let rule = "names that start with `roost-` are the host's";
        return Err(Fault::new("properties.user", format!("`{}`", excerpt(name)), rule));
    }
    let texts = || user.iter().flat_map(|(name, value)| [name, value]).chain(content_type);
    let bytes: usize = texts().map(String::len).sum();
    must(bytes <= limits::PROPERTIES_BYTES, || {
        let rule = "the content type and the user properties may have 32,768 (32 KiB) together";
        Fault::new("properties", format!("of {bytes} bytes"), rule)
    })?;
    if let Some(char) = texts().flat_map(|text| text.chars()).find(|char| is_forbidden(*char)) {
        let value = format!("with the character U+{:04X}", u32::from(char));
        return Err(Fault::new("properties", value, "MQTT does not allow it"));
    }
    let kind = content_type.as_deref();
    kind.map_or(Ok(()), |kind| text("properties.content-type", kind, limits::CONTENT_TYPE_BYTES))?;
    let user = user.iter().flat_map(|(name, value)| [name, value]);
    user.into_iter().try_for_each(|text| printable("properties.user", text))
}

fn confirm(confirm: &Confirm) -> Checked {
    must(confirm.within_ms > 0, || Fault::new("confirm.within-ms", 0, "it must be 1 or more"))?;
    let short = |field, length: usize| {
        must(length <= limits::CONDITION_BYTES, || {
            Fault::new(field, format!("of {length} bytes"), "it may have 4,096 (4 KiB)")
        })
    };
    let pointer = |field, text: &str| {
        short(field, text.len())?;
        let rule = "it must be empty or begin with `/` (RFC 6901)";
        must(text.is_empty() || text.starts_with('/'), || Fault::new(field, format!("`{}`", excerpt(text)), rule))
    };
    match &confirm.matches {
        Matches::Any => Ok(()),
        Matches::Bytes(bytes) => short("confirm.matches.bytes", bytes.len()),
        Matches::Json { pointer: place, value } => {
            short("confirm.matches.json.value", value.len())?;
            pointer("confirm.matches.json.pointer", place)
        }
        Matches::JsonRange { pointer: place, min, max } => {
            must(min.is_finite() && max.is_finite() && min <= max, || {
                let rule = "both must be finite, and `min` at most `max`";
                Fault::new("confirm.matches.json-range", format!("{min} to {max}"), rule)
            })?;
            pointer("confirm.matches.json-range.pointer", place)
        }
    }
}

fn policy(policy: &Policy) -> Checked {
    if let Some((field, runs, accepted)) = policy.overlap.number() {
        let rule = || format!("it must be {} to {}", accepted.start(), grouped(*accepted.end() as usize));
        must(accepted.contains(&runs), || Fault::new(field, runs, rule()))?;
    }
    must(!policy.overlap.joins() || policy.group().is_none(), || {
        let rule = "a newer run of a group replaces older ones, so that no run waits or runs beside another: leave \
                    `overlap` out";
        Fault::new("policy.overlap", "with `latest-of-group`", rule)
    })?;
    let grace_ms = policy.grace_ms;
    must(grace_ms >= limits::GRACE_MS, || Fault::new("policy.grace-ms", grace_ms, "it must be 1,000 or more"))?;
    let Retry { attempts, backoff_ms, .. } = policy.retry;
    must(attempts != Some(0), || Fault::new("policy.retry.attempts", 0, "it must be 1 or more"))?;
    must(backoff_ms >= limits::BACKOFF_MS, || {
        Fault::new("policy.retry.backoff-ms", backoff_ms, "it must be 100 or more")
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{Message, Misfire, Overlap, Qos, Step},
        names::{GroupName, JobId},
        time::Instant,
        topic::Topic,
        trigger::{Context, CronCache, parse},
    };

    use super::*;

    /// Returns a job that opens a valve, and closes it after so many minutes.
    fn watering(trigger: &str, minutes: u32) -> Job {
        let step = |after_ms, payload: &str| {
            let topic = Topic::parse("valve").expect("a topic");
            let payload = payload.as_bytes().into();
            let message = Message { topic, payload, qos: Qos::AtLeastOnce, retain: false, properties: None };
            Step { after_ms, message, once: false, confirm: None }
        };
        Job {
            id: JobId::parse("water").expect("a name"),
            label: None,
            trigger: parse(trigger, &Context::at(Instant::MIN), &mut CronCache::default()).expect(trigger),
            action: Action::Steps([step(0, "ON"), step(minutes * 60_000, "OFF")].into()),
            policy: Policy { overlap: Overlap::Replace, ..Policy::default() },
        }
    }

    #[test]
    fn a_job_that_puts_off_its_owed_steps_without_end_is_refused() {
        for (trigger, minutes, is_refused) in [
            ("every 5m", 10, true),
            ("every 10m", 10, true),
            ("every 11m", 10, false),
            ("cron */5 * * * *", 10, true),
            ("cron * * * * * *", 10, true),
            ("cron */5 * * * *", 4, false),
            // For four hours, and for one.
            ("cron */5 6-9 * * *", 10, true),
            ("cron */5 6 * * *", 10, false),
            ("cron 30 6 * * *", 1_439, false),
            ("cron 30 6 * * *", 1_440, true),
            ("cron 0 6,18 * * MON", 900, false),
            ("cron 0 0 0 1 1 * 2030", 10, false),
            ("cron */2 * * * * *", 1, true),
            ("sunset", 1_500, false),
            ("at 2027-03-01T06:00:00Z", 10, false),
        ] {
            let replacing = watering(trigger, minutes);
            assert_eq!(
                super::job(&replacing).is_err(),
                is_refused,
                "{trigger}, {minutes}: {:?}",
                super::job(&replacing)
            );
            let skipping = Policy { overlap: Overlap::Skip, ..replacing.policy.clone() };
            assert_eq!(super::job(&Job { policy: skipping, ..replacing.clone() }), Ok(()), "{trigger}, {minutes}");
            let misfire = Misfire::LatestOfGroup(GroupName::parse("valve").expect("a name"));
            let grouped = Policy { overlap: Overlap::Skip, misfire, ..replacing.policy.clone() };
            assert_eq!(super::job(&Job { policy: grouped, ..replacing }).is_err(), is_refused, "{trigger}, {minutes}");
        }
    }

    #[test]
    fn the_fault_names_the_step_that_is_never_sent_and_the_remedy() {
        let fault = super::job(&watering("every 5m", 10)).expect_err("refused").to_string();
        assert_eq!(
            fault,
            "`policy.overlap` replace: the next run, by `every 5m`, replaces each one before its step of 10m is due, so that \
             this step is never sent: make it earlier, make the job due less often, or leave `replace` out"
        );
    }
}
