//! Triggers as users write them: parsed, formatted and refused.

use super::*;

fn read(text: &str) -> Result<String, TriggerError> {
    let now = Instant::from_millis(1_803_882_600_000).expect("2027-03-01T06:30:00Z");
    parse(text, &Context::at(now), &mut CronCache::default()).map(|trigger| trigger.to_string())
}

#[test]
fn triggers_are_parsed() {
    for (text, expected) in [
        ("now", "at 2027-03-01T06:30:00Z"),
        ("at now", "at 2027-03-01T06:30:00Z"),
        (" at  now+2s ", "at 2027-03-01T06:30:02Z"),
        ("at now + 1h30m", "at 2027-03-01T08:00:00Z"),
        ("at 2027-03-01T06:30:00.250+01:00", "at 2027-03-01T05:30:00.250Z"),
        ("every 90m", "every 1h30m"),
        ("every 1500ms from 2027-03-01T06:30:00Z", "every 1s500ms from 2027-03-01T06:30:00Z"),
        ("cron  30 6 * *  mon-fri", "cron 30 6 * * mon-fri"),
        ("cron @daily in Europe/London", "cron @daily in Europe/London"),
        ("at 2027-03-01 06:30:00Z", "at 2027-03-01T06:30:00Z"),
        ("Sunrise", "sunrise"),
        ("sunset -20m", "sunset -20m"),
        ("sunset −20m", "sunset -20m"),
        ("sunset - 20m", "sunset -20m"),
        ("civil-dusk+5m not-after 21:30", "civil-dusk +5m not-after 21:30"),
        ("sunrise not-before 6:30 not-after 08:00:15", "sunrise not-before 06:30 not-after 08:00:15"),
        ("sunset else 22:00 not-after 0:30 not-before 20:00", "sunset not-before 20:00 not-after 00:30 else 22:00"),
        ("sunset -6h not-before 3:00 not-after 12:00", "sunset -6h not-before 03:00 not-after 12:00"),
        ("solar-noon +12h", "solar-noon +12h"),
        ("solar-midnight -1h", "solar-midnight -1h"),
        ("every 2w", "every 14d"),
        ("every 90d", "every 90d"),
        ("daily 05:30", "cron 30 5 * * *"),
        ("daily 05:30:15 on mon-fri,holidays-2", "cron 15 30 5 * * * on MON-FRI,holidays-2"),
        ("Daily 05:30 Every 3d From 2027-03-17", "cron 30 5 * * * every 3 days from 2027-03-17"),
        ("cron 0 12 L-3 * *", "cron 0 12 L-3 * *"),
        ("cron 0 6 * * * in Europe/London in may-sep", "cron 0 6 * * * in Europe/London in MAY-SEP"),
        ("cron 0 6 * * * in school-term", "cron 0 6 * * * in school-term"),
        ("sunrise -30m on MON,WED,FRI", "sunrise -30m on MON,WED,FRI"),
        (
            "sunset in MAR-15..OCT-31 except 2026-12-24..2027-01-02, DEC-31",
            "sunset in MAR-15..OCT-31 except 2026-12-24..2027-01-02,DEC-31",
        ),
        ("sun at −3.1° setting +10m on SUN", "sun at -3.1 setting +10m on SUN"),
        ("finish sunrise", "finish sunrise"),
        ("finish daily 06:00 on SAT after 45m", "finish cron 0 6 * * * on SAT after 45m"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors_name_the_part_that_is_wrong() {
    for (text, part) in [
        ("", "it is empty"),
        ("sunrize", "did you mean `sunrise`?"),
        ("dusk", "did you mean `civil-dusk`?"),
        ("evry 5m", "did you mean `every`?"),
        ("15m", "did you mean `every 15m`?"),
        ("30 6 * * *", "did you mean `cron 30 6 * * *`?"),
        ("@daily", "did you mean `cron @DAILY`?"),
        ("2027-03-01T06:30:00Z", "did you mean `at 2027-03-01T06:30:00Z`?"),
        ("at 2027-03-01T06:30:00", "did you mean `2027-03-01T06:30:00Z`?"),
        ("at noon", "`noon` is not a date and time"),
        ("at 7:30", "`7:30` has no date"),
        ("in 2h", "did you mean `at now+2h`?"),
        ("in 5 m", "did you mean `at now+5m`?"),
        ("at", "the time is missing"),
        ("at 1969-12-31T23:59:59Z", "not within the years 1970 to 9999"),
        ("now+2", "the duration `2` has no unit"),
        ("every", "the period is missing"),
        ("every 15min", "`min` where a unit should be"),
        ("every 500ms", "`500ms` is shorter than a second"),
        ("every 11000d", "`11000d` is longer than ten years"),
        ("every 99999999999999999999d", "is too long"),
        ("every 5m since now", "`since` is not `from` and a time"),
        ("cron", "the expression is missing"),
        ("cron 0 6 * * * in Europe/Lodnon", "did you mean `Europe/London`?"),
        ("sunset 20m", "did you mean `+20m` or `-20m`?"),
        ("sunset -13h", "more than 12 hours"),
        ("sunset before 21:00", "did you mean `not-before`?"),
        ("sunset not-befor 21:00", "did you mean `not-before`?"),
        ("sunset not-before", "its time of day is missing"),
        ("sunset not-before 24:00", "after `not-before`, `24:00`: there is no hour 24: a day ends"),
        ("sunset not-before 6", "`6` is not a time of day"),
        ("at 2027-02-29 06:30", "`2027-02-29 06:30`: there is no 29 February 2027"),
        ("at 2027-02-29T06:30:00Z", "there is no 29 February 2027: February has 28 days that year"),
        ("at 25:00", "there is no hour 25"),
        ("2027-02-29T06:30:00Z", "there is no 29 February 2027"),
        ("every 1h from 2027-04-31T00:00:00Z", "there is no 31 April 2027"),
        ("sunset not-after 21:00 not-after 22:00", "`not-after` occurs twice"),
        ("sunset not-before 21:00 not-after 20:00", "counted from 06:00 on, `not-before` is later than `not-after`"),
        ("sunset not-before 02:00 not-after 23:00", "`not-before` is later than `not-after`"),
        ("sunset not-after 22:00 else 23:00", "`else` is later than `not-after`"),
        ("sunset else", "after `else`, its time of day is missing"),
        ("sunset otherwise 22:00", "did you mean `else`?"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn errors_of_days_and_of_what_follows_them_name_the_part_that_is_wrong() {
    for (text, part) in [
        ("every 3d on MON", "`on` cannot follow a period"),
        ("every 5 minutes", "did you mean `every 5m`?"),
        ("every 2 fortnights", "`fortnights` is not `from` and a time"),
        ("daily 05:30 from 2027-03-17", "`from` cannot follow a time of day"),
        ("once once sunset", "it begins with `once`"),
        ("daily", "the time of day is missing"),
        ("daily 23:00 MON-FRI", "did you mean `on MON-FRI`?"),
        ("daily 23:00 *", "`*` cannot follow a time of day"),
        ("daily 23:00 odd", "cannot follow a time of day"),
        ("every 3 days from 2027-03-17", "`days` is not part of a period"),
        ("daily 25:00", "there is no hour 25"),
        ("daily 06:00 on Monday", "did you mean `MON`?"),
        ("daily 06:00 on MON TUE", "did you mean `MON,TUE`?"),
        ("daily 06:00 on MON on TUE", "`on` occurs twice"),
        ("daily 06:00 on", "after `on`, the days are missing"),
        ("daily 06:00 except 2027-02-29", "there is no 29 February 2027"),
        ("daily 06:00 in FEB-30", "`FEB-30` is not a day of the year"),
        ("daily 06:00 on 2027-01-02..2027-01-01", "ends before it begins"),
        ("daily 06:00 on FEB-29 in MAR", "no day fulfils all of its clauses"),
        ("daily 06:00 every 3 days", "does not say from which date on"),
        ("daily 06:00 every 0 days from 2027-01-01", "the number must be 1 to 1,000"),
        ("daily 06:00 every 3 months from 2027-01-01", "does not count days or weeks"),
        ("cron 0 0 30 * * in FEB", "the calendar has no such day"),
        ("sun at 95 rising", "not an elevation of -90 to 90 degrees"),
        ("sun at 5 falling", "`falling` is not `rising` or `setting`"),
        ("sun", "followed by `at`"),
        ("finish every 5m", "`every 5m` cannot follow `finish`"),
        ("once sunset", "needs the time zone and the location of a device"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert!(!error.hint().is_empty());
    }
    for text in ["daily 05:30 from 2027-03-17", "once once sunset"] {
        assert!(!read(text).expect_err(text).to_string().contains("did you mean"), "{text}");
    }
}

#[test]
fn a_time_of_day_alone_is_not_a_trigger() {
    for text in ["at 7:30", "7:30"] {
        let hint = read(text).expect_err(text).hint().to_owned();
        assert!(hint.starts_with("for every day write `cron 30 7 * * *`"), "{text}: {hint}");
    }
}

#[test]
fn a_star_that_a_shell_has_expanded_is_detected() {
    let hint = |text: &str| read(text).expect_err(text).hint().to_owned();
    for files in ["data plugins roost.toml data plugins roost.toml", "plugins plugins", "a.b a.b", &"a ".repeat(200)] {
        assert_eq!(hint(&format!("cron 30 7 {files} MON-FRI")), SHELL, "{files}");
    }
    for text in ["cron 30 7 * * Monday", "cron 0 6 * * * * * * *", "cron 30 7 32 12 5"] {
        assert_eq!(hint(text), CRON, "{text}");
    }
}

#[test]
fn errors_of_cron_expressions_name_the_field() {
    for (expression, part) in [
        ("0 6 * *", "it has 4 fields"),
        ("60 * * * *", "minute `60` is not one of 0 to 59"),
        ("0 24 * * *", "hour `24` is not one of 0 to 23"),
        ("0 0 0 * *", "day of month `0` is not one of 1 to 31"),
        ("0 0 * * MOM", "day of week `MOM` is not one of 0 to 7 or SUN to SAT"),
        ("0 0 * FOO *", "month `FOO` is not one of 1 to 12 or JAN to DEC"),
        ("0 0 ? * *", "day of month `?`: write `*`"),
        ("0/15 * * * *", "a step needs a range, as in `0-59/2` or `*/2`"),
        ("*/0 * * * *", "a step is a number, 1 or more"),
        ("50-10 * * * *", "the range ends before it begins"),
        ("1,,2 * * * *", "there is nothing before or after a `,`"),
        ("0 0 * * 1#6", "a month has a first (`#1`) to a fifth (`#5`) one"),
        ("0 0 0 1 1 * 1969", "year `1969` is not one of 1970 to 2099"),
        ("@reboot", "the start of a machine is not a time"),
        ("@fortnightly", "the nicknames are"),
        (&"1,".repeat(200), "it is longer than 256 bytes"),
    ] {
        let error = read(&format!("cron {expression}")).expect_err(expression);
        assert!(error.to_string().contains(part), "{expression}: {error}");
        assert_eq!(error.never(), None);
    }
    for expression in ["0 0 31 2 *", "0 0 30 FEB *", "0 0 31 4,6,9,11 *", "0 0 0 29 2 * 2027"] {
        let error = read(&format!("cron {expression}")).expect_err(expression);
        assert_eq!(error.never(), Some(Never::NoSuchDate), "{expression}");
    }
}

#[test]
fn expressions_of_other_crons_get_a_matching_hint() {
    for (text, hint) in [
        (
            "cron CRON_TZ=Europe/London 30 6 * * *",
            "the time zone follows the expression: `cron 30 6 * * * in Europe/London`",
        ),
        ("TZ=Asia/Tokyo 30 6 * * MON", "`cron 30 6 * * MON in Asia/Tokyo`; in a plugin's plan it is `time-zone`"),
        ("cron @every 5m", "a period is a trigger of its own: `every 5m`"),
        ("@every 1h30m", "`every 1h30m`"),
        ("cron @reboot", "`now` runs once"),
        ("@reboot", "`now` runs once"),
        ("cron 0 12 ? * MON", "`?` is `*` here: `cron 0 12 * * MON`"),
        ("cron 2w", "for a period of weeks write `every 2w`"),
        ("cron 61 * * * *", "write `cron 30 6 * * MON-FRI`"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.hint().contains(hint), "{text}: {error}\n{}", error.hint());
    }
}

#[test]
fn uneven_steps_and_whole_weeks_are_explained() {
    let note = |text: &str| parse(text, &Context::at(Instant::MIN), &mut CronCache::default()).expect(text).note();
    for (text, expected) in [
        (
            "cron */90 * * * *",
            "`*/90` counts within each hour: it matches minute 0; for equal distances write `every 90m`",
        ),
        (
            "cron */45 * * * *",
            "`*/45` counts within each hour: it matches minute 0, 45, then 0 of the next hour; for equal distances write \
             `every 45m`",
        ),
        (
            "cron */7 * * * * *",
            "`*/7` counts within each minute: it matches second 0, 7, …, 56, then 0 of the next minute; for equal distances \
             write `every 7s`",
        ),
        ("cron 0 */7 * * *", "`*/7` counts within each day: it matches hour 0, 7, 14, 21, then 0 of the next day"),
        (
            "cron 30 6 */2 * *",
            "`*/2` counts within each month: it matches day 1, 3, …, 31, then 1 of the next month; for equal distances write \
             `daily 06:30 every 2 days from 2027-03-17`",
        ),
        ("cron 0 0 1 */5 *", "`*/5` counts within each year: it matches month 1, 6, 11, then 1 of the next year"),
        ("cron 0 0 * * */2", "`*/2` counts within each week: it matches day 0, 2, 4, 6, then 0 of the next week"),
        (
            "daily 06:00 every 2 weeks from 2027-03-17",
            "`every 2 weeks from 2027-03-17` matches all seven days of such a week; for one of them add `on WED`",
        ),
        (
            "sunset every 2 weeks from 2027-03-15 except holidays",
            "`every 2 weeks from 2027-03-15` matches all seven days of such a week; for one of them add `on MON`",
        ),
    ] {
        assert!(note(text).is_some_and(|found| found.starts_with(expected)), "{text}: {:?}", note(text));
        let suggested =
            note(text).and_then(|found| Some(found.rsplit_once("write `")?.1.trim_end_matches('`').to_owned()));
        if let Some(suggested) = suggested.filter(|text| !text.contains(" from 2027-03-17T")) {
            assert_eq!(note(&suggested), None, "{suggested}");
        }
    }
    for plain in [
        "cron */15 * * * *",
        "cron 0 */6 * * *",
        "cron 0 0 1 */3 *",
        "cron */1 * * * *",
        "cron 0-59/45 8-18 * * *",
        "cron @hourly",
        "cron 0 6 * * WED every 2 weeks from 2027-03-17",
        "cron 0 6 1 * * every 2 weeks from 2027-03-17",
        "daily 06:00 on WED every 2 weeks from 2027-03-17",
        "daily 06:00 every 2 days from 2027-03-17",
    ] {
        assert_eq!(note(plain), None, "{plain}");
    }
}

#[test]
fn two_day_fields_are_explained() {
    let note = |text: &str| parse(text, &Context::at(Instant::MIN), &mut CronCache::default()).expect(text).note();
    for (text, expected) in [
        ("cron 0 6 1-7 * 1", Some("for the first MON of a month write `cron 0 6 * * MON#1`")),
        ("cron 0 0 6 8-14 * SUN", Some("for the second SUN of a month write `cron 0 0 6 * * SUN#2`")),
        ("cron 0 6 25-31 * fri", Some("for the last FRI of a month write `cron 0 6 * * FRIL`")),
        ("cron 0 6 1-7 * 01", Some("for the first MON of a month write `cron 0 6 * * MON#1`")),
        ("cron 0 6 8-14 * 7", Some("for the second SUN of a month write `cron 0 6 * * SUN#2`")),
        ("cron 0 6 1-7 * 5L", Some("as in cron(8), not only on days that match both")),
        ("cron 0 6 13 * FRI", Some("as in cron(8), not only on days that match both")),
        ("cron 0 6 * * MON", None),
        ("cron 0 6 1-7 * *", None),
        ("cron 0 6 */2 * 1", None),
        ("cron @daily", None),
        ("sunset", None),
    ] {
        let found = note(text);
        assert_eq!(found.is_some(), expected.is_some(), "{text}: {found:?}");
        let suggested = found.as_deref().and_then(|found| Some(found.rsplit_once("write `")?.1.trim_end_matches('`')));
        if let (Some(found), Some(expected)) = (&found, expected) {
            assert!(found.contains(expected), "{text}: {found}");
        }
        if let Some(suggested) = suggested {
            assert_eq!(note(suggested), None, "{suggested}");
        }
    }
}

#[test]
fn triggers_that_an_earlier_version_accepted_are_read_from_disk() {
    let text = "sunset not-before 02:00 not-after 22:00";
    assert!(read(text).is_err());
    let stored = super::super::parse_stored(text, &mut CronCache::default()).expect(text);
    assert_eq!(stored.to_string(), text);
}
