//! The changes that the plans of an uploaded component would make to the existing jobs.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    body::PackedJob,
    event::{JobKey, LoadedDevice},
    names::{DeviceName, PluginName},
    scheduler::JobStatus,
    time::{Instant, Site},
    trigger::Trigger,
};

use super::{
    super::{limits, problem::Problem, state::ApiState},
    messages::{Changes, Timed},
    records::{DeviceDifferencesRecord, DifferencesRecord, MessageChangesRecord, SomeJobsRecord},
};

/// An existing job.
struct Existing {
    job: PackedJob,
    site: Site,
    is_ad_hoc: bool,
}

type Jobs = HashMap<String, Existing>;

/// Compares the plans of an uploaded component with the existing jobs of each device, and the messages in a period.
pub(super) async fn differences(
    state: &ApiState,
    plugin: &PluginName,
    devices: Vec<LoadedDevice>,
    period: (Instant, Instant),
) -> Result<(DifferencesRecord, MessageChangesRecord), Problem> {
    let existing = existing(state, plugin.clone()).await?;
    let (plugin, zone) = (plugin.clone(), state.zone());
    // On another thread, because there may be many jobs.
    let compared = tokio::task::spawn_blocking(move || {
        let mut changes = Changes::default();
        let jobs = compare(existing, devices, &mut changes);
        (jobs, changes.messages(&plugin, period, zone))
    });
    compared.await.map_err(|error| Problem::bug(&error))
}

/// Copies the jobs of a plugin, in batches: there may be many.
async fn existing(state: &ApiState, plugin: PluginName) -> Result<BTreeMap<DeviceName, Jobs>, Problem> {
    let mut found: BTreeMap<DeviceName, Jobs> = BTreeMap::new();
    let mut from = Some(JobKey::default());
    while let Some(start) = from {
        let plugin = plugin.clone();
        let batch =
            state.inspect(move |scheduler| scheduler.jobs_from((Some(&plugin), None), start, limits::JOBS_PER_QUERY));
        let (jobs, next) = batch.await?;
        for JobStatus { device, job, site, job_override, .. } in jobs {
            let existing = Existing { job, site, is_ad_hoc: job_override.ad_hoc.is_some() };
            found.entry(device).or_default().insert(existing.job.body.id().to_owned(), existing);
        }
        from = next;
    }
    Ok(found)
}

fn compare(
    mut existing: BTreeMap<DeviceName, Jobs>,
    devices: Vec<LoadedDevice>,
    changes: &mut Changes,
) -> DifferencesRecord {
    let mut found = BTreeMap::new();
    for LoadedDevice { name, site, plan } in devices {
        let jobs = existing.remove(&name).unwrap_or_default();
        let of_device = match plan {
            Ok(plan) => compare_device(&name, jobs, plan.jobs, site, changes),
            // The device keeps its current plan.
            Err(error) => DeviceDifferencesRecord { error: Some(error), ..unchanged(&jobs) },
        };
        found.insert(name, of_device);
    }
    for (name, jobs) in existing {
        let mut gone = DeviceDifferencesRecord::default();
        // The ad-hoc jobs of a device are removed with it.
        jobs.keys().for_each(|id| add(&mut gone.gone, id));
        gone.gone.ids.sort();
        jobs.into_values().for_each(|Existing { job, site, .. }| changes.old.push(Timed::new(&name, site, job)));
        found.insert(name, gone);
    }
    let mut all = DifferencesRecord::default();
    let (refused, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, device)| device.error.is_some());
    all.refused = refused.len();
    for (name, mut device) in refused.into_iter().chain(others) {
        all.new += device.new.count;
        all.changed += device.changed.count;
        all.gone += device.gone.count;
        all.unchanged += device.unchanged.count;
        if all.devices.len() == limits::CHANGED_DEVICES {
            all.left_out += 1;
            continue;
        }
        device.device = name.to_string();
        all.devices.push(device);
    }
    all
}

/// Compares the jobs of a device by the same rules as the scheduler.
fn compare_device(
    device: &DeviceName,
    mut existing: Jobs,
    planned: Vec<PackedJob>,
    site: Site,
    changes: &mut Changes,
) -> DeviceDifferencesRecord {
    let mut found = DeviceDifferencesRecord::default();
    let conflict = |job: &&PackedJob| existing.get(job.body.id()).is_some_and(|existing| existing.is_ad_hoc);
    if let Some(job) = planned.iter().find(conflict) {
        let error = format!("job `{}`: there is an ad-hoc job of that name", job.body.id());
        return DeviceDifferencesRecord { error: Some(error), ..unchanged(&existing) };
    }
    for job in planned {
        let id = job.body.id();
        let by_site = matches!(job.trigger, Trigger::Cron(_) | Trigger::Sun(_));
        let list = match existing.remove(id) {
            None => &mut found.new,
            Some(existing) if existing.job == job && (existing.site == site || !by_site) => {
                add(&mut found.unchanged, id);
                continue;
            }
            Some(existing) => {
                changes.old.push(Timed::new(device, existing.site, existing.job));
                &mut found.changed
            }
        };
        add(list, id);
        changes.new.push(Timed::new(device, site, job));
    }
    for (id, Existing { job, site, .. }) in existing.into_iter().filter(|(_, existing)| !existing.is_ad_hoc) {
        add(&mut found.gone, &id);
        changes.old.push(Timed::new(device, site, job));
    }
    found.gone.ids.sort();
    found
}

