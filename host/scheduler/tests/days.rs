//! Triggers that are limited to days, and that finish at a time: by independent definitions of both.

use chrono::{Datelike, NaiveDate, Weekday};
use proptest::prelude::*;
use roost_scheduler::{
    calendar,
    names::CalendarName,
    time::{Instant, Location, Site},
    trigger::{
        Almanac, Calendars, Context, CronCache, Dates, DayOfYear, DayRange, DaySet, Days, Interval, Never, Search,
        Trigger, Unit, parse,
    },
    zone::Zone,
};

const DAY_MS: i64 = 86_400_000;

fn date(text: &str) -> NaiveDate {
    text.parse().expect(text)
}

fn holidays() -> CalendarName {
    CalendarName::parse("holidays").expect("a name")
}

fn calendars() -> Calendars {
    let days = [("2026-12-25", "2026-12-26"), ("2027-01-01", "2027-01-01"), ("2027-03-26", "2027-03-29")];
    let dates = Dates::new(days.iter().map(|(from, to)| (date(from), date(to))).collect());
    [(holidays(), dates)].into_iter().collect()
}

fn read(text: &str, site: &Site) -> Trigger {
    let context = Context { now: Some(Instant::MIN), site: Some(site), calendars: calendars() };
    parse(text, &context, &mut CronCache::default()).unwrap_or_else(|error| panic!("{error}; {}", error.hint()))
}

fn between(trigger: &Trigger, after: Instant, until: Instant, site: &Site, almanac: &mut Almanac) -> Vec<Instant> {
    let (mut times, mut from) = (Vec::new(), after);
    loop {
        match trigger.next(from, site, almanac) {
            Search::Found(at) if at <= until => {
                times.push(at);
                from = at;
            }
            Search::NotUntil(bound) if bound < until => from = bound,
            _ => return times,
        }
    }
}

fn dates() -> impl Strategy<Value = NaiveDate> {
    (20_500..21_000_u64).prop_map(|days| NaiveDate::default() + chrono::Days::new(days))
}

fn weekdays() -> impl Strategy<Value = Weekday> {
    (0..7_u8).prop_map(|day| Weekday::try_from(day).expect("a day"))
}

fn days_of_year() -> impl Strategy<Value = DayOfYear> {
    (1..=12_u8, 1..=31_u8).prop_filter_map("exists", |(month, day)| DayOfYear::new(month, day))
}

fn ranges() -> impl Strategy<Value = DayRange> {
    prop_oneof![
        (weekdays(), weekdays()).prop_map(|(from, to)| DayRange::Weekdays(from, to)),
        (1..=31_u8, 1..=31_u8).prop_map(|(one, other)| DayRange::OfMonth(one.min(other), one.max(other))),
        (days_of_year(), days_of_year()).prop_map(|(from, to)| DayRange::Season(from, to)),
        (dates(), 0..20_u64).prop_map(|(from, length)| DayRange::Dates(from, from + chrono::Days::new(length))),
        Just(DayRange::Calendar(holidays())),
    ]
}

fn sets() -> impl Strategy<Value = DaySet> {
    prop::collection::vec(ranges(), 0..3).prop_map(DaySet::from_iter)
}

fn intervals() -> impl Strategy<Value = Interval> {
    (1..10_u16, prop::sample::select(vec![Unit::Days, Unit::Weeks]), dates()).prop_map(|(count, unit, from)| Interval {
        count,
        unit,
        from,
    })
}

prop_compose! {
    fn days()(on in sets(), within in sets(), every in prop::option::of(intervals()), except in sets()) -> Days {
        Days { on, within, every, except }
    }
}

/// Whether a range has a date, by the definition in the contract.
fn has(range: &DayRange, date: NaiveDate) -> bool {
    match range {
        DayRange::Weekdays(from, to) => {
            let mut day = *from;
            while day != *to && day != date.weekday() {
                day = day.succ();
            }
            day == date.weekday()
        }
        DayRange::OfMonth(from, to) => (u32::from(*from)..=u32::from(*to)).contains(&date.day()),
        DayRange::Season(from, to) => {
            let text = |day: &DayOfYear| DayRange::Season(*day, *day).to_string();
            // A leap year has every day of the year.
            let in_order = |day: &DayOfYear| {
                let leap = date_of_leap_year(&text(day));
                (leap.month(), leap.day())
            };
            let (from, to, day) = (in_order(from), in_order(to), (date.month(), date.day()));
            if from <= to { from <= day && day <= to } else { from <= day || day <= to }
        }
        DayRange::Dates(from, to) => *from <= date && date <= *to,
        DayRange::Calendar(name) => calendars()
            .dates(name)
            .is_some_and(|dates| dates.ranges().iter().any(|(from, to)| *from <= date && date <= *to)),
    }
}

