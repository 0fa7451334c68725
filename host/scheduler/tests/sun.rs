//! Tests of the times of day of sun triggers, mainly where an evening lasts beyond midnight.

use chrono::{Days, NaiveDate, NaiveTime, Timelike};
use roost_scheduler::{
    calendar,
    time::{Instant, Location, Site},
    trigger::{Almanac, CronCache, Search, SunEvent, Trigger, parse},
    zone::Zone,
};

const HOUR_MS: i64 = 3_600_000;

fn zone(name: &str) -> Zone {
    calendar::parse_zone(name).expect(name)
}

fn at(text: &str) -> Instant {
    chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339").into()
}

fn site(zone: Zone, latitude: f64, longitude: f64) -> Site {
    Site { zone, location: Location::new(latitude, longitude) }
}

fn trigger(text: &str) -> Trigger {
    parse(text, Instant::MIN, &mut CronCache::default()).expect(text)
}

fn between(trigger: &Trigger, after: Instant, until: Instant, site: &Site, almanac: &mut Almanac) -> Vec<Instant> {
    let (mut times, mut from) = (Vec::new(), after);
    loop {
        match trigger.next(from, site, almanac) {
            Search::Found(time) if time <= until => times.push(time),
            Search::NotUntil(bound) if bound < until => {
                from = bound;
                continue;
            }
            _ => return times,
        }
        from = times[times.len() - 1];
    }
}

/// Returns the local times from a noon to the next one.
fn day_from_noon(text: &str, date: &str, site: &Site) -> Vec<String> {
    let date: NaiveDate = date.parse().expect("a date");
    let noon = NaiveTime::from_hms_opt(12, 0, 0).expect("noon");
    let start = calendar::to_instant(date, noon, site.zone);
    let end = calendar::to_instant(date + Days::new(1), noon, site.zone);
    let times = between(&trigger(text), start, end, site, &mut Almanac::default());
    times.into_iter().map(|time| time.in_zone(site.zone)[8..16].to_owned()).collect()
}

fn helsinki() -> Site {
    site(zone("Europe/Helsinki"), 60.17, 24.94)
}

fn fairbanks() -> Site {
    site(zone("America/Anchorage"), 64.84, -147.72)
}

fn reykjavik() -> Site {
    site(zone("Atlantic/Reykjavik"), 64.15, -21.94)
}

fn tromso() -> Site {
    site(zone("Europe/Oslo"), 69.6492, 18.9553)
}

#[test]
fn an_evening_lasts_beyond_midnight() {
    for (place, date, text, expected) in [
        (helsinki(), "2027-06-21", "civil-dusk", "22T00:42"),
        (helsinki(), "2027-06-21", "civil-dusk not-after 22:00", "21T22:00"),
        (helsinki(), "2027-06-21", "civil-dusk not-before 23:00 not-after 00:15", "22T00:15"),
        (helsinki(), "2027-06-21", "civil-dusk not-before 00:50", "22T00:50"),
        (helsinki(), "2027-06-21", "civil-dusk +30m not-after 00:45", "22T00:45"),
        (fairbanks(), "2027-06-21", "sunset", "22T00:47"),
        (fairbanks(), "2027-06-21", "sunset not-before 20:00", "22T00:47"),
        (fairbanks(), "2027-12-21", "sunset", "21T14:39"),
        (fairbanks(), "2027-12-21", "sunset not-before 20:00", "21T20:00"),
        (fairbanks(), "2027-12-21", "sunset not-after 01:00", "21T14:39"),
        (reykjavik(), "2027-06-21", "sunset", "22T00:04"),
        (reykjavik(), "2027-06-21", "sunset not-before 20:00 not-after 23:30", "21T23:30"),
        (reykjavik(), "2027-12-21", "sunset not-before 20:00 not-after 23:30", "21T20:00"),
        // A clock in UTC, half a day away from solar time.
        (site(Zone::UTC, -36.85, 174.76), "2027-06-20", "sunset", "21T05:11"),
        (site(Zone::UTC, -36.85, 174.76), "2027-06-20", "sunset not-before 05:30", "21T05:30"),
        (site(Zone::UTC, -36.85, 174.76), "2027-06-20", "sunset not-after 05:00", "21T05:00"),
        (site(Zone::UTC, 39.74, -104.98), "2027-06-20", "sunrise not-after 12:15", "21T11:32"),
    ] {
        assert_eq!(day_from_noon(text, date, &place), [expected], "{text} on {date} in {}", place.zone);
    }
}

