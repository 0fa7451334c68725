//! Property tests of triggers, and the effects of clock changes.

use chrono::{Datelike, NaiveDate, NaiveTime, TimeZone, Timelike};
use proptest::prelude::*;
use roost_scheduler::{
    calendar,
    time::{Instant, Location, Site},
    trigger::{Almanac, CronCache, Every, Never, Search, Sun, SunEvent, Trigger, parse},
    zone::Zone,
};

const DAY_MS: i64 = 86_400_000;

const ZONES: [&str; 9] = [
    "UTC",
    "Europe/London",
    "America/New_York",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "America/Santiago",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
];

fn zone(name: &str) -> Zone {
    calendar::parse_zone(name).expect(name)
}

fn at(text: &str) -> Instant {
    chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339").into()
}

fn site(zone: Zone) -> Site {
    Site { zone, location: Location::new(51.5, -0.1) }
}

fn cron(expression: &str) -> Trigger {
    Trigger::Cron(CronCache::default().cron(expression, None).expect(expression))
}

/// Returns every occurrence in `after < occurrence ≤ until`, oldest first.
fn between(trigger: &Trigger, after: Instant, until: Instant, site: &Site, almanac: &mut Almanac) -> Vec<Instant> {
    let (mut times, mut from) = (Vec::new(), after);
    loop {
        match trigger.next(from, site, almanac) {
            Search::Found(time) if time <= until => {
                assert!(time > from, "`{trigger}`: {time} is not after {from}");
                times.push(time);
                from = time;
            }
            Search::NotUntil(bound) if bound < until => {
                assert!(bound > from, "`{trigger}`: the search does not get on from {from}");
                from = bound;
            }
            _ => return times,
        }
    }
}

/// Returns the newest occurrence, with as many searches as it takes.
fn last(trigger: &Trigger, after: Instant, until: Instant, site: &Site, almanac: &mut Almanac) -> Option<Instant> {
    let mut until = until;
    loop {
        match trigger.last(after, until, site, almanac) {
            Search::Found(time) => return Some(time),
            Search::Never(_) => return None,
            Search::NotUntil(bound) => {
                assert!(bound < until, "`{trigger}`: the search does not get on from {until}");
                until = bound;
            }
        }
    }
}

fn zones() -> impl Strategy<Value = Zone> {
    prop::sample::select(ZONES.to_vec()).prop_map(zone)
}

/// Returns instants from 2025 to 2030, mostly within two days of a clock change.
fn instants() -> impl Strategy<Value = Instant> {
    let changes = [
        "2027-03-28T01:00:00Z",
        "2027-10-31T01:00:00Z",
        "2027-03-14T07:00:00Z",
        "2027-11-07T06:00:00Z",
        "2027-04-03T15:00:00Z",
        "2027-10-02T15:30:00Z",
        "2027-04-04T03:00:00Z",
        "2027-09-05T04:00:00Z",
        "2027-03-27T22:00:00Z",
    ];
    let near = (prop::sample::select(changes.to_vec()), -2 * DAY_MS..2 * DAY_MS);
    prop_oneof![
        (1_735_689_600_000_i64..1_893_456_000_000).prop_map(Instant::from_millis_clamped),
        near.prop_map(|(change, millis)| at(change).plus_ms(millis)),
        near_whole_hours(changes),
    ]
}

fn near_whole_hours(changes: [&'static str; 9]) -> impl Strategy<Value = Instant> {
    let near = (prop::sample::select(changes.to_vec()), -6..6_i64, -1..=1_i64);
    near.prop_map(|(change, half_hours, millis)| at(change).plus_ms(half_hours * 1_800_000 + millis))
}

/// Returns a field: `*`, `*/2`, `5`, `5-9`, `5-9/2` or a list of them.
fn fields(min: u32, max: u32) -> impl Strategy<Value = String> {
    let range = (min..=max, min..=max, 1..9_u32).prop_map(|(a, b, step)| (a.min(b), a.max(b), step));
    let item = range.prop_flat_map(|(from, to, step)| {
        prop::sample::select(vec![format!("{from}"), format!("{from}-{to}"), format!("{from}-{to}/{step}")])
    });
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => (2..9_u32).prop_map(|step| format!("*/{step}")),
        4 => prop::collection::vec(item, 1..3).prop_map(|items| items.join(",")),
    ]
}

