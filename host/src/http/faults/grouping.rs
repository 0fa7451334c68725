//! Which faults have one reason: those whose texts differ only in names and numbers.

use std::collections::{BTreeMap, HashSet};

use roost_scheduler::{
    names::{DeviceName, JobId, PluginName, RunId},
    outcome::RunState,
    time::Instant,
    zone::Zone,
};

use super::{
    super::{limits, reason_template},
    FaultGroup, Faulty,
};
use crate::store::LastOutcome;

/// A plugin, a device or a job at fault.
pub(super) struct Fault {
    plugin: PluginName,
    device: Option<DeviceName>,
    job: Option<JobId>,
    run: Option<(RunId, RunState)>,
    reason: String,
    at: Option<Instant>,
    /// Whether an earlier version or plan goes on, where a new one was refused.
    is_kept: Option<bool>,
}

impl Fault {
    pub(super) fn of_plugin(plugin: PluginName, reason: String, at: Instant, is_kept: bool) -> Self {
        Self { plugin, device: None, job: None, run: None, reason, at: Some(at), is_kept: Some(is_kept) }
    }

    pub(super) fn of_device(plugin: PluginName, device: DeviceName, reason: String, is_kept: bool) -> Self {
        Self { plugin, device: Some(device), job: None, run: None, reason, at: None, is_kept: Some(is_kept) }
    }

    pub(super) fn of_job(LastOutcome { run, state, ended, reason }: LastOutcome) -> Self {
        let reason = reason.map(|reason| reason.to_string()).unwrap_or_default();
        let (plugin, device, job) = run.clone().into_job_name();
        Self {
            plugin,
            device: Some(device),
            job: Some(job),
            run: Some((run, state)),
            reason,
            at: Some(ended),
            is_kept: None,
        }
    }

    const fn kind(&self) -> &'static str {
        match (&self.run, &self.device) {
            (Some(_), _) => "run",
            (None, Some(_)) => "plan",
            (None, None) => "plugin",
        }
    }

    fn template(&self) -> String {
        let names = [
            Some(self.plugin.as_str()),
            self.device.as_ref().map(DeviceName::as_str),
            self.job.as_ref().map(JobId::as_str),
        ];
        reason_template::of_fault(&self.reason, names.map(Option::unwrap_or_default))
    }

    fn record(&self, zone: Zone) -> Faulty {
        let Self { plugin, device, job, run, at, .. } = self;
        let href = match (run, device) {
            (Some((run, _)), _) => format!("/api/v1/runs/{run}"),
            (None, Some(device)) => format!("/api/v1/devices?plugin={plugin}&q={device}"),
            (None, None) => format!("/api/v1/plugins/{plugin}"),
        };
        Faulty {
            plugin: plugin.to_string(),
            device: device.as_ref().map(ToString::to_string),
            job: job.as_ref().map(ToString::to_string),
            run: run.as_ref().map(|(run, _)| run.to_string()),
            at: at.map(|at| at.in_zone(zone)),
            href,
        }
    }
}

/// Faults by kind, outcome and reason.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<(&'static str, Option<&'static str>, String), Group>);

#[derive(Default)]
struct Group {
    count: usize,
    devices: HashSet<(PluginName, DeviceName)>,
    since: Option<Instant>,
    newest: Option<Instant>,
    kept: Option<usize>,
    example: String,
    /// The first by name.
    first: BTreeMap<(PluginName, Option<DeviceName>, Option<JobId>), Fault>,
}

impl Groups {
    pub(super) fn add(&mut self, fault: Fault) {
        let key = (fault.kind(), fault.run.as_ref().map(|(_, state)| state.as_str()), fault.template());
        let group = self.0.entry(key).or_default();
        group.count += 1;
        if let Some(device) = &fault.device {
            group.devices.insert((fault.plugin.clone(), device.clone()));
        }
        if let Some(is_kept) = fault.is_kept {
            group.kept = Some(group.kept.unwrap_or_default() + usize::from(is_kept));
        }
        group.since = group.since.into_iter().chain(fault.at).min();
        if group.count == 1 || fault.at > group.newest {
            group.example.clone_from(&fault.reason);
        }
        group.newest = group.newest.max(fault.at);
        group.first.insert((fault.plugin.clone(), fault.device.clone(), fault.job.clone()), fault);
        if group.first.len() > limits::FIRST_FAULTS {
            group.first.pop_last();
        }
    }

    /// Returns the groups, those with the most faults first, and the number of those that are too many.
    pub(super) fn into_records(self, zone: Zone) -> (Vec<FaultGroup>, usize) {
        let mut groups: Vec<_> = self.0.into_iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse((group.count, group.newest)));
        let more = groups.len().saturating_sub(limits::FAULT_GROUPS);
        groups.truncate(limits::FAULT_GROUPS);
        let record = |((kind, state, reason), group): ((&str, Option<&str>, String), Group)| FaultGroup {
            kind: kind.to_owned(),
            state: state.map(str::to_owned),
            reason,
            example: group.example,
            count: group.count,
            devices: group.devices.len(),
            kept: group.kept,
            since: group.since.map(|at| at.in_zone(zone)),
            newest: group.newest.map(|at| at.in_zone(zone)),
            first: group.first.values().map(|fault| fault.record(zone)).collect(),
        };
        (groups.into_iter().map(record).collect(), more)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn doors_that_fail_for_one_reason_are_one_group() {
        let mut groups = Groups::default();
        let at = |minute: i64| Instant::from_millis(1_803_859_200_000 + minute * 60_000).unwrap();
        for door in 0..52 {
            groups.add(Fault::of_job(LastOutcome {
                run: format!("coop-door/door-{door}/close/{}", at(0)).parse().unwrap(),
                state: RunState::Failed,
                ended: at(door),
                reason: Some(format!("the device did not confirm step {door}").as_str().into()),
            }));
        }
        let (plugin, device) = (PluginName::parse("sprinkler").unwrap(), DeviceName::parse("garden").unwrap());
        groups.add(Fault::of_device(plugin.clone(), device, "zone 9 of garden is unknown\nhint: name it".into(), true));
        groups.add(Fault::of_plugin(plugin, "`schedule-jobs` ran longer than 500 ms".into(), at(7), false));
        let (records, more) = groups.into_records(Zone::UTC);
        assert_eq!(more, 0);
        let shown = |group: &FaultGroup| {
            let first: Vec<&str> = group.first.iter().map(|faulty| faulty.href.as_str()).take(2).collect();
            let since = group.since.as_deref().unwrap_or("?");
            format!(
                "{} {} of {} devices since {since}: {}\n  {}",
                group.kind,
                group.count,
                group.devices,
                group.reason,
                first.join("\n  ")
            )
        };
        expect![[r#"
            run 52 of 52 devices since 2027-03-01T00:00:00Z: the device did not confirm step …
              /api/v1/runs/coop-door/door-0/close/2027-03-01T00:00:00Z
              /api/v1/runs/coop-door/door-1/close/2027-03-01T00:00:00Z
            plugin 1 of 0 devices since 2027-03-01T00:07:00Z: `…` ran longer than … ms
              /api/v1/plugins/sprinkler
            plan 1 of 1 devices since ?: zone … of … is unknown
              /api/v1/devices?plugin=sprinkler&q=garden"#]]
        .assert_eq(&records.iter().map(shown).collect::<Vec<_>>().join("\n"));
        assert_eq!(records[0].example, "the device did not confirm step 51");
        assert_eq!(records[0].first.len(), limits::FIRST_FAULTS);
        assert_eq!(records.iter().map(|group| group.kept).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
    }
}