#[test]
fn a_morning_may_begin_before_midnight_and_end_after_noon() {
    // Where the sun is highest after 13:00, it rises after noon when the polar night has just ended.
    let utqiagvik = site(zone("America/Anchorage"), 71.29, -156.79);
    for (place, date, text, expected) in [
        (tromso(), "2027-05-17", "sunrise not-before 06:30", vec!["18T06:30"]),
        (tromso(), "2027-05-17", "sunrise not-after 00:30", vec!["18T00:30"]),
        (utqiagvik, "2027-01-24", "sunrise", vec!["24T12:47"]),
        (utqiagvik, "2027-01-24", "sunrise not-before 06:30", vec!["24T12:47"]),
        (utqiagvik, "2027-01-24", "sunrise not-before 13:30", vec!["24T13:30"]),
        // The sun sets at 11:40, and the evening belongs to that day.
        (tromso(), "2026-11-26", "sunset not-before 20:00", vec!["26T20:00"]),
        // With an offset of six hours, its times of day move as well.
        (site(zone("Europe/London"), 51.5, -0.1), "2027-01-10", "sunrise +6h not-after 13:00", vec!["10T13:00"]),
        (site(zone("Europe/London"), 51.5, -0.1), "2027-06-10", "solar-noon +1h not-before 14:30", vec!["10T14:30"]),
    ] {
        assert_eq!(day_from_noon(text, date, &place), expected, "{text} on {date} in {}", place.zone);
    }
    let greenwich = site(zone("Europe/London"), 51.5, -0.1);
    let noon = between(
        &trigger("sunset -6h not-before 11:00"),
        at("2027-01-10T00:00:00Z"),
        at("2027-01-11T00:00:00Z"),
        &greenwich,
        &mut Almanac::default(),
    );
    assert_eq!(noon, [at("2027-01-10T11:00:00Z")]);
}

#[test]
fn a_day_without_the_event_has_no_occurrence_without_a_fallback() {
    let helsinki_end = "civil-dusk +10m not-after 22:00 else 22:00";
    // Oulu has no civil dusk from late May on.
    let oulu = site(zone("Europe/Helsinki"), 65.01, 25.47);
    for (place, date, text, expected) in [
        (oulu, "2027-06-21", "civil-dusk +10m not-after 22:00", vec![]),
        (oulu, "2027-06-21", helsinki_end, vec!["21T22:00"]),
        (oulu, "2027-10-21", helsinki_end, vec!["21T18:36"]),
        (tromso(), "2027-06-21", "sunset", vec![]),
        (tromso(), "2027-06-21", "sunset else 23:15", vec!["21T23:15"]),
        (tromso(), "2027-06-21", "sunset else 00:15", vec!["22T00:15"]),
        (tromso(), "2027-12-21", "sunset else 20:00", vec!["21T20:00"]),
        (tromso(), "2027-12-21", "sunrise else 08:00", vec!["22T08:00"]),
    ] {
        assert_eq!(day_from_noon(text, date, &place), expected, "{text} on {date} in {}", place.zone);
    }
}

#[test]
fn each_evening_of_a_year_has_one_run_where_a_fallback_is_stated() {
    for place in [helsinki(), fairbanks(), reykjavik(), tromso(), site(zone("Antarctica/McMurdo"), -77.85, 166.67)] {
        let (zone, almanac) = (place.zone, &mut Almanac::default());
        let start = at("2027-01-01T10:00:00Z");
        for text in ["civil-dusk +10m not-before 17:00 not-after 22:00 else 22:00", "sunset not-after 23:30 else 23:30"]
        {
            let times = between(&trigger(text), start, start.plus_ms(365 * 24 * HOUR_MS), &place, almanac);
            let dates: Vec<_> = times.iter().map(|time| calendar::to_local(*time, zone).0).collect();
            assert_eq!(dates.len(), 365, "{text} in {zone}");
            assert!(dates.windows(2).all(|pair| pair[0] + Days::new(1) == pair[1]), "{text} in {zone}");
        }
    }
}