fn date_of_leap_year(text: &str) -> NaiveDate {
    NaiveDate::parse_from_str(&format!("2024-{text}"), "%Y-%b-%d").expect(text)
}

fn is_one(days: &Days, date: NaiveDate) -> bool {
    let within = |set: &DaySet| set.is_empty() || set.ranges().iter().any(|range| has(range, date));
    let every = days.every.is_none_or(|Interval { count, unit, from }| {
        let elapsed = match unit {
            Unit::Days => (date - from).num_days(),
            Unit::Weeks => (date.week(Weekday::Mon).first_day() - from.week(Weekday::Mon).first_day()).num_weeks(),
        };
        date >= from && elapsed % i64::from(count) == 0
    });
    every && within(&days.on) && within(&days.within) && !days.except.ranges().iter().any(|range| has(range, date))
}

fn sites() -> impl Strategy<Value = Site> {
    let places = [
        ("Europe/London", 51.5, -0.1),
        ("America/New_York", 40.7, -74.0),
        ("Australia/Lord_Howe", -31.5, 159.1),
        ("Pacific/Kiritimati", 1.9, -157.4),
        ("Europe/Oslo", 69.6, 19.0),
    ];
    prop::sample::select(places.to_vec()).prop_map(|(zone, latitude, longitude)| Site {
        zone: calendar::parse_zone(zone).expect("a zone"),
        location: Location::new(latitude, longitude),
    })
}

const UNLIMITED: [&str; 8] = [
    "cron 30 5 * * *",
    "cron 30 2 * * *",
    "cron */20 1-3 * * *",
    "cron 0 0 1,15 * FRI",
    "sunrise -30m",
    "civil-dusk +1h not-after 22:00 else 21:00",
    "sun at 3.5 setting",
    "solar-midnight",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_limited_trigger_is_the_unlimited_one_minus_the_days(
        days in days(), text in prop::sample::select(UNLIMITED.to_vec()), site in sites(),
        start in 1_771_200_000..1_814_400_000_i64, length in 1..60_i64,
    ) {
        let unlimited = read(text, &site);
        let Ok(limited) = parse(&format!("{text}{days}"), &Context::at(Instant::MIN), &mut CronCache::default()) else {
            // Nothing is left, at least of what is due every day.
            let left = (0..20_000).any(|day| is_one(&days, NaiveDate::default() + chrono::Days::new(day)));
            prop_assert!(!left || days.every.is_some() || text.ends_with("FRI"), "{}", days);
            return Ok(());
        };
        let (after, until) = (Instant::from_millis_clamped(start * 1_000), Instant::from_millis_clamped(start * 1_000 + length * DAY_MS));
        let mut almanac = Almanac::new(calendars());
        let due = between(&limited, after, until, &site, &mut almanac);
        let all = between(&unlimited, after, until, &site, &mut almanac);
        for at in &all {
            let left_out = limited.left_out(*at, &site, &mut almanac).map(|(date, _)| date);
            prop_assert_eq!(due.contains(at), left_out.is_none(), "{} of `{}`", at, limited);
            if let Some(date) = left_out {
                prop_assert!(!is_one(&days, date), "{} of `{}`", date, limited);
            }
            if text.starts_with("cron") {
                let date = calendar::to_local(*at, site.zone).0;
                prop_assert_eq!(due.contains(at), is_one(&days, date), "{} of `{}`", at, limited);
            }
        }
        prop_assert!(due.iter().all(|at| all.contains(at)), "`{}`: {:?} of {:?}", limited, due, all);
        // The last one is the last, and the text means the same.
        let mut bound = until;
        let last = loop {
            match limited.last(after, bound, &site, &mut almanac) {
                Search::Found(at) => break Some(at),
                Search::NotUntil(earlier) => bound = earlier,
                Search::Never(_) => break None,
            }
        };
        prop_assert_eq!(last, due.last().copied(), "`{}`", limited);
        prop_assert_eq!(read(&limited.to_string(), &site), limited);
    }

    #[test]
    fn what_finishes_at_a_time_starts_by_its_length_earlier(
        text in prop::sample::select(UNLIMITED.to_vec()), site in sites(), minutes in 1..3_000_i64,
        start in 1_771_200_000..1_814_400_000_i64,
    ) {
        let (finish, ends) = (read(&format!("finish {text} after {minutes}m"), &site), read(text, &site));
        let mut almanac = Almanac::new(calendars());
        let (after, length) = (Instant::from_millis_clamped(start * 1_000), minutes * 60_000);
        let until = after.plus_ms(10 * DAY_MS);
        let expected: Vec<_> = between(&ends, after.plus_ms(length), until.plus_ms(length), &site, &mut almanac);
        let expected: Vec<_> = expected.into_iter().map(|at| at.plus_ms(-length)).collect();
        prop_assert_eq!(between(&finish, after, until, &site, &mut almanac), expected);
    }
}