/// Returns the record of a device that keeps its jobs.
fn unchanged(jobs: &Jobs) -> DeviceDifferencesRecord {
    let mut found = DeviceDifferencesRecord::default();
    jobs.keys().for_each(|id| add(&mut found.unchanged, id));
    found
}

fn add(list: &mut SomeJobsRecord, id: &str) {
    list.count += 1;
    if list.ids.len() < limits::CHANGED_JOBS {
        list.ids.push(id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use crate::zones::zone;
    use std::sync::Arc;

    use roost_scheduler::{
        event::Plan,
        model::{Action, Job, Policy},
        names::JobId,
        trigger::{CronCache, parse},
        zone::Zone,
    };

    use super::*;

    fn compare(existing: BTreeMap<DeviceName, Jobs>, devices: Vec<LoadedDevice>) -> DifferencesRecord {
        super::compare(existing, devices, &mut Changes::default())
    }

    fn job(id: &str, trigger: &str) -> Job {
        let (id, trigger) =
            (JobId::parse(id).unwrap(), parse(trigger, Instant::MIN, &mut CronCache::default()).unwrap());
        Job { id, label: None, trigger, action: Action::Steps(Arc::new([])), policy: Policy::default() }
    }

    fn existing(site: Site, is_ad_hoc: bool, job: &Job) -> (String, Existing) {
        (job.id.to_string(), Existing { job: job.into(), site, is_ad_hoc })
    }

    fn planned(device: &str, site: Site, jobs: &[Job]) -> LoadedDevice {
        LoadedDevice { name: DeviceName::parse(device).unwrap(), site, plan: Ok(Plan::new(Instant::MIN, jobs)) }
    }

    #[test]
    fn jobs_are_compared_by_the_rules_of_the_scheduler() {
        let london = Site { zone: zone("Europe/London"), location: None };
        let berlin = Site { zone: zone("Europe/Berlin"), location: None };
        let north = DeviceName::parse("north").unwrap();
        let jobs_of_north = || {
            let jobs = [
                existing(london, false, &job("daily", "cron 0 6 * * *")),
                existing(london, false, &job("often", "every 1m")),
                existing(london, false, &job("gone", "every 2m")),
                existing(london, true, &job("mine", "every 3m")),
            ];
            BTreeMap::from([(north.clone(), jobs.into_iter().collect::<Jobs>())])
        };
        let plan = [job("daily", "cron 0 6 * * *"), job("often", "every 5m"), job("new", "every 1m")];
        let counts = |all: &DifferencesRecord| [all.new, all.changed, all.gone, all.unchanged];
        let same = compare(jobs_of_north(), vec![planned("north", london, &plan)]);
        assert_eq!(counts(&same), [1, 1, 1, 1]);
        assert_eq!((&same.devices[0].changed.ids[0], &same.devices[0].gone.ids[0]), (&"often".into(), &"gone".into()));
        let moved = compare(jobs_of_north(), vec![planned("north", berlin, &plan)]);
        assert_eq!(counts(&moved), [1, 2, 1, 0], "jobs that follow local time have changed");
        let another = compare(jobs_of_north(), vec![planned("south", london, &plan)]);
        assert_eq!(counts(&another), [3, 0, 4, 0]);
        let taken = compare(jobs_of_north(), vec![planned("north", london, &[job("mine", "every 1m")])]);
        assert_eq!(counts(&taken), [0, 0, 0, 4]);
        assert!(taken.devices[0].error.as_ref().unwrap().starts_with("job `mine`: "));
    }

    #[test]
    fn the_lists_are_bounded() {
        let site = Site { zone: Zone::UTC, location: None };
        let jobs: Vec<Job> =
            (0..2 * limits::CHANGED_JOBS).map(|number| job(&format!("j{number}"), "every 1m")).collect();
        let many = 2 * limits::CHANGED_DEVICES;
        let devices = (0..many).map(|number| planned(&format!("d{number}"), site, &jobs)).collect();
        let all = compare(BTreeMap::new(), devices);
        assert_eq!((all.new, all.devices.len(), all.left_out), (many * jobs.len(), many / 2, many / 2));
        assert_eq!((all.devices[0].new.count, all.devices[0].new.ids.len()), (jobs.len(), limits::CHANGED_JOBS));
    }

    #[test]
    fn devices_whose_plan_is_refused_are_first_however_many_there_are() {
        let site = Site { zone: Zone::UTC, location: None };
        let mut devices: Vec<_> =
            (0..limits::CHANGED_DEVICES).map(|number| planned(&format!("d{number}"), site, &[])).collect();
        devices.extend(["x", "z"].map(|name| LoadedDevice { plan: Err("no".into()), ..planned(name, site, &[]) }));
        let all = compare(BTreeMap::new(), devices);
        let first: Vec<_> = all.devices.iter().take(3).map(|device| device.device.as_str()).collect();
        assert_eq!((all.refused, all.left_out, first), (2, 2, vec!["x", "z", "d0"]));
    }
}
