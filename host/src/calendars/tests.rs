use std::fs;

use chrono::NaiveDate;
use expect_test::expect;
use roost_tests::redact;
use tempfile::TempDir;

use super::*;
use crate::zones::zone;

const TODAY: &str = "2026-11-30";

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn now() -> Instant {
    Instant::from(chrono::DateTime::parse_from_rfc3339("2026-11-30T12:00:00Z").unwrap())
}

/// Makes a file of events, each of some lines.
fn calendar(events: &[&str]) -> String {
    let events: String = events
        .iter()
        .map(|event| format!("BEGIN:VEVENT\r\n{}\r\nEND:VEVENT\r\n", event.replace('\n', "\r\n")))
        .collect();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n")
}

fn read(text: &str) -> Result<ics::Contents, ics::Fault> {
    ics::read(text, date(TODAY), zone("Europe/London"))
}

fn shown(dates: &Dates) -> String {
    let one = |(from, to): &(NaiveDate, NaiveDate)| if from == to { from.to_string() } else { format!("{from}..{to}") };
    dates.ranges().iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Returns the days of events, and what was not understood.
fn days(events: &[&str]) -> String {
    let contents = read(&calendar(events)).unwrap();
    contents.notes.iter().fold(shown(&contents.dates), |shown, note| format!("{shown}\n{note}"))
}

#[test]
fn events_of_whole_days_and_of_hours_mark_the_dates_that_they_touch() {
    for (event, expected) in [
        ("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261226\nSUMMARY:Christmas", "2026-12-25"),
        ("DTSTART;VALUE=DATE:20261225", "2026-12-25"),
        ("DTSTART:20261225", "2026-12-25"),
        ("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20270103", "2026-12-24..2027-01-02"),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:P1W", "2026-12-24..2026-12-30"),
        // Until midnight, and beyond it.
        ("DTSTART:20261225T180000\nDTEND:20261226T000000", "2026-12-25"),
        ("DTSTART:20261225T180000\nDTEND:20261226T000001", "2026-12-25..2026-12-26"),
        ("DTSTART:20261225T180000\nDURATION:PT6H30M", "2026-12-25..2026-12-26"),
        ("DTSTART:20261225T180000", "2026-12-25"),
        // In London, the next day has begun.
        ("DTSTART:20270630T233000Z\nDTEND:20270630T234500Z", "2027-07-01"),
        ("DTSTART;TZID=America/New_York:20270630T200000\nDTEND;TZID=America/New_York:20270630T210000", "2027-07-01"),
        ("DTSTART;TZID=\"/citadel.org/20250101/Asia/Tokyo\":20270701T073000", "2027-06-30"),
        // Long ago.
        ("DTSTART;VALUE=DATE:20001225", ""),
        ("DTSTART;VALUE=DATE:20251101\nDTEND;VALUE=DATE:20251202", "2025-11-29..2025-12-01"),
        ("DTSTART;VALUE=DATE:20261225\nSTATUS:CANCELLED", ""),
    ] {
        assert_eq!(days(&[event]), expected, "{event}");
    }
    assert_eq!(
        days(&["DTSTART:20261225", "DTSTART:20261226", "DTSTART:20270101"]),
        "2026-12-25..2026-12-26 2027-01-01"
    );
    assert_eq!(days(&[]), "");
}

#[test]
fn recurrences_are_followed_with_their_exceptions() {
    for (events, expected) in [
        (&["DTSTART;VALUE=DATE:20201225\nRRULE:FREQ=YEARLY;UNTIL=20281224"][..], "2025-12-25 2026-12-25 2027-12-25"),
        (&["DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;COUNT=2"], "2026-12-25 2027-12-25"),
        // The first ones are long over, and count.
        (&["DTSTART;VALUE=DATE:20201225\nRRULE:FREQ=YEARLY;COUNT=8"], "2025-12-25 2026-12-25 2027-12-25"),
        (
            &["DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=DAILY;COUNT=5\nEXDATE;VALUE=DATE:20261202,20261203"],
            "2026-12-01 2026-12-04..2026-12-05",
        ),
        (
            &["DTSTART;VALUE=DATE:20261201\nRDATE;VALUE=DATE:20261210,20261212\nEXDATE:20261212"],
            "2026-12-01 2026-12-10",
        ),
        (
            &["DTSTART;VALUE=DATE:20261201\nDTEND;VALUE=DATE:20261203\nRRULE:FREQ=WEEKLY;COUNT=2"],
            "2026-12-01..2026-12-02 2026-12-08..2026-12-09",
        ),
        // The last one begins at `UNTIL`, and that is in Tokyo.
        (
            &["DTSTART;TZID=Asia/Tokyo:20261201T080000\nRRULE:FREQ=DAILY;UNTIL=20261202T230000Z"],
            "2026-11-30..2026-12-02",
        ),
        (
            &[
                "DTSTART;TZID=Asia/Tokyo:20261201T080000\nRRULE:FREQ=DAILY;UNTIL=20261202T225959Z\nEXDATE;TZID=Asia/Tokyo:20261201T080000",
            ],
            "2026-12-01",
        ),
        // One recurrence is moved, another one is cancelled.
        (
            &[
                "UID:a\nDTSTART:20261201\nRRULE:FREQ=DAILY;COUNT=4",
                "UID:a\nRECURRENCE-ID:20261202\nDTSTART:20261215",
                "UID:a\nRECURRENCE-ID:20261203\nDTSTART:20261203\nSTATUS:CANCELLED",
            ],
            "2026-12-01 2026-12-04 2026-12-15",
        ),
    ] {
        assert_eq!(days(events), expected, "{events:?}");
    }
    // Ten years ahead.
    let all = read(&calendar(&["DTSTART:19700101\nRRULE:FREQ=DAILY"])).unwrap().dates;
    assert_eq!(shown(&all), "2025-11-29..2036-12-06");
}

#[test]
fn an_event_that_is_not_understood_is_named() {
    let folded = "SUMMARY:Every other\n  full moon\\, or so\nDTSTART:20261201\nRRULE:FREQ=YEARLY;BYSETPOS=1";
    expect![[r#"
        2026-12-01..2026-12-03 2026-12-05
        line 3, event `Every other full moon, or so`: it recurs by `FREQ=YEARLY;BYSETPOS=1`, where `BYSETPOS=1` is not understood: only its first day counts
        line 9, event `b@c`: `DTSTART:2026-12-25` is not a date; it is left out
        line 13, event without a name: it has no `DTSTART`; it is left out
        line 16, event without a name: it ends before it begins; it is left out
        line 20, event without a name: `Mars/Base` is not an IANA time zone: its times are read as those of Europe/London
        and 3 more"#]]
    .assert_eq(&days(&[
        folded,
        "UID:b@c\nDTSTART:2026-12-25",
        "X-NOTHING:1",
        "DTSTART:20261203\nDTEND:20261201",
        "DTSTART;TZID=Mars/Base:20261202T100000",
        "DTSTART:20261203\nEXDATE:soon",
        "DTSTART:20261201\nDURATION:1 day",
        "DTSTART:20261205\nEXRULE:FREQ=DAILY",
    ]));
    let often = vec!["DTSTART:19700101\nRRULE:FREQ=DAILY;COUNT=1000000"; 1_000];
    let notes = read(&calendar(&often)).unwrap().notes.join("\n");
    assert!(notes.contains("the events of the file recur too often; it is left out"), "{notes}");
}

#[test]
fn a_file_that_is_not_complete_is_refused_with_its_line() {
    let whole = calendar(&["DTSTART:20261225\nSUMMARY:A long\n  one", "DTSTART:20261226"]);
    // Cut at any byte, it is either refused or complete.
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        let is_complete = whole[..end].trim_end().ends_with("END:VCALENDAR");
        assert_eq!(read(&whole[..end]).is_ok(), is_complete, "{}", &whole[..end]);
    }
    let faults = [
        "",
        "<html>\n<body>not found</body>\n</html>",
        "BEGIN:VEVENT\nDTSTART:20261225\nEND:VEVENT\n",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:a\n  b\nDTSTART 20261225\nEND:VEVENT\nEND:VCALENDAR\n",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\nEND:VTODO\nEND:VCALENDAR\n",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\n",
        "BEGIN:VCALENDAR\nEND:VCALENDAR\nEND:VCALENDAR",
        "BEGIN:VCALENDAR\nX\u{7f};a:1\nEND:VCALENDAR",
        &"BEGIN:X\n".repeat(100_000),
    ]
    .map(|text| {
        let fault = read(text).unwrap_err();
        format!("{}: {}", fault.line, fault.why)
    });
    expect![[r#"
        1: it is empty
        1: `<html>` is not a line of an iCalendar file
        1: it is not an iCalendar file: it has no `BEGIN:VCALENDAR`
        5: `DTSTART 20261225` is not a line of an iCalendar file
        4: `END:VEVENT` is missing here
        3: it ends too early: `END:VEVENT` is missing
        3: `END:VCALENDAR` has no `BEGIN:`
        2: a line of what begins there is not understood
        9: its components lie too deep within one another"#]]
    .assert_eq(&faults.join("\n"));
}

#[test]
fn a_file_is_read_in_bounded_time_and_depth() {
    let list = |one: &str, count: usize| vec![one; count].join(",");
    // The continuation of an empty line begins a line of its own.
    let folded = format!("BEGIN:VCALENDAR\nX:1{}\nEND:VCALENDAR\n", "\n\n BEGIN:Y".repeat(100_000));
    let fault = read(&folded).unwrap_err();
    assert_eq!((fault.line, fault.why.as_str()), (17, "its components lie too deep within one another"));
    let numbers: Vec<String> = (1..=53).map(|nth| format!("{nth}MO,-{nth}MO")).collect();
    let rule = format!("DTSTART:00010101\nRRULE:FREQ=YEARLY;COUNT=1000000;BYDAY={}", list(&numbers.join(","), 100));
    let exceptions = list("20261202", 100_000);
    let rules = "\nRRULE:FREQ=DAILY".repeat(50_000);
    let zone = format!("DTSTART;TZID={}b:20261201T100000", "a/".repeat(500_000));
    let zones = (0..20_000).map(|number| format!("\nEXDATE;TZID=a/{number}:20261202T100000")).collect::<String>();
    let masters = vec!["UID:a\nDTSTART:20261201"; 8_000];
    let replacements = vec!["UID:a\nRECURRENCE-ID:20261203\nDTSTART:20261204"; 8_000];
    for (events, note) in [
        (vec![&*rule; 2], "the events of the file recur too often"),
        (vec![&format!("DTSTART:20261201\nEXDATE:{exceptions}{rules}")], "the events of the file recur too often"),
        (vec![&format!("DTSTART:20261201\nEXDATE:{exceptions}\nRDATE:{}", list("20261203", 100_000))], ""),
        (vec![&zone], "is not an IANA time zone"),
        (vec![&format!("DTSTART:20261201T100000{zones}")], ""),
        ([masters, replacements].concat(), "the events of the file recur too often"),
        (vec!["DTSTART:20261201\nDURATION:P999999999W"], ""),
    ] {
        let contents = read(&calendar(&events)).unwrap();
        let notes = contents.notes.join("\n");
        assert!(notes.contains(note) && notes.is_empty() == note.is_empty(), "{notes}");
    }
}

#[test]
fn the_ends_of_lines_may_differ_within_a_file() {
    let expected = read(&calendar(&["DTSTART:20261225\nSUMMARY:a", "DTSTART:20261227"])).unwrap();
    let mixed = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\r\nSUMMARY:a\nEND:VEVENT\r\nBEGIN:VEVENT\n\
                 DTSTART:2026\n 1227\nEND:VEVENT\nEND:VCALENDAR\r\n";
    assert_eq!(read(mixed), Ok(expected));
}

/// A folder with the file `holidays.ics`, the settings that name it, and the data.
struct Place {
    folder: TempDir,
    sources: BTreeMap<CalendarName, Source>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::File(folder.path().join("holidays.ics"));
        fs::create_dir(folder.path().join("data")).unwrap();
        Self { sources: [(CalendarName::parse("holidays").unwrap(), source)].into(), folder }
    }

    fn write(&self, text: &str) {
        // A new inode, so that the change is seen however coarse the times are.
        fs::write(self.folder.path().join("new"), text).unwrap();
        fs::rename(self.folder.path().join("new"), self.folder.path().join("holidays.ics")).unwrap();
    }

    fn open(&self) -> Reader {
        Reader::open(&self.sources, &self.folder.path().join("data"), zone("Europe/London"), now())
    }
}

fn dates_of(reader: &Reader) -> Option<String> {
    reader.calendars[0].state.dates.as_ref().map(shown)
}

fn fault_of(reader: &Reader) -> Option<String> {
    let fault = reader.calendars[0].state.fault.as_ref()?;
    Some(redact(&fault.to_string()))
}

#[test]
fn a_change_is_adopted_when_the_file_has_settled() {
    let place = Place::new();
    place.write(&calendar(&["DTSTART:20261225"]));
    let mut reader = place.open();
    assert_eq!((dates_of(&reader).as_deref(), fault_of(&reader)), (Some("2026-12-25"), None));
    assert_eq!(reader.look_again(now()), None);
    place.write(&calendar(&["DTSTART:20261226"]));
    assert_eq!(reader.look_again(now()), None, "it may still be written");
    let changed = reader.look_again(now()).unwrap();
    assert_eq!(changed.dates(&CalendarName::parse("holidays").unwrap()).map(shown).as_deref(), Some("2026-12-26"));
    assert_eq!(reader.look_again(now()), None);
    // The recurrences move on with the days.
    place.write(&calendar(&["DTSTART:20000101\nRRULE:FREQ=DAILY"]));
    reader.look_again(now());
    reader.look_again(now());
    assert!(dates_of(&reader).unwrap().ends_with("2036-12-06"));
    assert!(reader.look_again(now().plus_ms(90_000_000)).is_some());
    assert!(dates_of(&reader).unwrap().ends_with("2036-12-07"));
}

#[test]
fn a_broken_or_missing_file_keeps_the_days_also_over_a_restart() {
    let place = Place::new();
    place.write(&calendar(&["DTSTART:20261225"]));
    let mut reader = place.open();
    reader.keep_copies();
    place.write("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:2026");
    assert_eq!((reader.look_again(now()), fault_of(&reader)), (None, None));
    assert!(reader.look_again(now()).is_some());
    let broken = fault_of(&reader).unwrap();
    reader.keep_copies();
    assert_eq!(dates_of(&reader).as_deref(), Some("2026-12-25"));
    // Reported once.
    assert_eq!(reader.look_again(now()), None);
    for _ in 0..2 {
        let restarted = place.open();
        assert_eq!(dates_of(&restarted).as_deref(), Some("2026-12-25"));
        assert_eq!(fault_of(&restarted).as_ref(), Some(&broken));
        fs::remove_file(place.folder.path().join("data/calendars/nothing")).unwrap_err();
    }
    fs::remove_file(place.folder.path().join("holidays.ics")).unwrap();
    let mut reader = place.open();
    let missing = fault_of(&reader).unwrap();
    expect![[r#"
        the calendar `holidays` cannot be read
          caused by: [FOLDER]/holidays.ics:3: it ends too early: `END:VEVENT` is missing
        hint: correct the file; until then its days as of [TIME] stay in use (1 day)
        the calendar `holidays` cannot be read
          caused by: [FOLDER]/holidays.ics: No such file or directory (os error 2)
        hint: correct the file; until then its days as of [TIME] stay in use (1 day)"#]]
    .assert_eq(&format!("{broken}\n{missing}"));
    // It comes back.
    place.write(&calendar(&["DTSTART:20270101"]));
    reader.look_again(now());
    assert!(reader.look_again(now()).is_some());
    assert_eq!((dates_of(&reader).as_deref(), fault_of(&reader)), (Some("2027-01-01"), None));
}

#[test]
fn a_calendar_that_has_never_been_read_is_none() {
    let place = Place::new();
    let mut reader = place.open();
    assert_eq!(dates_of(&reader), None);
    assert_eq!(reader.contents(), Calendars::default());
    expect![[r#"
        the calendar `holidays` cannot be read
          caused by: [FOLDER]/holidays.ics: No such file or directory (os error 2)
        hint: correct the file; until then a job that names the calendar is refused"#]]
    .assert_eq(&fault_of(&reader).unwrap());
    // The parts of a copy are no copy.
    fs::create_dir(place.folder.path().join("data/calendars")).unwrap();
    fs::write(place.folder.path().join("data/calendars/holidays.ics"), "BEGIN:VCALENDAR").unwrap();
    assert_eq!(dates_of(&place.open()), None);
    place.write(&calendar(&["DTSTART:20270101"]));
    reader.look_again(now());
    assert!(reader.look_again(now()).is_some_and(|contents| contents.iter().count() == 1));
}