/// Names of calendars, and words of the grammar that may be names.
fn names() -> impl Strategy<Value = CalendarName> {
    let words =
        vec!["on", "in", "every", "except", "from", "else", "after", "mon", "mon-fri", "feb", "feb-29", "1", "1-7"];
    let names = prop_oneof!["[a-z0-9][a-z0-9_.-]{0,12}", prop::sample::select(words).prop_map(str::to_owned)];
    names.prop_filter_map("is a name", |name| CalendarName::parse(&name).ok())
}

proptest! {
    #[test]
    fn a_calendar_of_any_name_is_read_back(name in names(), other in names(), trigger in prop::sample::select(UNLIMITED.to_vec())) {
        let set = |name: &CalendarName| [DayRange::Calendar(name.clone())].into_iter().collect::<DaySet>();
        let days = Days { on: set(&name), within: set(&other), every: None, except: set(&other) };
        let site = Site { zone: Zone::UTC, location: None };
        let trigger = read(&format!("{trigger}{days}"), &site);
        prop_assert_eq!(trigger.days(), Some(&days));
    }
}

/// The local dates and times of the first occurrences.
fn first(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let site = Site { zone: calendar::parse_zone(zone).expect(zone), location: Location::new(51.5, -0.1) };
    let trigger = read(text, &site);
    let after = after.parse::<chrono::DateTime<chrono::Utc>>().expect(after).into();
    let times = between(&trigger, after, after.plus_ms(4_000 * DAY_MS), &site, &mut Almanac::new(calendars()));
    times.into_iter().take(count).map(|at| at.in_zone(site.zone)[..16].replace('T', " ")).collect()
}

#[test]
fn every_second_wednesday_stays_at_its_time_of_day() {
    let times = first("daily 14:00 on WED every 2 weeks from 2027-03-17", "Europe/London", "2027-03-01T00:00:00Z", 4);
    assert_eq!(times, ["2027-03-17 14:00", "2027-03-31 14:00", "2027-04-14 14:00", "2027-04-28 14:00"]);
    let days = first("daily 05:30 every 3 days from 2027-03-25", "Europe/London", "2027-03-01T00:00:00Z", 3);
    assert_eq!(days, ["2027-03-25 05:30", "2027-03-28 05:30", "2027-03-31 05:30"]);
    // Both days of such a week, but not before the date.
    let both =
        first("daily 07:00 on MON,THU every 2 weeks from 2027-03-17", "Europe/London", "2027-03-01T00:00:00Z", 3);
    assert_eq!(both, ["2027-03-18 07:00", "2027-03-29 07:00", "2027-04-01 07:00"]);
}

#[test]
fn seasons_cross_the_end_of_the_year_and_exceptions_are_left_out() {
    let winter = first("cron 0 6 1 * * in NOV-FEB", "Europe/London", "2026-09-01T00:00:00Z", 5);
    assert_eq!(
        winter,
        ["2026-11-01 06:00", "2026-12-01 06:00", "2027-01-01 06:00", "2027-02-01 06:00", "2027-11-01 06:00"]
    );
    let text = "daily 06:00 in DEC-23..JAN-3 except 2026-12-24,holidays,2026-12-28..2027-01-02";
    assert_eq!(
        first(text, "Europe/London", "2026-09-01T00:00:00Z", 4),
        ["2026-12-23 06:00", "2026-12-27 06:00", "2027-01-03 06:00", "2027-12-23 06:00"]
    );
    let weekend = first("daily 09:00 on SAT,SUN,holidays", "Europe/London", "2026-12-24T12:00:00Z", 4);
    assert_eq!(weekend, ["2026-12-25 09:00", "2026-12-26 09:00", "2026-12-27 09:00", "2027-01-01 09:00"]);
    let zoned = first("cron 0 6 * * * in Europe/Berlin in MAY", "Europe/London", "2027-01-01T00:00:00Z", 1);
    assert_eq!(zoned, ["2027-05-01 05:00"]);
}