fn days_of_month() -> impl Strategy<Value = String> {
    let special = (1..=31_u32).prop_map(|day| format!("{day}W"));
    prop_oneof![4 => fields(1, 31), 2 => Just("*".into()), 1 => Just("L".into()), 1 => Just("LW".into()), 1 => special]
}

fn days_of_week() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec!["MON-FRI", "SAT,SUN", "SAT-SUN", "tue"]).prop_map(str::to_owned);
    let special = (0..=7_u32, 1..=5_u32, any::<bool>());
    let special =
        special.prop_map(|(day, nth, is_last)| if is_last { format!("{day}L") } else { format!("{day}#{nth}") });
    prop_oneof![3 => Just("*".into()), 2 => fields(0, 7), 1 => names, 1 => special]
}

prop_compose! {
    fn expressions()(
        second in prop_oneof![3 => Just(String::new()), 1 => fields(0, 59)],
        minute in fields(0, 59),
        hour in fields(0, 23),
        day_of_month in days_of_month(),
        month in fields(1, 12),
        day_of_week in days_of_week(),
    ) -> String {
        format!("{second} {minute} {hour} {day_of_month} {month} {day_of_week}").trim().to_owned()
    }
}

fn crons() -> impl Strategy<Value = Trigger> {
    let nicknames = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];
    let nicknames = prop::sample::select(nicknames.to_vec()).prop_map(str::to_owned);
    let expressions = prop_oneof![9 => expressions(), 1 => nicknames];
    (expressions, prop::option::of(zones())).prop_filter_map("comes", |(expression, zone)| {
        CronCache::default().cron(&expression, zone).ok().map(Trigger::Cron)
    })
}

fn clock_times() -> impl Strategy<Value = NaiveTime> {
    (0..86_400_u32, any::<bool>()).prop_filter_map("whole", |(second, whole_minute)| {
        NaiveTime::from_num_seconds_from_midnight_opt(if whole_minute { second / 60 * 60 } else { second }, 0)
    })
}

/// Returns sun triggers with times of day in the order of their names, by the clock or by the evening; others are
/// refused.
fn suns() -> impl Strategy<Value = Sun> {
    let offsets = prop_oneof![Just(0), -43_200_000..=43_200_000, (-720..=720).prop_map(|minutes| minutes * 60_000)];
    let times = || prop_oneof![2 => Just(None), 3 => clock_times().prop_map(Some)];
    (prop::sample::select(SunEvent::ALL.to_vec()), offsets, (times(), times(), times())).prop_filter_map(
        "in order",
        |(event, offset_ms, (not_before, not_after, otherwise))| {
            let sun = Sun { event, offset_ms, not_before, not_after, otherwise };
            let sun =
                [sun, Sun { not_before: not_after, not_after: not_before, ..sun }, Sun { otherwise: None, ..sun }];
            sun.into_iter().find(|sun| parse(&sun.to_string(), Instant::MIN, &mut CronCache::default()).is_ok())
        },
    )
}

fn everies() -> impl Strategy<Value = Every> {
    let anchors = prop_oneof![Just(Instant::MIN), instants()];
    let periods = prop_oneof![1_000..100_000_u32, 1_000..=u32::MAX, (1..1_000_u32).prop_map(|n| n * 60_000)];
    (periods, anchors).prop_map(|(period_ms, anchor)| Every { period_ms, anchor })
}

fn triggers() -> impl Strategy<Value = Trigger> {
    prop_oneof![
        1 => instants().prop_map(Trigger::At),
        2 => everies().prop_map(Trigger::Every),
        4 => crons(),
        3 => suns().prop_map(Trigger::from),
    ]
}

