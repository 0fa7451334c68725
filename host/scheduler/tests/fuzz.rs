//! Fuzz tests of triggers, topics and topic filters: any text is accepted or refused, and accepted ones keep their
//! promises. `make fuzz` runs more cases than usual; those that failed once are kept in `tests/seeds/failed.txt`,
//! beside the seeds for random texts.

use proptest::{collection::vec, prelude::*, sample::select, test_runner::FileFailurePersistence};
use roost_scheduler::{
    calendar,
    time::{Instant, Location, Site},
    topic::{Topic, TopicFilter},
    trigger::{Almanac, Context, CronCache, Search, parse, parse_duration, parse_stored},
};

/// A change of a text.
#[derive(Clone, Debug)]
enum Change {
    Insert(usize, String),
    Remove(usize, usize),
    Repeat(usize, usize),
    Swap(usize, usize),
}

/// Returns a seed with a few changes, or any text.
fn texts(seeds: &'static str, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => select(words).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ];
    let change = prop_oneof![
        3 => (any::<usize>(), word).prop_map(|(at, word)| Change::Insert(at, word)),
        2 => (any::<usize>(), 1..8_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<usize>(), 1..8_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Change::Swap(one, other)),
    ];
    let seeds: Vec<&str> = seeds.lines().collect();
    let changed = (select(seeds), vec(change, 0..5)).prop_map(|(seed, changes)| {
        let mut chars: Vec<char> = seed.chars().collect();
        for change in changes {
            let place = |at: usize| at % (chars.len() + 1);
            match change {
                Change::Insert(at, word) => {
                    let at = place(at);
                    chars.splice(at..at, word.chars());
                }
                Change::Remove(at, count) => {
                    let at = place(at);
                    chars.drain(at..chars.len().min(at + count));
                }
                Change::Repeat(at, count) => {
                    let at = place(at);
                    let part = chars[at..chars.len().min(at + count)].to_vec();
                    chars.splice(at..at, part);
                }
                Change::Swap(one, other) if !chars.is_empty() => {
                    let length = chars.len();
                    chars.swap(one % length, other % length);
                }
                Change::Swap(..) => {}
            }
        }
        chars.into_iter().collect::<String>()
    });
    prop_oneof![9 => changed, 1 => any::<String>()]
}

fn trigger_texts() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "every ",
        "at ",
        "cron ",
        "sunset",
        "solar-noon",
        " in ",
        " from ",
        " + ",
        " - ",
        " not-before ",
        " not-after ",
        " else ",
        "06:30",
        "24:00",
        "23:59:59",
        "2027-02-29",
        "T06:30:00Z",
        "now",
        "*/7",
        "1-5",
        "L",
        "W",
        "#5",
        "?",
        "@yearly",
        "SUN",
        "DEC",
        "1d",
        "5m",
        "999ms",
        "\u{0}",
        " ",
        "\u{2028}",
        "Asia/Kathmandu",
        " on ",
        " every ",
        " except ",
        "MON-FRI",
        "FEB-29",
        "NOV-15..MAR-15",
        "1-31",
        "holidays",
        ",",
        "2 weeks from 2027-03-01",
        "2027-03-01..2027-03-31",
        "9999-12-31",
        "finish ",
        "once ",
        " after 45m",
        "sun at -6 setting",
        "-1",
        "4294967296",
    ];
    texts(include_str!("seeds/triggers.txt"), WORDS)
}

fn topic_texts() -> impl Strategy<Value = String> {
    const WORDS: &[&str] =
        &["/", "+", "#", "$", "//", "/+/", "/#", "coop", "\u{0}", "\u{fffe}", "\u{1b}", " ", "$share/a/"];
    texts(include_str!("seeds/topics.txt"), WORDS)
}

fn now() -> Instant {
    Instant::from_millis(1_800_000_000_000).expect("in range")
}

/// Matches by MQTT 5.0, section 4.7, level by level.
fn is_matched(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        (["+", filter @ ..], [_, topic @ ..]) => is_matched(filter, topic),
        ([one, filter @ ..], [other, topic @ ..]) => one == other && is_matched(filter, topic),
        (filter, topic) => filter.is_empty() && topic.is_empty(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds/failed.txt"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_trigger_is_refused_with_a_reason_or_reads_back_what_it_writes(text in trigger_texts()) {
        match parse(&text, &Context::at(now()), &mut CronCache::default()) {
            Err(error) => prop_assert!(!error.to_string().trim().is_empty(), "{}", text),
            Ok(trigger) => {
                let written = trigger.to_string();
                let read = parse_stored(&written, &mut CronCache::default());
                prop_assert_eq!(read.map_err(|error| error.to_string()), Ok(trigger), "{} is written as {}", text, written);
            }
        }
    }

    #[test]
    fn an_occurrence_is_after_the_instant_that_was_searched_from(text in trigger_texts(), far in any::<bool>()) {
        let location = Location::new(70.0, 25.0).filter(|_| far);
        let site = Site { zone: calendar::parse_zone("Europe/Helsinki").expect("a zone"), location: location.or(Location::new(-51.5, 0.1)) };
        if let Ok(trigger) = parse(&text, &Context::at(now()), &mut CronCache::default())
            && let Search::Found(next) = trigger.next(now(), &site, &mut Almanac::default())
        {
            prop_assert!(next > now(), "{}", text);
        }
    }

    #[test]
    fn a_duration_is_refused_or_is_one(text in trigger_texts()) {
        let of = text.rsplit(' ').next().unwrap_or_default();
        let _ = parse_duration(of);
    }

    #[test]
    fn a_filter_matches_by_the_rules_of_mqtt(filter in topic_texts(), topic in topic_texts()) {
        let (filter, topic) = (TopicFilter::parse(&filter), Topic::parse(&topic));
        for error in [filter.as_ref().err(), topic.as_ref().err()].into_iter().flatten() {
            let text = error.to_string();
            prop_assert!(!text.contains(char::is_control), "{}", text);
        }
        if let (Ok(filter), Ok(topic)) = (filter, topic) {
            let levels = [filter.as_str(), topic.as_str()].map(|text| text.split('/').collect::<Vec<_>>());
            let expected = is_matched(&levels[0], &levels[1]);
            prop_assert_eq!(filter.matches(topic.as_str()), expected, "{} and {}", filter, topic);
            let is_plain = !topic.as_str().starts_with('$') && !topic.as_str().contains(['+', '#', '\u{0}']);
            prop_assert!(is_plain, "{}", topic);
        }
    }
}
