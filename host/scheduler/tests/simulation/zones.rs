//! Changes of time zone rules.

use expect_test::expect;
use roost_scheduler::{
    event::{Event, Plan, Request},
    model::Job,
    names::{DeviceName, JobId, PluginName},
    time::Site,
    zone::Zone,
};

use crate::{
    dsl::{at, check, check_only, in_group, job, lines, loaded, name, with},
    world::World,
};

fn rules(of: &str) -> &'static [u8] {
    Zone::bundled_bytes(of).expect(of)
}

/// Returns a world at 06:00 UTC with a device in a time zone of its own, which no other test uses.
fn world(of: &str, jobs: &[Job]) -> (World, Zone) {
    let town = Zone::from_tzif("Test/Town", rules(of)).expect("rules");
    let mut world = World::new(at("2027-03-01T06:00:00Z"));
    world.link_up(100);
    let site = Site { zone: town, location: roost_scheduler::time::Location::new(51.5, -0.1) };
    let plan = Plan::new(world.now, jobs);
    world.step(loaded(1, vec![("north", site, Ok(plan))]));
    world.run_until(at("2027-03-01T06:00:00Z"));
    world.log.clear();
    (world, town)
}

fn change(world: &mut World, town: Zone, of: &str) {
    town.update(rules(of)).expect("rules");
    world.step(Event::ZonesChanged { zones: Some(vec![town]), rules: "2027a".into() });
    world.run_until(world.now);
}

fn daily() -> Vec<Job> {
    vec![
        job("seven", "cron 0 7 * * *", &[(0, "seven")]),
        job("noon", "cron 0 12 * * * in Europe/London", &[(0, "noon")]),
        job("five", "cron */5 * * * *", &[(0, "five")]),
        job("every", "every 12h", &[(0, "every")]),
    ]
}

fn sent(world: &World, topic: &str) -> Vec<String> {
    let topic = format!("publish {topic} #1");
    lines(world)
        .iter()
        .filter(|line| line.ends_with(&topic))
        .map(|line| line.replace(&format!(" {topic}"), ""))
        .collect()
}

#[test]
fn an_occurrence_that_is_not_due_yet_moves_once_and_is_reported() {
    let (mut world, town) = world("Etc/GMT", &daily());
    change(&mut world, town, "Etc/GMT+1");
    check(
        &world,
        &expect![[r#"
            06:00:00 time zones 2027a: 1 jobs moved
        "#]],
    );
    world.run_until(at("2027-03-02T09:00:00Z"));
    assert_eq!(sent(&world, "seven"), ["08:00:00", "2027-03-02T08:00:00"]);
    assert_eq!(sent(&world, "noon"), ["12:00:00"]);
    assert_eq!(sent(&world, "every"), ["12:00:00", "2027-03-02T00:00:00"]);
    assert_eq!(sent(&world, "five").len(), 27 * 12);
}

#[test]
fn a_run_of_the_old_rules_does_not_come_again_by_the_new_rules() {
    for (before, after, next) in [("Etc/GMT", "Etc/GMT+1", "08:00:00"), ("Etc/GMT+1", "Etc/GMT", "07:00:00")] {
        let (mut world, town) = world(before, &daily());
        world.run_until(at("2027-03-01T08:10:00Z"));
        let first = sent(&world, "seven");
        change(&mut world, town, after);
        // The host restarts with the new rules: nothing moves again.
        world.crash();
        world.link_up(100);
        world.step(Event::ZonesChanged { zones: None, rules: "2027a".into() });
        world.run_until(at("2027-03-02T09:00:00Z"));
        assert_eq!(sent(&world, "seven"), [first[0].clone(), format!("2027-03-02T{next}")], "{before} {after}");
        check_only(
            &world,
            "time zones",
            &expect![[r#"
                08:10:00 time zones 2027a: 1 jobs moved
                08:10:00 time zones 2027a: 0 jobs moved
            "#]],
        );
        check_only(&world, "missed", &expect![[""]]);
    }
}

#[test]
fn rules_that_changed_while_the_host_was_down_move_planned_occurrences() {
    let (mut world, town) = world("Etc/GMT", &daily());
    town.update(rules("Etc/GMT+1")).expect("rules");
    world.crash();
    world.link_up(100);
    world.step(Event::ZonesChanged { zones: None, rules: "2027a".into() });
    world.run_until(at("2027-03-01T09:00:00Z"));
    assert_eq!(sent(&world, "seven"), ["08:00:00"]);
}

#[test]
fn sun_events_do_not_move_but_their_times_of_day_do() {
    let jobs = [
        job("dusk", "sunset not-after 17:30", &[(0, "dusk")]),
        in_group("open", "sunrise not-before 07:00", &[(0, "open")]),
        with(job("jittered", "cron 0 20 * * *", &[(0, "jittered")]), |job| job.policy.jitter_ms = 600_000),
    ];
    let (mut world, town) = world("Etc/GMT", &jobs);
    change(&mut world, town, "Etc/GMT+1");
    check(
        &world,
        &expect![[r#"
            06:00:00 time zones 2027a: 3 jobs moved
        "#]],
    );
    world.run_until(at("2027-03-01T22:00:00Z"));
    assert_eq!(sent(&world, "open"), ["08:00:00"]);
    // The sun sets at 17:40 UTC, which is before 17:30 local time.
    assert_eq!(sent(&world, "dusk").iter().map(|at| &at[..5]).collect::<Vec<_>>(), ["17:40"]);
    assert_eq!(sent(&world, "jittered")[0][..3], *"21:");
}

#[test]
fn a_skipped_occurrence_stays_skipped_when_rules_change() {
    let (mut world, town) = world("Etc/GMT", &daily());
    let (plugin, device) = (name(PluginName::parse("coop")), name(DeviceName::parse("north")));
    world.request(Request::Skip { job: (plugin, device, name(JobId::parse("seven"))), undo: false });
    world.run_until(world.now);
    change(&mut world, town, "Etc/GMT+1");
    world.run_until(at("2027-03-02T09:00:00Z"));
    assert_eq!(sent(&world, "seven"), ["2027-03-02T08:00:00"]);
}
