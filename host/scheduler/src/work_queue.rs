//! The queue of work on plans: plugin versions, removals, plans, jobs of clients, a clock that was set and changed zones,
//! which are processed in order and in bounded pieces (I10).

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    mem,
    sync::Arc,
    vec,
};

use crate::{
    body::PackedJob,
    event::{
        CommitToken, DeviceKey, Generation, JobKey, Loaded, LoadedDevice, NewJob, Plan, PluginKey, RequestId, Version,
    },
    names::{CalendarName, DeviceName, JobName, PluginName},
    occurrence::Next,
    outcome::Cancelled,
    time::{Instant, Site},
    zone::Zone,
};

/// An item of the work queue.
#[derive(Debug)]
pub(crate) enum Work {
    Load(Box<Loaded>),
    LoadDevices(Box<Loading>),
    Remove(PluginName),
    /// A new plan of one device.
    Replan {
        plugin: PluginName,
        device: DeviceName,
        generation: Generation,
        plan: Result<Plan, String>,
    },
    Compare(Box<Comparison>),
    Adopt(Box<Adoption>),
    /// Request the plans of these devices.
    RequestPlans(vec::IntoIter<DeviceKey>),
    /// Add an ad-hoc job.
    Schedule(RequestId, Box<NewJob>),
    /// Cancel an ad-hoc job.
    Cancel(RequestId, JobName),
    /// Arm the jobs of a durable plan.
    Arm(CommitToken, Vec<JobKey>),
    DropDevice(DeviceKey, Cancelled),
    /// Examine devices and jobs from these keys on after the clock was set.
    ClockSet {
        device: DeviceKey,
        job: JobKey,
    },
    /// Examine devices and jobs after time zone rules have changed.
    ZonesChanged(Box<ZonesChanged>),
    /// Examine jobs from this key on after calendars have changed.
    CalendarsChanged {
        names: Vec<CalendarName>,
        job: JobKey,
    },
    /// Finish a plugin after its devices, with its new version if there is one.
    Finish(PluginKey, Option<Version>),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct WorkQueue {
    work: VecDeque<Work>,
    /// Whether a plan is partly adopted: its changes must be committed together.
    adopting: bool,
    /// The generation of the plugin that was loaded last; no two loads share one.
    generation: Generation,
}

impl WorkQueue {
    pub(crate) fn push(&mut self, work: Work) {
        self.work.push_back(work);
    }

    pub(crate) fn push_front(&mut self, work: Work) {
        self.work.push_front(work);
    }

    /// Puts items in front of the queue, in this order.
    pub(crate) fn put_in_front(&mut self, work: Vec<Work>) {
        for work in work.into_iter().rev() {
            self.work.push_front(work);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Work> {
        self.work.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    pub(crate) fn take_all(&mut self) -> VecDeque<Work> {
        mem::take(&mut self.work)
    }

    pub(crate) const fn is_adopting(&self) -> bool {
        self.adopting
    }

    pub(crate) const fn set_adopting(&mut self, adopting: bool) {
        self.adopting = adopting;
    }

    pub(crate) const fn new_generation(&mut self) -> Generation {
        self.generation += 1;
        self.generation
    }
}

/// A new version of a plugin while its devices are set up.
#[derive(Debug)]
pub(crate) struct Loading {
    pub(crate) plugin: PluginKey,
    pub(crate) version: Version,
    pub(crate) left: vec::IntoIter<LoadedDevice>,
    /// Devices of the previous version that have not been found in this one.
    pub(crate) gone: BTreeMap<DeviceName, DeviceKey>,
}

/// The basis on which the jobs of a plan are compared and adopted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basis {
    pub(crate) device: DeviceKey,
    pub(crate) requested_at: Instant,
    /// The clock series of the comparison.
    pub(crate) series: u32,
    /// The device's site for this plan.
    pub(crate) site: Site,
    /// Whether it is a single ad-hoc job instead of a plan.
    pub(crate) is_ad_hoc: bool,
}

/// A device's plan that is being compared with its jobs.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) basis: Basis,
    pub(crate) remaining: vec::IntoIter<PackedJob>,
    /// The device's ad-hoc jobs, if the device has moved and they must be examined.
    pub(crate) ad_hoc: vec::IntoIter<PackedJob>,
    pub(crate) unchanged: HashSet<JobKey>,
    pub(crate) staged: Vec<Staged>,
}

/// A compared plan that is being adopted.
#[derive(Debug)]
pub(crate) struct Adoption {
    pub(crate) basis: Basis,
    pub(crate) gone: vec::IntoIter<JobKey>,
    pub(crate) staged: vec::IntoIter<Staged>,
    pub(crate) token: CommitToken,
    pub(crate) unconfirmed: Vec<JobKey>,
}

/// A new or changed job, and its next occurrence.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) job: PackedJob,
    pub(crate) existing: Option<JobKey>,
    /// The watermark when it was compared.
    pub(crate) watermark: Instant,
    /// The watermark by a clock that was set back since, if it was.
    pub(crate) decided: Instant,
    pub(crate) next: Next,
    pub(crate) planned_late: bool,
}

/// A traversal of devices and jobs after rules have changed.
#[derive(Debug)]
pub(crate) struct ZonesChanged {
    /// The zones with changed rules; `None` if unknown.
    pub(crate) zones: Option<Vec<Zone>>,
    /// The name of the rules in use.
    pub(crate) rules: Arc<str>,
    pub(crate) device: DeviceKey,
    pub(crate) job: JobKey,
    /// The number of jobs that are due at another time.
    pub(crate) moved: u64,
}

impl ZonesChanged {
    pub(crate) fn concerns(&self, zone: Zone) -> bool {
        self.zones.as_ref().is_none_or(|zones| zones.contains(&zone))
    }
}
