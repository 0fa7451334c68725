//! What plans would change of the jobs that there are, told before they are taken up.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    body::PackedJob,
    event::{JobKey, LoadedDevice},
    names::{DeviceName, PluginName},
    time::Site,
    trigger::Trigger,
};

use super::{
    super::{limits, problem::Problem, state::ApiState},
    records::{DeviceDifferencesRecord, DifferencesRecord, SomeJobsRecord},
};

/// A job that is there.
struct Existing {
    job: PackedJob,
    site: Site,
    is_by_hand: bool,
}

type Jobs = HashMap<String, Existing>;

/// Compares what each device would do with what it does.
pub(super) async fn differences(
    desk: &ApiState,
    plugin: PluginName,
    devices: Vec<LoadedDevice>,
) -> Result<DifferencesRecord, Problem> {
    let existing = existing(desk, plugin).await?;
    // Of many jobs it takes long, and others ask as well.
    tokio::task::spawn_blocking(move || compared(existing, devices)).await.map_err(|error| Problem::bug(&error))
}

/// In pieces: a plugin may have many jobs.
async fn existing(desk: &ApiState, plugin: PluginName) -> Result<BTreeMap<DeviceName, Jobs>, Problem> {
    let mut found: BTreeMap<DeviceName, Jobs> = BTreeMap::new();
    let mut from = Some(JobKey::default());
    while let Some(start) = from {
        let plugin = plugin.clone();
        let piece = desk.look(move |scheduler| {
            let (jobs, next) = scheduler.jobs_from((Some(&plugin), None), start, limits::JOBS_PER_LOOK);
            let taken = jobs.into_iter().map(|view| {
                let is_by_hand = view.job_override.is_some_and(|wish| wish.ad_hoc.is_some());
                (view.device.clone(), Existing { job: view.job.clone(), site: *view.site, is_by_hand })
            });
            (taken.collect::<Vec<_>>(), next)
        });
        let (jobs, next) = piece.await?;
        for (device, existing) in jobs {
            found.entry(device).or_default().insert(existing.job.body.id().to_owned(), existing);
        }
        from = next;
    }
    Ok(found)
}

