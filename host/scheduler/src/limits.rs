//! Every bound in one place, each with what it protects from (I10).

/// Names of devices, jobs and groups: long enough to say something, short enough for a topic and a table.
pub const NAME_BYTES: usize = 64;
/// Names of plugins: `<name>.wasm` must be a file name everywhere, and a DNS label.
pub const PLUGIN_NAME_BYTES: usize = 63;
/// Jobs in a plan: one guest must not fill the disk.
pub const JOBS_PER_PLAN: usize = 10_000;
/// Steps of an action: one run must not hold the link.
pub const STEPS_PER_ACTION: usize = 100;
/// Bytes of a topic: what every broker takes.
pub const TOPIC_BYTES: usize = 1024;
/// Bytes of a payload: well under the packet limit that is agreed with the broker.
pub const PAYLOAD_BYTES: usize = 256 * 1024;
/// User properties of a message.
pub const USER_PROPERTIES: usize = 16;
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
/// Days of sun events that are remembered: 2 MB at most, enough for three events a day at a thousand places.
pub const SKY_DAYS: usize = 8_192;
/// Bytes of a cron expression: a longer one is a mistake, and would be kept on disk.
pub const CRON_BYTES: usize = 256;
/// Parsed cron expressions that are kept before those that no job uses are forgotten: 2 MB.
pub const CRON_PATTERNS: usize = 8_192;
