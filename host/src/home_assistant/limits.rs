//! Bounds of the devices in Home Assistant, each with its reason (I10).

use std::time::Duration;

/// Jobs of a device that have a button: a person finds no more of them in a list.
pub(super) const JOBS: usize = 20;
/// Tasks of a device that have a button.
pub(super) const TASKS: usize = 20;
/// Components of a description on the broker that are read: more than twice as many as Roost describes.
pub(super) const COMPONENTS: usize = 500;
/// Jobs that are looked at in one turn of the loop, which waits meanwhile.
pub(super) const JOBS_PER_QUERY: usize = 500;
/// Devices whose names are read in one turn of the loop.
pub(super) const DEVICES_PER_QUERY: usize = 500;
/// Events that are read at the same time.
pub(super) const EVENTS_PER_READ: usize = 1_000;
/// The pause between two descriptions of a device: Home Assistant loses components of the second one while it sets up
/// the first, and gives new names to what is removed and described again at once.
pub(super) const BETWEEN_DESCRIPTIONS: Duration = Duration::from_secs(5);
/// The pause between two states of a device.
pub(super) const BETWEEN_STATES: Duration = Duration::from_secs(1);
/// The pause between two states of the host, of which the lateness changes all the time.
pub(super) const BETWEEN_HOST_STATES: Duration = Duration::from_secs(10);
/// Changes of a device's next and last run that are published at once, and events of a job; after that, one in each
/// [`REFILL`]: a job may be due each second.
pub(super) const BURST: u32 = 5;
/// The pause between two such changes, and between two events of a job, when there are many.
pub(super) const REFILL: Duration = Duration::from_secs(60);
/// The pause after each of many devices that are described or whose states are published: due messages share the broker
/// and the machine with them, and Home Assistant takes twice as long for a device.
pub(super) const BULK_PACE: Duration = Duration::from_millis(10);
/// How long a device must be gone before it is removed.
pub(super) const GONE: Duration = Duration::from_secs(3);
/// How long the broker must have sent no retained message before they count as read.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// The limit for reading them.
pub(super) const READING: Duration = Duration::from_secs(30);
/// What is at fault is looked at again after this: no event says that a plugin's files are those of the running version
/// again.
pub(super) const AT_FAULT: Duration = Duration::from_secs(5);
/// All devices are looked at again after this, in case a change came without an event.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Messages that wait for the connection. Beyond that, the events of runs are dropped: the state has the last run.
pub(super) const EVENTS: usize = 1_000;
/// Jobs of which it is known how often their runs ended lately. Beyond that, those that are due rarely are forgotten.
pub(super) const FREQUENT: usize = 10_000;
/// Commands that are carried out at the same time. Beyond that they are refused: they may be a flood.
pub(super) const COMMANDS: usize = 32;
/// The longest command.
pub(super) const COMMAND_BYTES: usize = 64 * 1024;
/// Refused commands that are logged in a minute.
pub(super) const REFUSALS_LOGGED: u32 = 20;
/// Bytes of a message that an attribute shows.
pub(super) const PAYLOAD_BYTES: usize = 255;
/// The nice value of the thread: it yields to the loop.
pub(super) const NICE: i32 = 5;
