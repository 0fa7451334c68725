//! The limits, each with what it protects from (I10).

/// Bytes of the name of a device, a job or a group: it must fit into a topic and a table.
pub const NAME_BYTES: usize = 64;
/// Bytes of a plugin's name: `<name>.wasm` must be a valid file name on every system, and the name a DNS label.
pub const PLUGIN_NAME_BYTES: usize = 63;
/// Jobs in a plan, so that no plugin can fill the disk.
pub const JOBS_PER_PLAN: usize = 10_000;
/// Devices of a plugin: each has a plan of its own.
pub const DEVICES_PER_PLUGIN: usize = 10_000;
/// Steps of an action, so that one run cannot occupy the link.
pub const STEPS_PER_ACTION: usize = 100;
/// Bytes of a job's label: a sentence, kept with the job and shown in tables.
pub const LABEL_BYTES: usize = 1_024;
/// Bytes of a message's content type: what RFC 6838 allows for both of its parts.
pub const CONTENT_TYPE_BYTES: usize = 255;
/// Bytes of an unknown name for which a similar one is suggested: no name is longer, and that of a time zone is compared
/// with 600 others.
pub const SUGGESTION_BYTES: usize = 64;
/// Tasks of a plugin: users choose from the list.
pub const TASKS_PER_PLUGIN: usize = 100;
/// Bytes of a task's summary: a sentence.
pub const SUMMARY_BYTES: usize = 1_024;
/// Bytes of the schema of a task's arguments: it stays in memory while the plugin runs.
pub const SCHEMA_BYTES: usize = 16 * 1024;
/// Bytes of a task's arguments: they are kept with each job, and with each run of it.
pub const ARGS_BYTES: usize = 16 * 1024;
/// Bytes of the note in a task's reply: a sentence, kept with the run.
pub const NOTE_BYTES: usize = 4_096;
/// Bytes of a topic: what every broker accepts.
pub const TOPIC_BYTES: usize = 1024;
/// `/` in a topic: brokers consider more of them an attack, and end the connection (Mosquitto beyond 200, aedes beyond
/// 99, whose older versions crash).
pub const TOPIC_SEPARATORS: usize = 99;
/// Bytes of the host's own topic: the names of a plugin, a device and a job fit below it.
pub const HOST_TOPIC_BYTES: usize = 64;
/// Bytes of the reason of a pause: half a sentence, in tables and with each run that it skips.
pub const PAUSE_REASON_BYTES: usize = 200;
/// Bytes of a payload: well below the packet size that is negotiated with the broker.
pub const PAYLOAD_BYTES: usize = 256 * 1024;
/// User properties of a message.
pub const USER_PROPERTIES: usize = 16;
/// Bytes of a message's content type and user properties together. With the payload they must stay below the largest
/// packet that a broker accepts: it may end the connection over a larger one, for all plugins alike (I7).
pub const PROPERTIES_BYTES: usize = 32 * 1024;
/// The shortest period of `every`: a shorter one is a stream, not a schedule.
pub const PERIOD_MS: u64 = 1_000;
/// The longest period, in milliseconds: ten years.
pub const LONGEST_PERIOD_MS: u64 = 315_576_000_000;
/// The shortest grace, in milliseconds: below it, the scheduling jitter of a busy machine would decide.
pub const GRACE_MS: u32 = 1_000;
/// The shortest pause before a second attempt, in milliseconds.
pub const BACKOFF_MS: u32 = 100;
/// The longest time for which the link may hold a message back, in milliseconds.
pub const HOLD_BACK_MS: u32 = 300_000;
/// The largest offset of a sun trigger in either direction, in milliseconds: 12 hours, so that it stays on its date.
pub const SUN_OFFSET_MS: i32 = 43_200_000;
/// Days that one search for a sun event examines: a polar night must not block the loop.
pub const SUN_DAYS_PER_SEARCH: u32 = 31;
/// Days without the event after which a sun trigger is considered never to fire: more than a year.
pub const SUN_DAYS: u32 = 400;
/// Runs of a job that wait or are active at the same time.
pub const RUNS_PER_JOB: u32 = 1_000;
/// How long a run may hold a resource unless configured otherwise, in milliseconds: longer than any watering, and short
/// enough that others have their turn on the same day.
pub const LONGEST_HOLD_MS: u32 = 14_400_000;
/// How much later than that the resource is released, in milliseconds: the last step of a run that takes exactly that
/// long is being sent then, and is acknowledged in time.
pub const HOLD_SLACK_MS: i64 = 60_000;
/// Holders of a resource that are listed to explain why a run waits.
pub const HOLDERS_PER_VIEW: usize = 4;
/// Bytes of a condition on a report, and of its pointer: each is kept with the job.
pub const CONDITION_BYTES: usize = 4_096;
/// How long a retained report is waited for where an earlier report counts, in milliseconds: it arrives right after the
/// answer to the subscription.
pub const KEPT_REPORT_MS: i64 = 250;
/// How long the broker's answer to a subscription is waited for, and the pause before the next try, in milliseconds.
pub const SUBSCRIBE_MS: i64 = 10_000;
/// Bytes of a device's last report that are kept to explain a failure.
pub const REPORT_BYTES: usize = 80;
/// How long an owed step is sent again while its topic has no subscriber, in milliseconds: a device that was there is
/// back soon after its own restart or its broker's. A topic that never had a subscriber must not hold up the job's next
/// run for longer.
pub const NO_SUBSCRIBER_MS: i64 = 300_000;
/// An owed step that is sent this much after its time, in milliseconds, is recorded as late.
pub const LATE_MS: i64 = 1_000;
/// How long newer runs may put off an owed step by restarting its time, in milliseconds, or its own delay if that is
/// longer: a light that follows motion stays on, a watering starts again, but an open valve is closed (I5).
pub const PUT_OFF_MS: u32 = 3_600_000;
/// How many consecutive occurrences of a cron expression, each before the owed step of the previous one is due, are
/// examined before its runs are considered to put that step off for ever: a plan may have ten thousand such jobs.
pub const OVERLAPS_LOOKED_AT: usize = 512;
/// How many gaps are examined in the same search before the expression is considered to leave enough time.
pub const GAPS_LOOKED_AT: usize = 8;
/// The smallest clock change that counts as a step, in milliseconds: the shortest period, which slewing never reaches
/// between two readings.
pub const CLOCK_STEP_MS: i64 = 1_000;
/// A clock that is set back by this much, in milliseconds, was wrong and is not just repeating an hour: triggers that
/// follow the wall clock continue from its new time at once, as in cron(8).
pub const CLOCK_CORRECTION_MS: i64 = 10_800_000;
/// The work that each part of one step does, in units of about a fifth of a microsecond: a step takes less than a
/// millisecond, so that due runs never wait longer for other work.
pub const BUDGET_OF_STEP: u32 = 2_000;
/// The cost of a timer.
pub const TIMER_COST: u32 = 2;
/// The cost of a run that is sent.
pub const RUN_COST: u32 = 2;
/// The cost of a job or a device that is only looked at, because the clock was set.
pub const SLOT_COST: u32 = 1;
/// The cost of a job that is compared with a plan, adopted, armed, moved, removed or scheduled: most need a search.
pub const JOB_COST: u32 = 8;
/// The cost of a device that is set up or asked for its plan.
pub const DEVICE_COST: u32 = 20;
/// The cost of a tombstone that is examined.
pub const TOMBSTONE_COST: u32 = 2;
/// Messages a second that a plugin may publish in the long run unless configured otherwise: more than any house or
/// greenhouse sends, and a history of a million runs lasts for at least a quarter of an hour.
pub const MESSAGES_PER_SECOND: u32 = 1_000;
/// Messages that it may publish at once after a pause: one for each of two thousand devices, at midnight. A broker passes
/// them on in a twentieth of a second; meanwhile each message of another plugin is some ten milliseconds late.
pub const MESSAGES_AT_ONCE: u32 = 2_000;
/// The longest that a plugin over its rate waits although a message could be sent, in milliseconds, so that several are
/// sent together: one step for each message would be most of the work.
pub const RATE_PAUSE_MS: u64 = 10;
/// Slots for jobs, devices, plugins or runs that are allocated together: growing must not move a million others.
pub const SLOTS_PER_PAGE: usize = 1_024;
/// Slots that one query of jobs or runs examines: queries must not hold up due runs.
pub const SLOTS_PER_VIEW: usize = 2_000;
/// Missed occurrences of a job that are counted one by one; beyond it, only the fact that there are more is recorded.
pub const LOOK_BACK: u32 = 31;
/// Ad-hoc jobs: a program that creates them must not fill the memory.
pub const AD_HOC_JOBS: usize = 10_000;
/// Bytes of all ad-hoc jobs together, for the same reason.
pub const AD_HOC_BYTES: usize = 64 << 20;
/// How long a finished ad-hoc job is kept, in milliseconds: users can see how it ended, and a repeated request finds
/// it.
pub const FINISHED_MS: i64 = 86_400_000;
/// The pause before a plan is requested again after a failure, in milliseconds; it doubles each time.
pub const REPLAN_PAUSE_MS: i64 = 60_000;
/// The longest of these pauses, in milliseconds.
pub const REPLAN_PAUSE_CAP_MS: i64 = 3_600_000;
/// How long the tombstone of a removed job is kept, in milliseconds: the longest possible grace. An older occurrence
/// cannot start any more, whichever plan has it; and an `at` of a group, which has no grace, cannot be planned that
/// late either.
pub const TOMBSTONE_MS: i64 = u32::MAX as i64;
/// How often expired tombstones are removed, in milliseconds.
pub const FORGET_EVERY_MS: i64 = 86_400_000;
/// Days of sun events that are cached: 2 MB at most, enough for three events a day at a thousand locations.
pub const ALMANAC_DAYS: usize = 8_192;
/// Characters of a value in an error message: the beginning identifies it, and a long one must not fill the log.
pub const EXCERPT_CHARS: usize = 120;
/// Lists of days in a trigger, such as `MON-FRI` or a range of dates: more are better kept in a calendar.
pub const DAY_RANGES: usize = 32;
/// Days or weeks between two days of a trigger that counts them.
pub const INTERVAL_COUNT: u16 = 1_000;
/// Days that a search for one of a trigger's days looks ahead or back: 29 February on a given day of the week is at
/// most 40 years away.
pub const DAYS_AHEAD: u64 = 40 * 366;
/// Ranges of dates in a calendar: forty holidays a year for a century.
pub const CALENDAR_RANGES: usize = 4_000;
/// Named calendars.
pub const CALENDARS: usize = 100;
/// Bytes of a trigger's text: a longer one is a mistake, and similar words are searched for in it.
pub const TRIGGER_BYTES: usize = 2_048;
/// The year 2500, in seconds since 1970: up to then the rules of a zone are compared with updated ones. Later years are
/// the same as those 400 years before.
pub const ZONE_UNTIL_S: i64 = 16_725_225_600;
/// Bytes of a cron expression: a longer one is a mistake, and would be stored.
pub const CRON_BYTES: usize = 256;
/// Parsed cron expressions that are cached before those that no job uses are dropped: 2 MB.
pub const CRON_PATTERNS: usize = 8_192;
