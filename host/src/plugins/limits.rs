//! Every bound of this edge in one place, each with what it protects from (I10).

use std::time::Duration;

/// Bytes of a component: four times the largest that is known to be of use, and what a compile's memory allows.
pub(super) const COMPONENT_BYTES: u64 = 64 << 20;
/// Bytes of a plugin's settings: room for thousands of devices, and read into memory whole.
pub(super) const SETTINGS_BYTES: u64 = 8 << 20;
/// Bytes of what all devices of a plugin are configured with, each with its copy of what they share: ten thousand with six
/// kilobytes each.
pub(super) const CONFIG_BYTES: usize = 64 << 20;
/// Address space of a compile at the most: one that wants more is a bomb, or too large for the machines that Roost is made
/// for.
pub(super) const COMPILE_ADDRESS_SPACE: u64 = 1_536 << 20;
/// The same on a small machine: what an ordinary plugin takes, half of it the compiler's own code. With less, none would
/// compile.
pub(super) const COMPILE_ADDRESS_SPACE_LEAST: u64 = 128 << 20;
/// A compile may take as large a part of the machine's memory, and one that is begun beside it half of that: together they
/// leave a quarter to the host and to everything else.
pub(super) const COMPILE_SHARE: u64 = 2;
/// Bytes of a compiled component: several times those of the largest component. A bomb must not fill the disk.
pub(super) const COMPILED_BYTES: u64 = 512 << 20;
/// Bytes of a seal that are read: one more than it has.
pub(super) const SEAL_BYTES: u64 = 33;
/// Threads of a compile: each takes address space for a stack and an arena of its own.
pub(super) const COMPILE_THREADS: usize = 2;
/// CPU seconds of a compile. A hostile file can keep a compiler busy for hours.
pub(super) const COMPILE_CPU_S: u64 = 60;
/// A compile that does not even get the CPU it is allowed must not hold up all others for ever.
pub(super) const COMPILE_WALL: Duration = Duration::from_secs(300);
/// A compile beside one that takes long: what is not done by then starts over when that one has ended, so that bombs
/// hold up others for no longer than this each. An ordinary plugin takes a tenth of it.
pub(super) const COMPILE_SOON: Duration = Duration::from_secs(3);
/// Bytes kept of what a compile says when it fails.
pub(super) const COMPILE_ERROR_BYTES: usize = 16 << 10;
/// Threads that guests run on, however many cores there are: they are not what keeps time.
pub(super) const GUEST_THREADS: usize = 2;
/// Added to the niceness of guests and compiles, so that the loop, the store and the link come first.
pub(super) const NICE: i32 = 10;
/// Calls that compute at a time: each may copy `lift_mib`. One that waits for something gives its turn to another.
pub(super) const CALLS_AT_ONCE: usize = 2;
/// Calls of guests with one memory at a time, waiting ones included: what waits must not hold up what does not, and each takes
/// four gigabytes of address space.
pub(super) const ORDINARY_CALLS: usize = 24;
/// Calls of guests with several memories at a time, which take sixteen times as much.
pub(super) const LARGE_CALLS: usize = 1;
/// All of them.
pub(super) const CALLS_ALIVE: usize = ORDINARY_CALLS + LARGE_CALLS;
/// Tables of an ordinary guest: its own, and one of each part that the toolchain puts beside it. Each takes 8 MiB of address
/// space.
pub(super) const ORDINARY_TABLES: u32 = 8;
/// MiB of memory that each call has, whatever others take: as much as a guest in Rust wants, twice.
pub(super) const CALL_MIB: u32 = 4;
/// MiB that the answer to anything but a question for a plan may hold: such answers are kept, or sent, one by one.
pub(super) const LIFT_MIB: u32 = 1;
/// Questions of people's at a time: each holds its answer, and more wait where they are asked.
pub(super) const QUERIES: usize = 8;
/// Components that stay mapped between calls, each with a quarter of a megabyte or, of some toolchains, many. To map one
/// again takes less than a call.
pub(super) const COMPONENTS_READY: usize = 16;
/// Loads at a time: more than there are places for calls, so that those whose plans are waited for do not hold up the others.
pub(super) const LOADS_AT_ONCE: usize = 64;
/// Bytes of the components that are being loaded, from the folder to the plan: one of the largest, and small ones beside it.
/// The others stay in the folder until it is their turn.
pub(super) const LOAD_BYTES: u64 = 72 << 20;
/// How long a file waits before it is looked at again whether there is room for it.
pub(super) const LOAD_PAUSE: Duration = Duration::from_millis(100);
/// How often a guest that computes is interrupted, and the unit in which its CPU time is counted.
pub(super) const EPOCH: Duration = Duration::from_millis(10);
/// Core instances and tables of one call: what components of every toolchain need, with room.
pub(super) const INSTANCES: usize = 200;
/// Memories of one call: most have one, and one for each part that they were put together from. Each takes four
/// gigabytes of address space, of which small machines have 256.
pub(super) const MEMORIES: usize = 16;
/// Bytes of what the runtime keeps of an instance, which grows with the component.
pub(super) const INSTANCE_BYTES: usize = COMPONENT_BYTES as usize;
/// Stacks of all calls: one for each, and one for each place where an asynchronous guest waits. What was touched of them
/// is never given back, half a megabyte each at most.
pub(super) const STACKS: u32 = 96;
/// Bytes of a memory, and of a table, that are kept for the next call: what an ordinary call touches.
pub(super) const KEPT_BYTES: usize = 256 << 10;
/// Elements of all tables of one call: 8 bytes each, which count as memory.
pub(super) const TABLE_ELEMENTS: usize = 1 << 20;
/// Handles a guest may hold: each is a small allocation of the host's.
pub(super) const HANDLES: usize = 10_000;
/// Random bytes in one request: the host makes them before the guest's memory limit can object.
pub(super) const RANDOM_BYTES: u64 = 64 << 10;
/// Bytes of a line in a plugin's log.
pub(super) const LINE_BYTES: usize = 4 << 10;
/// Lines a minute in a plugin's log: one guest must not fill the disk or push out the lines of others.
pub(super) const LINES_PER_MINUTE: u32 = 1_000;
/// Bytes kept of the sentence that a call ends with when it fails: it is logged, shown, and kept with the device.
pub(super) const MESSAGE_BYTES: usize = 4 << 10;
/// Bytes kept of the end of a call's standard error, for the error that tells of its failure.
pub(super) const STDERR_TAIL_BYTES: usize = 2 << 10;
/// Functions named of a trap's backtrace: the innermost say what happened.
pub(super) const FRAMES: usize = 6;
/// Sightings that wait for the registry.
pub(super) const FOLDER_EVENTS: usize = 4;
/// Notifications that wait for the watch; more make it scan.
pub(super) const NOTIFICATIONS: usize = 1_024;
/// Bytes kept of each sentence of why files were refused, and how many sentences: each plugin has such a report.
pub(super) const REPORT_BYTES: usize = 4 << 10;
pub(super) const REPORT_CAUSES: usize = 8;
/// Candidates that stay compiled after they were tried, for when they are put into the folder: whoever tries any number must
/// not fill the disk.
pub(super) const TRIED: usize = 4;
