//! Fuzzes the settings of plugins.

use proptest::prelude::*;

use super::*;
use crate::config::tests::fuzz::texts;

proptest! {
    #[test]
    fn settings_are_refused_with_a_place_or_survive_a_round_trip(text in texts()) {
        match Settings::parse(Some(&text), &plugin(), &host(), &Rules::default()) {
            Err(report) => {
                let message = report.to_string();
                prop_assert!(message.contains("coop-door.toml"), "{}\n{}", text, message);
                prop_assert!(!message.contains(|char: char| char.is_control() && char != '\n'), "{:?}", message);
            }
            Ok(settings) => {
                let json = settings.to_json();
                let read = Settings::from_json(&json);
                prop_assert_eq!(read.map_err(|report| report.to_string()), Ok(settings), "{}", json);
            }
        }
    }
}
