//! The policies of jobs.

use super::Job;
use crate::{Span, bindings::exports::roost::device::schedule as wit};

const EMPTY_RETRY: wit::Retry = wit::Retry { attempts: None, give_up_after_ms: None, backoff_ms: None };

/// The policy for the job's runs.
impl Job {
    /// The label that users see: `Open the north door`. One line of printable characters, at most 1 KiB. Default: the
    /// id.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// How late a run may start, for whatever reason: the host was down, the broker unreachable, the resource in use.
    /// After that it is missed. Default: 5 minutes; at least a second.
    pub fn grace(mut self, grace: Span) -> Self {
        self.policy.grace_ms = Some(self.length("grace", grace));
        self
    }

    /// Catches up all missed runs that are within their [grace](Self::grace), oldest first, instead of only the newest.
    /// Right if each run counts, such as a dose; wrong if the newest sets the state that should hold.
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, hours};
    /// let dose = Job::every("dose", hours(1)).grace(hours(6)).run_all().publish("doser/tank/pump/dose", "5 ml").once();
    /// ```
    pub fn run_all(mut self) -> Self {
        self.policy.misfire = Some(wit::Misfire::RunAll);
        self
    }

    /// Puts the job into a group of jobs of which only the newest run counts: `open` and `close` of a door. After an
    /// outage of any length only that run is caught up, because it sets the state that should hold now; and a run that
    /// is still being tried when a newer one of its group is due yields to it. The name follows the rules of a job's
    /// id. Such a job cannot [`queue`](Self::queue) or [`allow`](Self::allow).
    ///
    /// ```
    /// # use roost_plugin_sdk::Job;
    /// let open = Job::sunrise("open").latest_of_group("door").publish("coop-door/north/door/set", "OPEN");
    /// let close = Job::sunset("close").latest_of_group("door").publish("coop-door/north/door/set", "CLOSE");
    /// ```
    pub fn latest_of_group(mut self, group: impl Into<String>) -> Self {
        self.policy.misfire = Some(wit::Misfire::LatestOfGroup(group.into()));
        self
    }

    /// A run that is due before the previous one has ended waits for it, within its [grace](Self::grace); up to this
    /// many may wait. Otherwise it is skipped. 1 to 1,000.
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, hours, minutes};
    /// let zone = Job::every("drip", hours(1))
    ///     .queue(3)
    ///     .grace(hours(3))
    ///     .publish("sprinkler/hedge/valve/set", "ON")
    ///     .then(minutes(50), "sprinkler/hedge/valve/set", "OFF");
    /// ```
    pub fn queue(mut self, runs: u32) -> Self {
        self.policy.overlap = Some(wit::Overlap::Queue(runs));
        self
    }

    /// A run that is due before the previous ones have ended starts anyway, if fewer than this many are active.
    /// Otherwise it is skipped. 2 to 1,000.
    pub fn allow(mut self, runs: u32) -> Self {
        self.policy.overlap = Some(wit::Overlap::Allow(runs));
        self
    }

    /// A run that is due ends the previous one, and starts. Owed messages of the previous run are sent at once, unless
    /// the new run publishes to the same topic. Otherwise the new run is skipped.
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, minutes};
    /// // On for ten minutes after the last run.
    /// let light = Job::cron("light", "*/5 18-22 * * *")
    ///     .replace()
    ///     .publish("porch/lamp/set", "ON")
    ///     .then(minutes(10), "porch/lamp/set", "OFF");
    /// ```
    pub fn replace(mut self) -> Self {
        self.policy.overlap = Some(wit::Overlap::Replace);
        self
    }

    /// Each run holds one unit of this resource from its first message to its last, and waits for it within its
    /// [grace](Self::grace). The operator configures resources in `roost.toml`: a `[[resource]]` with `name = "pump"`,
    /// `capacity = 1`, and this plugin among its `plugins`. Without that the plan is refused, and so is a job with
    /// messages that take longer than the `longest_hold` of the resource (4 hours by default).
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, hours, minutes};
    /// let lawn = Job::daily("lawn", "05:00")
    ///     .needs("pump")
    ///     .grace(hours(2))
    ///     .publish("sprinkler/lawn/valve/set", "ON")
    ///     .then(minutes(10), "sprinkler/lawn/valve/set", "OFF");
    /// ```
    pub fn needs(mut self, resource: impl Into<String>) -> Self {
        self.policy.needs = Some(resource.into());
        self
    }

    /// Starts each run up to this much late: a different but fixed delay for each.
    pub fn jitter(mut self, jitter: Span) -> Self {
        self.policy.jitter_ms = Some(self.length("jitter", jitter));
        self
    }

    /// Among the plugin's runs that could start at the same time, the higher priority goes first. Default: 0.
    pub fn priority(mut self, priority: i8) -> Self {
        self.policy.priority = Some(priority);
        self
    }

    /// Gives a message up after this many attempts. Default: no limit.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.policy.retry.get_or_insert(EMPTY_RETRY).attempts = Some(attempts);
        self
    }

    /// Gives a message up this long after the first attempt. Default: 15 minutes.
    pub fn give_up_after(mut self, after: Span) -> Self {
        let after_ms = self.length("give_up_after", after);
        self.policy.retry.get_or_insert(EMPTY_RETRY).give_up_after_ms = Some(after_ms);
        self
    }

    /// Pauses this long before the second attempt, then twice as long each time, up to 5 minutes. Default: a second.
    pub fn backoff(mut self, pause: Span) -> Self {
        let pause_ms = self.length("backoff", pause);
        self.policy.retry.get_or_insert(EMPTY_RETRY).backoff_ms = Some(pause_ms);
        self
    }
}