#[test]
fn dates_beyond_the_reach_of_one_search_count_beside_other_days() {
    let dates = first("daily 09:00 on TUE-SAT in SUN,2027-01-20", "Europe/London", "2027-01-01T00:00:00Z", 2);
    assert_eq!(dates, ["2027-01-20 09:00"]);
    let last_sunday = first("cron 30 1 * * 0L in 5,2027-10-15..2027-11-14", "Europe/London", "2027-01-01T00:00:00Z", 2);
    assert_eq!(last_sunday, ["2027-10-31 01:30"]);
    let later = first("daily 09:00 on MON except 1970-01-01..2030-12-31", "Europe/London", "2027-01-01T00:00:00Z", 1);
    assert_eq!(later, ["2031-01-06 09:00"]);
}

#[test]
fn a_time_that_the_clock_skips_belongs_to_its_own_day() {
    // The clock is set from 00:00 to 01:00.
    let gap = first("daily 00:30 on SUN", "America/Sao_Paulo", "2018-10-29T12:00:00Z", 2);
    assert_eq!(gap, ["2018-11-04 01:00", "2018-11-11 00:30"]);
    let gap = first("cron 0 0 * * * on SUN every 2 weeks from 2026-03-16", "Asia/Beirut", "2026-03-16T12:00:00Z", 2);
    assert_eq!(gap, ["2026-03-22 00:00", "2026-04-05 00:00"]);
    let gap = first("daily 00:15 except SAT", "Asia/Beirut", "2026-03-27T12:00:00Z", 2);
    assert_eq!(gap, ["2026-03-29 01:00", "2026-03-30 00:15"]);
    // From 23:00 to 00:00 of the next day; and in Apia, a whole Friday is skipped.
    let beyond = first("daily 23:30 on SAT", "America/Nuuk", "2027-03-22T12:00:00Z", 2);
    assert_eq!(beyond, ["2027-03-28 00:00", "2027-04-03 23:30"]);
    assert_eq!(first("daily 23:30 on SUN", "America/Nuuk", "2027-03-22T12:00:00Z", 1), ["2027-03-28 23:30"]);
    let friday = first("daily 09:00 on FRI", "Pacific/Apia", "2011-12-24T12:00:00Z", 2);
    assert_eq!(friday, ["2011-12-31 00:00", "2012-01-06 09:00"]);
    let days = first("daily 09:00 every 2 days from 2011-12-28", "Pacific/Apia", "2011-12-28T00:00:00Z", 3);
    assert_eq!(days, ["2011-12-28 09:00", "2011-12-31 00:00", "2012-01-01 09:00"]);
    let every = first("solar-noon on THU,FRI,SAT", "Pacific/Apia", "2011-12-29T12:00:00Z", 3);
    assert_eq!(every.iter().map(|at| &at[..10]).collect::<Vec<_>>(), ["2011-12-29", "2011-12-31", "2012-01-05"]);
}

#[test]
fn what_is_left_out_says_the_day_that_it_belongs_to() {
    let site = Site { zone: calendar::parse_zone("America/Nuuk").expect("a zone"), location: None };
    let shown: Instant = "2027-03-28T01:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().expect("a time").into();
    let left_out = |text: &str| {
        let (trigger, mut almanac) = (read(text, &site), Almanac::new(calendars()));
        trigger.left_out(shown, &site, &mut almanac).map(|(date, _)| date.to_string())
    };
    // 23:30 of the Saturday comes at 00:00 of the Sunday.
    assert_eq!(left_out("daily 23:30 on SAT"), None);
    assert_eq!(left_out("daily 23:30 except SUN"), None);
    assert_eq!(left_out("daily 23:30 on SUN").as_deref(), Some("2027-03-27"));
    assert_eq!(left_out("daily 23:30 except SAT").as_deref(), Some("2027-03-27"));
}