#[test]
fn summer_time_does_not_move_a_clamp() {
    let london = site(zone("Europe/London"), 51.5, -0.1);
    for (date, text, expected) in [
        // 01:00 becomes 02:00; 02:00 becomes 01:00.
        ("2027-03-27", "sunrise not-before 06:30", "28T06:45"),
        ("2027-03-27", "sunrise not-after 01:30", "28T02:00"),
        ("2027-03-28", "sunset not-before 20:00", "28T20:00"),
        ("2027-10-30", "sunrise not-after 01:30", "31T01:30"),
        ("2027-10-31", "sunset not-before 20:00", "31T20:00"),
        ("2027-10-31", "sunset not-after 16:00", "31T16:00"),
    ] {
        assert_eq!(day_from_noon(text, date, &london), [expected], "{text} on {date}");
    }
    // Sydney: the same in reverse.
    let sydney = site(zone("Australia/Sydney"), -33.87, 151.21);
    assert_eq!(day_from_noon("sunset not-before 20:30 not-after 23:00", "2027-12-21", &sydney), ["21T20:30"]);
    assert_eq!(day_from_noon("sunset not-after 19:30", "2027-10-03", &sydney), ["03T18:58"]);
    assert_eq!(day_from_noon("civil-dusk not-after 19:00", "2027-12-21", &sydney), ["21T19:00"]);
}

/// The rule in another form: the evening of an event is the date that its noon was on.
fn clamped(event: SunEvent, happens: Instant, clamps: [Option<NaiveTime>; 2], zone: Zone) -> Instant {
    let is_evening =
        !matches!(event, SunEvent::Sunrise | SunEvent::CivilDawn | SunEvent::NauticalDawn | SunEvent::AstronomicalDawn);
    let (date, time) = calendar::to_local(happens, zone);
    // At these places no evening begins before 10:00 or ends after it, and no morning before 22:00.
    let (early, late) = (time.hour() < 10, time.hour() >= 22);
    let date = match (is_evening, early, late) {
        (true, true, _) => date - Days::new(1),
        (false, _, true) => date + Days::new(1),
        _ => date,
    };
    let instant = |time: NaiveTime| {
        let date = match (is_evening, time.hour() < 6, time.hour() >= 18) {
            (true, true, _) => date + Days::new(1),
            (false, _, true) => date - Days::new(1),
            _ => date,
        };
        calendar::to_instant(date, time, zone)
    };
    let raised = clamps[0].map_or(happens, |time| happens.max(instant(time)));
    clamps[1].map_or(raised, |time| raised.min(instant(time)))
}

#[test]
fn a_clamp_is_on_the_evening_or_morning_of_its_event_at_every_latitude() {
    let devices = [
        helsinki(),
        fairbanks(),
        reykjavik(),
        tromso(),
        site(zone("Atlantic/Reykjavik"), 78.0, -21.9),
        site(zone("Europe/London"), 51.5, -0.1),
        site(zone("America/Bogota"), 0.0, -74.0),
        site(zone("Asia/Kathmandu"), 27.7, 85.3),
        site(zone("Australia/Sydney"), -33.9, 151.2),
        site(zone("America/Punta_Arenas"), -53.2, -70.9),
        site(zone("Pacific/Auckland"), -77.85, 166.67),
    ];
    let evening = ["not-after 22:00", "not-before 20:00", "not-before 20:00 not-after 23:30", "not-before 00:10"];
    let morning = ["not-before 06:30", "not-after 05:00", "not-before 23:45 not-after 08:00", "not-after 23:30"];
    let (start, end) = (at("2027-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z"));
    for place in devices {
        let (almanac, location) = (&mut Almanac::default(), place.location.expect("a location"));
        for (event, clauses) in [
            (SunEvent::Sunset, evening),
            (SunEvent::CivilDusk, evening),
            (SunEvent::Sunrise, morning),
            (SunEvent::CivilDawn, morning),
        ] {
            let first = calendar::to_local(start, place.zone).0 - Days::new(3);
            let events: Vec<_> =
                first.iter_days().take(373).flat_map(|date| almanac.times(event, date, location, place.zone)).collect();
            for clauses in clauses {
                let trigger = trigger(&format!("{event} {clauses}"));
                let Trigger::Sun(sun) = &trigger else { panic!("a sun trigger") };
                let clamps = [sun.not_before, sun.not_after];
                let mut expected: Vec<_> =
                    events.iter().map(|happens| clamped(event, *happens, clamps, place.zone)).collect();
                expected.dedup();
                expected.retain(|due| start < *due && *due <= end);
                assert_eq!(between(&trigger, start, end, &place, almanac), expected, "{trigger} in {}", place.zone);
            }
        }
    }
}