fn sites() -> impl Strategy<Value = Site> {
    let devices = [(51.5, -0.1), (0.0, -78.5), (-33.9, 151.2), (69.6, 19.0), (78.2, 15.6), (-77.8, 166.7), (90.0, 0.0)];
    (zones(), prop::sample::select(devices.to_vec()))
        .prop_map(|(zone, (latitude, longitude))| Site { zone, location: Location::new(latitude, longitude) })
}

/// Parses an expression as croner does.
///
/// In cron(8) a day field that starts with `*` restricts nothing by itself, and then both must match; croner does so
/// only for `*` alone.
fn croner(expression: &str) -> croner::Cron {
    let fields: Vec<_> = expression.split_whitespace().collect();
    let days = if fields.len() > 5 { [3, 5] } else { [2, 4] };
    let both = days.iter().any(|field| fields.get(*field).is_some_and(|field| field.starts_with('*')));
    croner::parser::CronParser::builder().dom_and_dow(both).build().parse(expression).expect("croner's grammar")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_trigger_reads_back_what_it_writes(trigger in triggers()) {
        let text = trigger.to_string();
        let read = parse(&text, Instant::MIN, &mut CronCache::default()).expect(&text);
        prop_assert_eq!(read, trigger, "{}", text);
    }

    #[test]
    fn occurrences_increase_and_the_last_is_the_last(
        trigger in triggers(), after in instants(), range in 0..40 * DAY_MS, site in sites(),
    ) {
        let (almanac, site) = (&mut Almanac::default(), &site);
        // An hour is enough for triggers that fire each second.
        let until = match trigger.next(after, site, almanac) {
            Search::Found(first) if matches!(trigger.next(first, site, almanac), Search::Found(second) if second.ms_since(first) < 600_000) =>
                after.plus_ms(range % 7_200_000),
            _ => after.plus_ms(range),
        };
        let times = between(&trigger, after, until, site, almanac);
        prop_assert_eq!(last(&trigger, after, until, site, almanac), times.last().copied());
        // The occurrences between two instants do not depend on where the search began.
        let middle = after.plus_ms(until.ms_since(after) / 2);
        let later: Vec<_> = times.iter().copied().filter(|time| *time > middle).collect();
        prop_assert_eq!(between(&trigger, middle, until, site, almanac), later);
    }

    #[test]
    fn every_counts_in_equal_steps(every in everies(), after in instants(), range in 0..100_000_i64) {
        let until = after.plus_ms(range);
        let (period, anchor) = (i64::from(every.period_ms), every.anchor.millis());
        let expected: Vec<_> = (after.millis() + 1..=until.millis())
            .filter(|at| *at >= anchor && (at - anchor) % period == 0)
            .map(Instant::from_millis_clamped)
            .collect();
        let found = between(&Trigger::Every(every), after, until, &site(Zone::UTC), &mut Almanac::default());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn cron_reads_the_calendar_as_croner_does(expression in expressions(), after in instants()) {
        let after = after.to_utc();
        let expected = croner(&expression).find_next_occurrence(&after.naive_utc(), false).ok();
        let found = CronCache::default().cron(&expression, None).ok().map(|cron| {
            Trigger::Cron(cron).next(after.into(), &site(Zone::UTC), &mut Almanac::default())
        });
        prop_assert_eq!(found, expected.map(|at| Search::Found(at.and_utc().into())), "{}", expression);
    }

    #[test]
    fn a_trigger_that_follows_the_clock_fires_whenever_the_clock_shows_it(
        minute in fields(0, 59), hour in fields(0, 23), zone in zones(), after in instants(),
    ) {
        let minute = if hour.starts_with('*') { minute } else { "*/5".into() };
        let trigger = cron(&format!("{minute} {hour} * * *"));
        let fields = croner(&format!("{minute} {hour} * * *"));
        let first = after.millis() / 60_000 + 1;
        let expected: Vec<_> = (first..first + 1_440)
            .map(|minutes| Instant::from_millis_clamped(minutes * 60_000))
            .filter(|at| fields.is_time_matching(&at.to_utc().with_timezone(&zone).naive_local()).expect("a time"))
            .collect();
        let until = Instant::from_millis_clamped((first + 1_439) * 60_000);
        prop_assert_eq!(between(&trigger, after, until, &site(zone), &mut Almanac::default()), expected, "{}", trigger);
    }

    #[test]
    fn a_fixed_time_occurs_once_on_each_of_its_dates(time in clock_times(), zone in zones(), after in instants()) {
        let trigger = cron(&format!("{} {} {} * * *", time.second(), time.minute(), time.hour()));
        let until = after.plus_ms(7 * DAY_MS);
        let first = calendar::to_local(after, zone).0.pred_opt().expect("a date");
        let expected: Vec<_> = first
            .iter_days()
            .take(10)
            .map(|date| calendar::to_instant(date, time, zone))
            .filter(|at| after < *at && *at <= until)
            .collect();
        prop_assert_eq!(between(&trigger, after, until, &site(zone), &mut Almanac::default()), expected, "{}", trigger);
    }

    #[test]
    fn a_sun_trigger_is_its_events_moved_and_clamped(sun in suns(), after in instants(), site in sites()) {
        let (almanac, zone) = (&mut Almanac::default(), site.zone);
        let sun = Sun { otherwise: None, ..sun };
        let location = site.location.expect("a location");
        let date = calendar::to_local(after, zone).0;
        let dates = (date - chrono::Days::new(5)).iter_days().take(14);
        let moved: Vec<_> = dates
            .flat_map(|date| almanac.times(sun.event, date, location, zone))
            .map(|event| event.plus_ms(sun.offset_ms.into()))
            .collect();
        let due = between(&sun.into(), after, after.plus_ms(4 * DAY_MS), &site, almanac);
        for due in &due {
            // Each is at an event, or at one of its times of day instead of the event.
            let is_at = |time: Option<NaiveTime>| {
                time.is_some_and(|time| calendar::to_instant(calendar::to_local(*due, zone).0, time, zone) == *due)
            };
            let within_a_day = |event: &&Instant| event.ms_since(*due).abs() < DAY_MS + DAY_MS / 8;
            let nearby = || moved.iter().filter(within_a_day);
            let holds = nearby().any(|event| event == due)
                || is_at(sun.not_before) && nearby().any(|event| event < due)
                // If the zone is not that of the location, the two may not be in order: then `not-after` holds.
                || is_at(sun.not_after) && nearby().any(|event| event > due || sun.not_before.is_some());
            prop_assert!(holds, "{} of {:?}", due, moved);
        }
        if sun.not_before.is_none() && sun.not_after.is_none() {
            let until = after.plus_ms(4 * DAY_MS);
            let expected: Vec<_> = moved.into_iter().filter(|at| after < *at && *at <= until).collect();
            prop_assert_eq!(due, expected);
        }
    }

    #[test]
    fn the_suns_times_are_on_their_date_and_none_is_lost(
        event in prop::sample::select(SunEvent::ALL.to_vec()), after in instants(), site in sites(),
    ) {
        let (almanac, location) = (&mut Almanac::default(), site.location.expect("a location"));
        let first = calendar::to_local(after, site.zone).0;
        let mut times = Vec::new();
        for date in first.iter_days().take(5) {
            let today = almanac.times(event, date, location, site.zone);
            prop_assert!(today.len() <= 2);
            prop_assert!(today.iter().all(|at| calendar::to_local(*at, site.zone).0 == date && at.millis() % 1_000 == 0));
            times.extend(today);
        }
        prop_assert!(times.is_sorted_by(|a, b| a < b));
        let sun = Trigger::from(Sun { event, offset_ms: 0, not_before: None, not_after: None, otherwise: None });
        let start = calendar::to_instant(first, NaiveTime::MIN, site.zone).plus_ms(-1);
        let end = calendar::to_instant(first + chrono::Days::new(5), NaiveTime::MIN, site.zone).plus_ms(-1);
        prop_assert_eq!(between(&sun, start, end, &site, almanac), times);
    }

    #[test]
    fn local_time_and_instant_are_inverse_except_where_the_clock_changes(at in instants(), zone in zones()) {
        let (date, time) = calendar::to_local(at, zone);
        let back = calendar::to_instant(date, time, zone);
        let whole = at.plus_ms(-at.millis().rem_euclid(1_000));
        match zone.from_local_datetime(&date.and_time(time)) {
            chrono::LocalResult::Single(_) => prop_assert_eq!(back, whole),
            chrono::LocalResult::Ambiguous(earlier, _) => prop_assert_eq!(back, earlier.into()),
            chrono::LocalResult::None => prop_assert!(false, "an instant has a local time"),
        }
    }

    #[test]
    fn the_next_midnight_begins_the_next_date(now in instants(), zone in zones()) {
        let midnight = calendar::next_midnight(now, zone);
        let (today, (date, _)) = (calendar::to_local(now, zone).0, calendar::to_local(midnight, zone));
        prop_assert!(midnight > now && date > today);
        prop_assert_eq!(calendar::to_local(midnight.plus_ms(-1), zone).0, today);
        let end = calendar::end_of_tomorrow(now, zone);
        prop_assert_eq!(calendar::to_local(end.plus_ms(-1), zone).0, date);
    }
}

/// Zone, expression, start, and the next occurrences, each in local time.
const CLOCK_CHANGES: &[(&str, &str, &str, &[&str])] = &[
    // London: 01:00 becomes 02:00.
    ("Europe/London", "30 1 * * *", "2027-03-28T00:00:00Z", &["28T02:00:00+01:00", "29T01:30:00+01:00"]),
    ("Europe/London", "0,30 1 * * *", "2027-03-28T00:00:00Z", &["28T02:00:00+01:00", "29T01:00:00+01:00"]),
    ("Europe/London", "30 1-3 * * *", "2027-03-28T00:00:00Z", &["28T02:00:00+01:00", "28T02:30:00+01:00"]),
    ("Europe/London", "0 1,2 * * *", "2027-03-28T00:00:00Z", &["28T02:00:00+01:00", "29T01:00:00+01:00"]),
    ("Europe/London", "*/30 1 * * *", "2027-03-28T00:00:00Z", &["29T01:00:00+01:00", "29T01:30:00+01:00"]),
    ("Europe/London", "30 * * * *", "2027-03-28T00:00:00Z", &["28T00:30:00Z", "28T02:30:00+01:00"]),
    // London: 02:00 becomes 01:00.
    ("Europe/London", "30 1 * * *", "2027-10-31T00:00:00+01:00", &["31T01:30:00+01:00", "01T01:30:00Z"]),
    ("Europe/London", "30 1 * * *", "2027-10-31T01:10:00Z", &["01T01:30:00Z"]),
    ("Europe/London", "30 1-3 * * *", "2027-10-31T01:30:00+01:00", &["31T02:30:00Z", "31T03:30:00Z"]),
    (
        "Europe/London",
        "*/30 1 * * *",
        "2027-10-31T01:10:00+01:00",
        &["31T01:30:00+01:00", "31T01:00:00Z", "31T01:30:00Z", "01T01:00:00Z"],
    ),
    // New York: 02:00 becomes 03:00; 02:00 becomes 01:00.
    ("America/New_York", "15 2 * * *", "2027-03-14T00:00:00-05:00", &["14T03:00:00-04:00", "15T02:15:00-04:00"]),
    ("America/New_York", "*/30 2 * * *", "2027-03-14T00:00:00-05:00", &["15T02:00:00-04:00"]),
    ("America/New_York", "15 1 * * *", "2027-11-07T01:15:00-04:00", &["08T01:15:00-05:00"]),
    ("America/New_York", "15 * * * *", "2027-11-07T01:15:00-04:00", &["07T01:15:00-05:00", "07T02:15:00-05:00"]),
    // Lord Howe: 02:00 becomes 02:30; 02:00 becomes 01:30.
    ("Australia/Lord_Howe", "15 2 * * *", "2027-10-03T00:00:00+10:30", &["03T02:30:00+11:00", "04T02:15:00+11:00"]),
    ("Australia/Lord_Howe", "*/15 2 * * *", "2027-10-03T00:00:00+10:30", &["03T02:30:00+11:00", "03T02:45:00+11:00"]),
    ("Australia/Lord_Howe", "45 1 * * *", "2027-04-04T00:00:00+11:00", &["04T01:45:00+11:00", "05T01:45:00+10:30"]),
    (
        "Australia/Lord_Howe",
        "*/15 1 * * *",
        "2027-04-04T01:30:00+11:00",
        &["04T01:45:00+11:00", "04T01:30:00+10:30", "04T01:45:00+10:30", "05T01:00:00+10:30"],
    ),
    // Sydney: 02:00 becomes 03:00; 03:00 becomes 02:00.
    ("Australia/Sydney", "59 2 * * *", "2027-10-03T00:00:00+10:00", &["03T03:00:00+11:00", "04T02:59:00+11:00"]),
    ("Australia/Sydney", "0 2 * * *", "2027-04-04T00:00:00+11:00", &["04T02:00:00+11:00", "05T02:00:00+10:00"]),
    ("Australia/Sydney", "0 * * * *", "2027-04-04T02:00:00+11:00", &["04T02:00:00+10:00", "04T03:00:00+10:00"]),
    // Santiago: 00:00 becomes 01:00, so that the day has no midnight; 00:00 becomes 23:00 of the day before.
    ("America/Santiago", "@daily", "2027-09-04T12:00:00-04:00", &["05T01:00:00-03:00", "06T00:00:00-03:00"]),
    ("America/Santiago", "30 0 * * SUN", "2027-09-04T12:00:00-04:00", &["05T01:00:00-03:00", "12T00:30:00-03:00"]),
    ("America/Santiago", "@hourly", "2027-09-04T23:00:00-04:00", &["05T01:00:00-03:00"]),
    ("America/Santiago", "30 23 * * *", "2027-04-03T12:00:00-03:00", &["03T23:30:00-03:00", "04T23:30:00-04:00"]),
    ("America/Santiago", "@hourly", "2027-04-03T23:00:00-03:00", &["03T23:00:00-04:00", "04T00:00:00-04:00"]),
];

#[test]
fn cron_follows_cron_8_when_the_clock_changes() {
    for (name, expression, from, expected) in CLOCK_CHANGES {
        let zone = zone(name);
        let (trigger, almanac, mut after) = (cron(expression), &mut Almanac::default(), at(from));
        let mut found = Vec::new();
        for _ in *expected {
            after = trigger.find(after, &site(zone), almanac).expect("it comes");
            found.push(after.in_zone(zone)[8..].to_owned());
        }
        assert_eq!(found, *expected, "`{expression}` in {zone} from {from}");
    }
}

#[test]
fn seconds_change_nothing_about_fixed_times() {
    let zone = zone("Europe/London");
    for from in ["2027-03-27T12:00:00Z", "2027-10-30T12:00:00Z", "2027-10-31T01:10:00Z"].map(at) {
        for (five, six) in [("30 1 * * *", "0 30 1 * * *"), ("0 1-2 * * *", "0 0 1-2 * * * *")] {
            let next = |expression| cron(expression).next(from, &site(zone), &mut Almanac::default());
            assert_eq!(next(five), next(six), "{six} from {from}");
        }
    }
}

#[test]
fn a_year_ends_an_expression() {
    let trigger = cron("0 0 12 24 12 * 2027,2028");
    let next = |from: &str| trigger.next(at(from), &site(Zone::UTC), &mut Almanac::default());
    assert_eq!(next("2026-01-01T00:00:00Z"), Search::Found(at("2027-12-24T12:00:00Z")));
    assert_eq!(next("2027-12-24T12:00:00Z"), Search::Found(at("2028-12-24T12:00:00Z")));
    assert_eq!(next("2028-12-24T12:00:00Z"), Search::Never(Never::Over));
}

#[test]
fn nothing_comes_after_the_end_of_time() {
    let (near, almanac) = (at("9999-12-31T23:59:30Z"), &mut Almanac::default());
    for text in ["cron * * * * *", "every 1m", "at 9999-01-01T00:00:00Z"] {
        let trigger = parse(text, Instant::MIN, &mut CronCache::default()).expect("a trigger");
        for zone in [Zone::UTC, zone("Pacific/Kiritimati"), zone("America/New_York")] {
            assert_eq!(trigger.next(near, &site(zone), almanac), Search::Never(Never::Over), "{text} in {zone}");
        }
    }
    let sunrise = parse("sunrise", Instant::MIN, &mut CronCache::default()).expect("a trigger");
    assert!(sunrise.find(near, &site(Zone::UTC), almanac).is_err());
}

#[test]
fn clamped_events_of_one_instant_are_one_occurrence() {
    // Tromsø on the day with two sunsets, one just after midnight and one just before the next.
    let tromso = Site { zone: zone("Europe/Oslo"), location: Location::new(69.6492, 18.9553) };
    let (location, almanac) = (tromso.location.expect("a location"), &mut Almanac::default());
    let year = NaiveDate::from_ymd_opt(2027, 1, 1).expect("a date").iter_days().take_while(|date| date.year() == 2027);
    let twice = year
        .filter(|date| almanac.times(SunEvent::Sunset, *date, location, tromso.zone).len() == 2)
        .collect::<Vec<_>>();
    assert!(!twice.is_empty());
    let sunset = parse("sunset not-before 22:00 not-after 22:00", Instant::MIN, &mut CronCache::default());
    let (sunset, time) = (sunset.expect("a trigger"), NaiveTime::from_hms_opt(22, 0, 0).expect("a time"));
    for date in twice {
        // The evening of the first one began on the previous day.
        let start = calendar::to_instant(date, NaiveTime::MIN, tromso.zone);
        let times = between(&sunset, start.plus_ms(-DAY_MS), start.plus_ms(DAY_MS), &tromso, almanac);
        let expected = [date - chrono::Days::new(1), date].map(|date| calendar::to_instant(date, time, tromso.zone));
        assert_eq!(times, expected, "{date}");
    }
}

#[test]
fn a_polar_night_is_searched_in_bounded_pieces() {
    let tromso = Site { zone: zone("Europe/Oslo"), location: Location::new(69.6492, 18.9553) };
    let (sunrise, almanac) =
        (parse("sunrise", Instant::MIN, &mut CronCache::default()).expect("a trigger"), &mut Almanac::default());
    let night = at("2026-12-01T00:00:00Z");
    assert!(matches!(sunrise.next(night, &tromso, almanac), Search::NotUntil(bound) if bound > night));
    let morning = sunrise.find(night, &tromso, almanac).expect("the night ends");
    assert_eq!(calendar::to_local(morning, tromso.zone).0, NaiveDate::from_ymd_opt(2027, 1, 15).expect("a date"));
    let end = morning.plus_ms(-1);
    assert!(
        matches!(sunrise.last(at("2026-11-01T00:00:00Z"), end, &tromso, almanac), Search::NotUntil(bound) if bound < end)
    );
    let before = last(&sunrise, at("2026-11-01T00:00:00Z"), end, &tromso, almanac).expect("one in November");
    assert_eq!(calendar::to_local(before, tromso.zone).0, NaiveDate::from_ymd_opt(2026, 11, 27).expect("a date"));
}
