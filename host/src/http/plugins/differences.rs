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
    super::{desk::Desk, limits, problem::Problem},
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
    desk: &Desk,
    plugin: PluginName,
    devices: Vec<LoadedDevice>,
) -> Result<DifferencesRecord, Problem> {
    let existing = existing(desk, plugin).await?;
    // Of many jobs it takes long, and others ask as well.
    tokio::task::spawn_blocking(move || compared(existing, devices)).await.map_err(|error| Problem::bug(&error))
}

/// In pieces: a plugin may have many jobs.
async fn existing(desk: &Desk, plugin: PluginName) -> Result<BTreeMap<DeviceName, Jobs>, Problem> {
    let mut found: BTreeMap<DeviceName, Jobs> = BTreeMap::new();
    let mut from = Some(JobKey::default());
    while let Some(start) = from {
        let plugin = plugin.clone();
        let piece = desk.look(move |scheduler| {
            let (jobs, next) = scheduler.jobs_from((Some(&plugin), None), start, limits::JOBS_PER_LOOK);
            let taken = jobs.into_iter().map(|view| {
                let is_by_hand = view.wish.is_some_and(|wish| wish.by_hand.is_some());
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
            Err(error) => DeviceDifferencesRecord { error: Some(error), ..of_device_as_it_is(jobs) },
        };
        told.insert(name, of_device);
    }
    for (name, jobs) in existing {
        let mut gone = DeviceDifferencesRecord::default();
        gone_of(&mut gone, jobs);
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
        let error = format!("job `{}`: somebody has made a job of that name by hand", job.body.id());
        return DeviceDifferencesRecord { error: Some(error), ..of_device_as_it_is(existing) };
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

fn of_device_as_it_is(jobs: Jobs) -> DeviceDifferencesRecord {
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
