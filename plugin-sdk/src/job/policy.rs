//! How a job's runs are treated, when things do not go to plan.

use super::Job;
use crate::{Span, bindings::exports::roost::device::schedule as wit};

const EMPTY_RETRY: wit::Retry = wit::Retry { attempts: None, give_up_after_ms: None, backoff_ms: None };

/// How it is treated.
impl Job {
    /// For people: `Open the north door`. One line of characters that can be seen, at most 1 KiB. Else they see the id.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// How late a run may start, whatever held it up: the host was down, the broker away, what it needs taken. Later than
    /// that it is missed. Else 5 minutes; at least a second.
    pub fn grace(mut self, grace: Span) -> Self {
        self.policy.grace_ms = Some(self.length("grace", grace));
        self
    }

    /// Of runs that were missed, makes up for all that are within their [grace](Self::grace), oldest first. Else for the
    /// newest only. Right where each one counts, such as a dose; not where the newest says what should hold.
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
    /// outage, however long, only that one is made up for, because it says what should hold now; and a run that is
    /// still tried when a newer one of its group is due gives way to it. The name is made like a job's id. Such a job does
    /// not [`queue`](Self::queue) or [`allow`](Self::allow).
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

    /// A run that is due before the one before it has ended waits for that, within its [grace](Self::grace), and up to
    /// this many do so. Else it is left out. 1 to 1,000.
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

    /// A run that is due before the ones before it have ended starts all the same, if fewer than this many go on. Else
    /// it is left out. 2 to 1,000.
    pub fn allow(mut self, runs: u32) -> Self {
        self.policy.overlap = Some(wit::Overlap::Allow(runs));
        self
    }

    /// A run that is due ends the one before it, and starts. What that one still owes is sent at once, unless the new run
    /// publishes to the same topic. Else the new one is left out.
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, minutes};
    /// // Lit for ten minutes after the last one.
    /// let light = Job::cron("light", "*/5 18-22 * * *")
    ///     .replace()
    ///     .publish("porch/lamp/set", "ON")
    ///     .then(minutes(10), "porch/lamp/set", "OFF");
    /// ```
    pub fn replace(mut self) -> Self {
        self.policy.overlap = Some(wit::Overlap::Replace);
        self
    }

    /// Each run holds one of these from its first message to its last, and waits for it within its
    /// [grace](Self::grace). It is something the operator has a limited number of, and says so in `roost.toml`: a
    /// `[[resource]]` with `name = "pump"`, `capacity = 1`, and this plugin among its `plugins`. Without that the plan is
    /// refused, and so is a job whose messages take longer than the `longest_hold` of the resource (4 hours unless said).
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

    /// Starts each run up to this much late, a different but fixed time for each.
    pub fn jitter(mut self, jitter: Span) -> Self {
        self.policy.jitter_ms = Some(self.length("jitter", jitter));
        self
    }

    /// Of the plugin's runs that could start at the same time, the higher goes first. Else 0.
    pub fn priority(mut self, priority: i8) -> Self {
        self.policy.priority = Some(priority);
        self
    }

    /// Gives a message up after this many attempts. Else there is no such limit.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.policy.retry.get_or_insert(EMPTY_RETRY).attempts = Some(attempts);
        self
    }

    /// Gives a message up this long after the first attempt. Else 15 minutes.
    pub fn give_up_after(mut self, after: Span) -> Self {
        let after_ms = self.length("give_up_after", after);
        self.policy.retry.get_or_insert(EMPTY_RETRY).give_up_after_ms = Some(after_ms);
        self
    }

    /// Pauses this long before the second attempt, then twice as long each time, up to 5 minutes. Else a second.
    pub fn backoff(mut self, pause: Span) -> Self {
        let pause_ms = self.length("backoff", pause);
        self.policy.retry.get_or_insert(EMPTY_RETRY).backoff_ms = Some(pause_ms);
        self
    }
}
