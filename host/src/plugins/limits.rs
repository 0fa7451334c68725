//! The bounds of this edge, each with its reason (I10).

use std::time::Duration;

/// Bytes of a component: four times the largest known useful one, and within the memory of a compile.
pub(super) const COMPONENT_BYTES: u64 = 64 << 20;
/// Bytes of a plugin's settings file, which is read as a whole: enough for thousands of devices.
pub(super) const SETTINGS_BYTES: u64 = 8 << 20;
/// Bytes of the configuration of all devices of a plugin, each with its copy of the shared part: ten thousand devices
/// with six kilobytes each.
pub(super) const CONFIG_BYTES: usize = 64 << 20;
/// The most address space of a compile. A component that needs more is hostile, or too large for the machines that
/// Roost supports.
pub(super) const COMPILE_ADDRESS_SPACE: u64 = 1_536 << 20;
/// The address space of a compile on a small machine: enough for an ordinary plugin. Half of it is the compiler's own
/// code.
pub(super) const COMPILE_ADDRESS_SPACE_LEAST: u64 = 128 << 20;
/// The divisor of the machine's memory for a compile. A second compile in parallel may take half of that, so that a
/// quarter of the memory remains for the host and other programs.
pub(super) const COMPILE_SHARE: u64 = 2;
/// Bytes of a compiled component: several times the largest component. A hostile one must not fill the disk.
pub(super) const COMPILED_BYTES: u64 = 512 << 20;
/// Bytes of a seal file that are read: one more than a seal's length.
pub(super) const SEAL_BYTES: u64 = 33;
/// Threads of a compile. Each takes address space for its stack and arena.
pub(super) const COMPILE_THREADS: usize = 2;
/// The wall-clock time of a compile, as a multiple of its CPU time, so that one that gets little CPU time does not delay
/// all others forever.
pub(super) const COMPILE_WALL: u32 = 5;
/// The wall-clock time of a compile in the short lane, after which it starts over in the long lane. A hostile component
/// delays others by at most this. An ordinary plugin takes a tenth of it.
pub(super) const COMPILE_SOON: Duration = Duration::from_secs(3);
/// The time after which the log says that a plugin is still being compiled: an ordinary one takes far less.
pub(super) const COMPILE_NOTICE: Duration = Duration::from_secs(2);
/// Bytes kept of the standard error of a failed compile.
pub(super) const COMPILE_ERROR_BYTES: usize = 16 << 10;
/// Threads for guests, regardless of the number of cores: guests are not time-critical.
pub(super) const GUEST_THREADS: usize = 2;
/// Added to the niceness of guests and compiles, so that the core, the store and the link have priority.
pub(super) const NICE: i32 = 10;
/// Calls that compute at the same time, each of which may copy `lift_mib`. A call that waits yields its turn to
/// another.
pub(super) const CALLS_AT_ONCE: usize = 2;
/// Calls of guests with one memory under way at the same time, including waiting ones, which must not delay the others.
/// Each takes four gigabytes of address space.
pub(super) const ORDINARY_CALLS: usize = 24;
/// Calls of guests with several memories under way at the same time, which take sixteen times as much address space.
pub(super) const LARGE_CALLS: usize = 1;
/// All calls under way at the same time.
pub(super) const CALLS_ALIVE: usize = ORDINARY_CALLS + LARGE_CALLS;
/// Tables of an ordinary guest: its own, and one for each module that the toolchain adds. Each takes 8 MiB of address
/// space.
pub(super) const ORDINARY_TABLES: u32 = 8;
/// MiB of memory reserved for each call, regardless of other calls: twice as much as an ordinary guest in Rust uses.
pub(super) const CALL_MIB: u32 = 4;
/// MiB of an answer other than a plan. Such answers are stored or sent one by one.
pub(super) const LIFT_MIB: u32 = 1;
/// Queries of the operator under way at the same time, because each holds its answer. Further ones wait.
pub(super) const QUERIES: usize = 8;
/// Components that stay mapped between calls: a quarter of a megabyte each, or several megabytes from some toolchains.
/// Mapping one again takes less time than a call.
pub(super) const COMPONENTS_READY: usize = 16;
/// Loads under way at the same time: more than call slots, so that loads that wait for plans do not delay the others.
pub(super) const LOADS_AT_ONCE: usize = 64;
/// Bytes of all components that are being loaded: one of the largest, and some small ones. The others stay unread in
/// the folder until there is room.
pub(super) const LOAD_BYTES: u64 = 72 << 20;
/// The pause before the next check whether there is room to load a file.
pub(super) const LOAD_PAUSE: Duration = Duration::from_millis(100);
/// The interval in which a computing guest is interrupted, and the unit of its CPU time.
pub(super) const EPOCH: Duration = Duration::from_millis(10);
/// Core instances and tables of one call: more than the components of known toolchains need.
pub(super) const INSTANCES: usize = 200;
/// Memories of one call: most components have one, and composed ones have one for each part. Each takes four gigabytes
/// of address space, of which small machines have 256.
pub(super) const MEMORIES: usize = 16;
/// Bytes of the runtime's data for an instance, which grows with the component.
pub(super) const INSTANCE_BYTES: usize = COMPONENT_BYTES as usize;
/// Stacks of all calls: one for each call, and one for each task of an asynchronous guest. Pages of them that were used
/// are never released, at most half a megabyte each.
pub(super) const STACKS: u32 = 96;
/// Bytes of a memory, and of a table, that stay resident for the next call: as much as an ordinary call uses.
pub(super) const KEPT_BYTES: usize = 256 << 10;
/// Elements of all tables of one call. They take 8 bytes each, which count as memory.
pub(super) const TABLE_ELEMENTS: usize = 1 << 20;
/// Handles of a guest. Each is a small allocation in the host.
pub(super) const HANDLES: usize = 10_000;
/// Random bytes in one request: the host creates them before the guest's memory limit applies.
pub(super) const RANDOM_BYTES: u64 = 64 << 10;
/// Bytes of a line in a plugin's log.
pub(super) const LINE_BYTES: usize = 4 << 10;
/// Lines per minute in a plugin's log: a guest must neither fill the disk nor displace the lines of others.
pub(super) const LINES_PER_MINUTE: u32 = 1_000;
/// Bytes kept of the error that a failed call returns, which is logged, shown and stored with the device.
pub(super) const MESSAGE_BYTES: usize = 4 << 10;
/// Bytes kept of the end of a call's standard error, for the report of its failure.
pub(super) const STDERR_TAIL_BYTES: usize = 2 << 10;
/// Functions of a trap's backtrace that are named, beginning with the innermost.
pub(super) const FRAMES: usize = 6;
/// Folder events that wait for the registry.
pub(super) const FOLDER_EVENTS: usize = 4;
/// Notifications that wait for the watch. Further ones cause a scan.
pub(super) const NOTIFICATIONS: usize = 1_024;
/// Bytes of each text, and the number of causes, in the report why a plugin's files were refused.
pub(super) const REPORT_BYTES: usize = 4 << 10;
pub(super) const REPORT_CAUSES: usize = 8;
/// Components that stay compiled after a trial, in case they are installed. The number is limited so that trials cannot
/// fill the disk.
pub(super) const TRIED: usize = 4;
/// How long a file must stay unchanged if a scan found the change, and no notification.
pub(super) const UNANNOUNCED: Duration = Duration::from_millis(500);
/// The pause before an incomplete file is read again.
pub(super) const INCOMPLETE_RETRY: Duration = Duration::from_millis(250);
/// How long a file may be incomplete before that is reported.
pub(super) const INCOMPLETE_REPORTED: Duration = Duration::from_secs(2);
/// I9: a file that comes back within this time does not count as removed.
pub(super) const GONE: Duration = Duration::from_secs(3);
/// The interval between scans. It limits the delay on file systems without notifications, such as network and container
/// file systems.
pub(super) const SCAN: Duration = Duration::from_secs(5);
/// How long files that are being written may delay the end of the initial scan, and thereby the readiness of the host.
pub(super) const INITIAL_SCAN: Duration = Duration::from_secs(10);
/// The interval between scans while the folder cannot be read. Such a scan costs little.
pub(super) const SCAN_AWAY: Duration = Duration::from_secs(1);