fn compared(mut existing: BTreeMap<DeviceName, Jobs>, devices: Vec<LoadedDevice>) -> DifferencesRecord {
    let mut told = BTreeMap::new();
    for LoadedDevice { name, site, plan } in devices {
        let jobs = existing.remove(&name).unwrap_or_default();
        let of_device = match plan {
            Ok(plan) => of_device(jobs, plan.jobs, site),
            // It keeps the plan it has.
            Err(error) => DeviceDifferencesRecord { error: Some(error), ..of_device_as_it_is(&jobs) },
        };
        told.insert(name, of_device);
    }
    for (name, jobs) in existing {
        let mut gone = DeviceDifferencesRecord::default();
        // With the device those go as well that people have made.
        jobs.keys().for_each(|id| add(&mut gone.gone, id));
        gone.gone.ids.sort();
        told.insert(name, gone);
    }
    let mut all = DifferencesRecord::default();
    for (name, mut device) in told {
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

/// As the scheduler compares them.
fn of_device(mut existing: Jobs, planned: Vec<PackedJob>, site: Site) -> DeviceDifferencesRecord {
    let mut told = DeviceDifferencesRecord::default();
    let conflict = |job: &&PackedJob| existing.get(job.body.id()).is_some_and(|existing| existing.is_by_hand);
    if let Some(job) = planned.iter().find(conflict) {
        let error = format!("job `{}`: there is a job of that name that was made by hand", job.body.id());
        return DeviceDifferencesRecord { error: Some(error), ..of_device_as_it_is(&existing) };
    }
    for job in planned {
        let id = job.body.id();
        let by_site = matches!(job.trigger, Trigger::Cron(_) | Trigger::Sun(_));
        let list = match existing.remove(id) {
            None => &mut told.new,
            Some(existing) if existing.job == job && (existing.site == site || !by_site) => &mut told.unchanged,
            Some(_) => &mut told.changed,
        };
        add(list, id);
    }
    gone_of(&mut told, existing);
    told
}

/// What no plan has goes, unless somebody has made it by hand.
fn gone_of(told: &mut DeviceDifferencesRecord, existing: Jobs) {
    existing.into_iter().filter(|(_, existing)| !existing.is_by_hand).for_each(|(id, _)| add(&mut told.gone, &id));
    told.gone.ids.sort();
}

fn of_device_as_it_is(jobs: &Jobs) -> DeviceDifferencesRecord {
    let mut told = DeviceDifferencesRecord::default();
    jobs.keys().for_each(|id| add(&mut told.unchanged, id));
    told
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
        time::Instant,
        trigger::{CronCache, parse},
        zone::Zone,
    };

    use super::*;

    fn job(id: &str, trigger: &str) -> Job {
        let (id, trigger) =
            (JobId::parse(id).unwrap(), parse(trigger, Instant::MIN, &mut CronCache::default()).unwrap());
        Job { id, label: None, trigger, action: Action::Steps(Arc::new([])), policy: Policy::default() }
    }

    fn there(site: Site, is_by_hand: bool, job: &Job) -> (String, Existing) {
        (job.id.to_string(), Existing { job: job.into(), site, is_by_hand })
    }

    fn planned(device: &str, site: Site, jobs: &[Job]) -> LoadedDevice {
        LoadedDevice { name: DeviceName::parse(device).unwrap(), site, plan: Ok(Plan::new(Instant::MIN, jobs)) }
    }

    #[test]
    fn jobs_are_compared_as_the_scheduler_does() {
        let london = Site { zone: zone("Europe/London"), location: None };
        let berlin = Site { zone: zone("Europe/Berlin"), location: None };
        let north = DeviceName::parse("north").unwrap();
        let existing = || {
            let jobs = [
                there(london, false, &job("daily", "cron 0 6 * * *")),
                there(london, false, &job("often", "every 1m")),
                there(london, false, &job("gone", "every 2m")),
                there(london, true, &job("mine", "every 3m")),
            ];
            BTreeMap::from([(north.clone(), jobs.into_iter().collect::<Jobs>())])
        };
        let plan = [job("daily", "cron 0 6 * * *"), job("often", "every 5m"), job("new", "every 1m")];
        let counts = |all: &DifferencesRecord| [all.new, all.changed, all.gone, all.unchanged];
        let same = compared(existing(), vec![planned("north", london, &plan)]);
        assert_eq!(counts(&same), [1, 1, 1, 1]);
        assert_eq!((&same.devices[0].changed.ids[0], &same.devices[0].gone.ids[0]), (&"often".into(), &"gone".into()));
        let moved = compared(existing(), vec![planned("north", berlin, &plan)]);
        assert_eq!(counts(&moved), [1, 2, 1, 0], "what follows the clock on the wall has changed");
        let another = compared(existing(), vec![planned("south", london, &plan)]);
        assert_eq!(counts(&another), [3, 0, 4, 0]);
        let taken = compared(existing(), vec![planned("north", london, &[job("mine", "every 1m")])]);
        assert_eq!(counts(&taken), [0, 0, 0, 4]);
        assert!(taken.devices[0].error.as_ref().unwrap().starts_with("job `mine`: "));
    }

    #[test]
    fn what_is_told_is_bounded() {
        let site = Site { zone: Zone::UTC, location: None };
        let jobs: Vec<Job> =
            (0..2 * limits::CHANGED_JOBS).map(|number| job(&format!("j{number}"), "every 1m")).collect();
        let many = 2 * limits::CHANGED_DEVICES;
        let devices = (0..many).map(|number| planned(&format!("d{number}"), site, &jobs)).collect();
        let all = compared(BTreeMap::new(), devices);
        assert_eq!((all.new, all.devices.len(), all.left_out), (many * jobs.len(), many / 2, many / 2));
        assert_eq!((all.devices[0].new.count, all.devices[0].new.ids.len()), (jobs.len(), limits::CHANGED_JOBS));
    }
}
