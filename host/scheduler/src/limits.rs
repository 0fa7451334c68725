//! Every bound in one place, each with what it protects from (I10).

use crate::time::Instant;

/// Names of devices, jobs and groups: long enough to say something, short enough for a topic and a table.
pub const NAME_BYTES: usize = 64;
/// Names of plugins: `<name>.wasm` must be a file name everywhere, and a DNS label.
pub const PLUGIN_NAME_BYTES: usize = 63;
/// Jobs in a plan: one guest must not fill the disk.
pub const JOBS_PER_PLAN: usize = 10_000;
/// Devices of a plugin: each is asked for a plan of its own.
pub const DEVICES_PER_PLUGIN: usize = 10_000;
/// Steps of an action: one run must not hold the link.
pub const STEPS_PER_ACTION: usize = 100;
/// Bytes of a job's label: a sentence, kept with the job and shown in tables.
pub const LABEL_BYTES: usize = 1_024;
/// Bytes of a message's content type: what RFC 6838 allows for both of its parts.
pub const CONTENT_TYPE_BYTES: usize = 255;
/// Bytes of a time zone's name for which a similar name is looked for: the search compares it with all 600 of them.
pub const ZONE_BYTES: usize = 64;
/// Tasks of a plugin: people choose from them.
pub const TASKS_PER_PLUGIN: usize = 100;
/// Bytes of what a task says of itself: a sentence.
pub const SUMMARY_BYTES: usize = 1_024;
/// Bytes of the schema of a task's arguments: it stays in memory while the plugin runs.
pub const SCHEMA_BYTES: usize = 16 * 1024;
/// Bytes of a task's arguments: they are kept with each job, and with each run of it.
pub const ARGS_BYTES: usize = 16 * 1024;
/// Bytes of a plugin's note on what it answered: a sentence, kept with the run.
pub const NOTE_BYTES: usize = 4_096;
/// Bytes of a topic: what every broker takes.
pub const TOPIC_BYTES: usize = 1024;
/// `/` in a topic: brokers take more for an attack, and end the connection (Mosquitto beyond 200, aedes beyond 99, whose
/// older versions crash).
pub const TOPIC_SEPARATORS: usize = 99;
/// Bytes of a payload: well under the packet limit that is agreed with the broker.
pub const PAYLOAD_BYTES: usize = 256 * 1024;
/// User properties of a message.
pub const USER_PROPERTIES: usize = 16;
/// Bytes of a message's content type and user properties together. With the payload this has to stay under the largest
/// packet that a broker takes: it may end the connection over a larger one, for all plugins alike (I7).
pub const PROPERTIES_BYTES: usize = 32 * 1024;
/// The shortest period of `every`: shorter ones are a stream, not a schedule.
pub const PERIOD_MS: u32 = 1_000;
/// The shortest grace: below it, the jitter of a busy machine would decide.
pub const GRACE_MS: u32 = 1_000;
/// The shortest pause before a second attempt.
pub const BACKOFF_MS: u32 = 100;
/// The longest pause between two attempts at a step.
pub const BACKOFF_CAP_MS: u32 = 300_000;
/// The furthest that a sun trigger may be moved, either way: half a day, or it would belong to another date.
pub const SUN_OFFSET_MS: i32 = 43_200_000;
/// Days that one search for a sun event looks at: a polar night must not hold up the loop.
pub const SUN_DAYS_PER_SEARCH: u32 = 31;
/// Days after which a sun trigger is said never to fire: more than a year without the event.
pub const SUN_DAYS: u32 = 400;
/// Runs of a job that wait or go on at once.
pub const RUNS_PER_JOB: u32 = 1_000;
/// How long a run may hold a resource unless the operator says otherwise: longer than anything waters, and short enough that
/// others have their turn on the same day.
pub const LONGEST_HOLD_MS: u32 = 14_400_000;
/// How much later than that a resource is taken from a run: the last step of one that takes exactly so long is on its way
/// then, and is acknowledged in time.
pub const HOLD_SLACK_MS: i64 = 60_000;
/// Runs that hold a resource, as many as are named to a person who asks what another one waits for.
pub const HOLDERS_PER_VIEW: usize = 4;
/// Bytes of a condition on a report, and of its pointer: each is kept with the job.
pub const CONDITION_BYTES: usize = 4_096;
/// How long a report that the broker has kept is waited for when one from before will do: it comes with the answer to the
/// subscription.
pub const KEPT_REPORT_MS: i64 = 250;
/// How long the broker's answer to a subscription is waited for, and the pause before it is asked again.
pub const SUBSCRIBE_MS: i64 = 10_000;
/// Bytes of a device's last report that are kept to explain a failure.
pub const REPORT_BYTES: usize = 80;
/// How long an owed step is sent again and again where the broker has no subscriber for its topic: a device that was there is back
/// soon, from its own restart or its broker's. What has never subscribed must not hold up the job's next run for longer.
pub const NO_SUBSCRIBER_MS: i64 = 300_000;
/// An owed step that is sent this much after its time is told to be late.
pub const LATE_MS: i64 = 1_000;
/// How long newer runs may put off an owed step by starting its time anew, or its own time again if that is longer: a light
/// that follows motion stays on, a watering is begun again, but a valve that was opened gets closed (I5).
pub const PUT_OFF_MS: u32 = 3_600_000;
/// Stretches of a cron expression's time, each as long as an owed step's, that are looked at without a gap before its runs
/// are said to put that step off for ever: a plan may have ten thousand such jobs.
pub const OVERLAPS_LOOKED_AT: usize = 512;
/// Gaps that are looked at for the same reason before it is taken to leave time.
pub const GAPS_LOOKED_AT: usize = 8;
/// The smallest step of the clock that counts as one: the shortest period, which no slewing reaches between two looks.
pub const CLOCK_STEP_MS: i64 = 1_000;
/// The beginning of 2026: a clock that shows less has lost the time, and what follows the wall clock waits until it is set.
pub const CLOCK_LOST_BEFORE: Instant = Instant::from_millis(1_767_225_600_000).expect("2026-01-01");
/// From here on the clock that was set back is one that was wrong, and not one that shows an hour twice: what follows the
/// wall clock goes on by it at once, as with cron(8).
pub const CLOCK_CORRECTION_MS: i64 = 10_800_000;
/// Timers that one step of the scheduler looks at before its event, and as many after it.
pub const TIMERS_PER_STEP: usize = 1_000;
/// Runs that one step looks at when the link has room.
pub const RUNS_PER_STEP: usize = 1_000;
/// Messages a second that a plugin may publish in the long run, unless the operator says otherwise: more than any house or
/// greenhouse sends, and a million runs of history last for a quarter of an hour at least.
pub const MESSAGES_PER_SECOND: u32 = 1_000;
/// Messages that it may publish at once after a pause: one for each device of a fleet of a hundred thousand, at midnight.
pub const MESSAGES_AT_ONCE: u32 = 100_000;
/// The longest that a plugin over its rate waits although a message might be sent, so that several go at once: a step for
/// each message would be most of the work.
pub const RATE_PAUSE_MS: u64 = 10;
/// Jobs that one step compares with a plan, adopts, arms or drops.
pub const JOBS_PER_STEP: usize = 250;
/// Jobs that one step looks at when the rules of time zones have changed: each is searched for once, and again if it moves.
pub const ZONED_JOBS_PER_STEP: u32 = 250;
/// Jobs and devices that one step looks at when the clock was set.
pub const SLOTS_PER_STEP: u32 = 2_000;
/// Places that one look at the jobs takes in: whoever looks must not hold up what is due.
pub const SLOTS_PER_VIEW: usize = 2_000;
/// Devices of a new version that one step sets up.
pub const DEVICES_PER_STEP: usize = 100;
/// Missed occurrences of a job that are counted one by one; of more it is only said that there are more.
pub const LOOK_BACK: u32 = 31;
/// Jobs that people have made: a program that makes them must not fill the memory.
pub const AD_HOC_JOBS: usize = 10_000;
/// Bytes of what all of them do, for the same reason.
pub const AD_HOC_BYTES: usize = 64 << 20;
/// How long a job that was made by hand stays when it is never due again: somebody wants to see what became of it, and
/// whoever asks for it twice is told that it is there.
pub const FINISHED_MS: i64 = 86_400_000;
/// The first pause before a plugin whose plan failed is asked again; it doubles.
pub const REPLAN_PAUSE_MS: i64 = 60_000;
/// The longest of these pauses.
pub const REPLAN_PAUSE_CAP_MS: i64 = 3_600_000;
/// How long the watermark of a job that is gone is kept: the longest grace there can be. An occurrence that is older
/// cannot start any more, whoever plans it; nor can one of a group, which has no grace, be planned first.
pub const TOMBSTONE_MS: i64 = u32::MAX as i64;
/// Tombstones that one step looks at for that.
pub const TOMBSTONES_PER_STEP: usize = 1_000;
/// How often old tombstones are looked for.
pub const FORGET_EVERY_MS: i64 = 86_400_000;
/// Days of sun events that are remembered: 2 MB at most, enough for three events a day at a thousand places.
pub const SUN_CACHE_DAYS: usize = 8_192;
/// Bytes of a trigger as a person writes it: a longer one is a mistake, and similar words are looked for in it.
pub const TRIGGER_BYTES: usize = 1_024;
/// The year 2500, in seconds since 1970: up to then the rules of a zone are written down, 17 kB where there is summer time. Later
/// years are as those 400 years before.
pub const ZONE_UNTIL_S: i64 = 16_725_225_600;
/// Bytes of a cron expression: a longer one is a mistake, and would be kept on disk.
pub const CRON_BYTES: usize = 256;
/// Parsed cron expressions that are kept before those that no job uses are forgotten: 2 MB.
pub const CRON_PATTERNS: usize = 8_192;