#[test]
fn near_a_pole_a_day_without_the_event_counts_by_its_date() {
    let site = Site {
        zone: calendar::parse_zone("Arctic/Longyearbyen").expect("a zone"),
        location: Location::new(78.2, 15.6),
    };
    let trigger = read("sunrise else 08:00 on MON except 2027-02-08", &site);
    let mut almanac = Almanac::new(calendars());
    let after: Instant = "2027-01-29T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().expect("a time").into();
    let times = between(&trigger, after, after.plus_ms(40 * DAY_MS), &site, &mut almanac);
    let times: Vec<String> = times.iter().map(|at| at.in_zone(site.zone)[..16].to_owned()).collect();
    // The sun rises again on 16 February.
    let first = ["2027-02-01T08:00", "2027-02-15T08:00"];
    assert_eq!(times[..2], first);
    assert_eq!(times[2..].iter().map(|at| &at[..10]).collect::<Vec<_>>(), ["2027-02-22", "2027-03-01", "2027-03-08"]);
    assert!(times[2..].iter().all(|at| !at.ends_with("08:00")), "{times:?}");
}

#[test]
fn the_rarest_days_are_found_in_both_directions() {
    let site = Site { zone: Zone::UTC, location: Location::new(51.5, -0.1) };
    let mut almanac = Almanac::new(calendars());
    for (text, from, due) in [
        ("cron 0 6 29 2 * on MON", "2024-03-01T00:00:00Z", "2044-02-29T06:00:00Z"),
        ("cron 0 6 * * * on FEB-29 in MON", "2072-03-01T00:00:00Z", "2112-02-29T06:00:00Z"),
        ("daily 06:00 every 1000 days from 2027-03-01", "2027-03-01T06:00:00Z", "2029-11-25T06:00:00Z"),
        ("daily 06:00 on SUN every 1000 days from 2027-03-01", "2027-03-01T06:00:00Z", "2029-11-25T06:00:00Z"),
        ("daily 06:00 on MON every 1000 weeks from 2027-03-01", "2027-03-07T06:00:00Z", "2046-04-30T06:00:00Z"),
        ("sunrise not-before 08:00 not-after 08:00 on FEB-29 in MON", "2024-03-01T00:00:00Z", "2044-02-29T08:00:00Z"),
    ] {
        let instant = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().expect(text).into();
        let (trigger, from, due): (Trigger, Instant, Instant) = (read(text, &site), instant(from), instant(due));
        assert_eq!(trigger.next(from, &site, &mut almanac), Search::Found(due), "{text}");
        let until = due.plus_ms(due.ms_since(from) / 2);
        assert_eq!(trigger.last(from, until, &site, &mut almanac), Search::Found(due), "{text}");
        assert_eq!(trigger.last(from, due.plus_ms(-1), &site, &mut almanac), Search::Never(Never::Over), "{text}");
    }
}

#[test]
fn an_evening_that_lasts_beyond_midnight_belongs_to_its_date() {
    // In June the sun sinks below -15 degrees after midnight.
    let friday = first("sun at -15 setting on FRI", "Europe/London", "2027-06-10T12:00:00Z", 1);
    assert_eq!(friday, ["2027-06-12 00:25"]);
    let midnight = first("solar-midnight on FRI", "Europe/London", "2027-06-10T12:00:00Z", 1);
    assert_eq!(midnight, ["2027-06-12 01:00"]);
}

#[test]
fn a_run_once_is_at_the_next_time() {
    let site = Site { zone: Zone::UTC, location: Location::new(51.5, -0.1) };
    let now = "2027-03-01T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().expect("a time").into();
    let context = Context { now: Some(now), site: Some(&site), calendars: calendars() };
    let text = |text: &str| parse(text, &context, &mut CronCache::default()).map(|trigger| trigger.to_string());
    assert_eq!(text("once sunset +2h40m").as_deref(), Ok("at 2027-03-01T20:20:10Z"));
    assert_eq!(text("once daily 05:30 on SAT").as_deref(), Ok("at 2027-03-06T05:30:00Z"));
    let in_plan = Context { now: None, ..context };
    let refused = parse("once sunset", &in_plan, &mut CronCache::default()).expect_err("it depends on the time");
    assert!(refused.to_string().contains("depends on when it is asked"), "{refused}");
}
