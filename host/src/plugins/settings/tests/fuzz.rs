//! Settings of plugins that anybody could write.

use proptest::prelude::*;

use super::*;
use crate::config::tests::fuzz::texts;

proptest! {
    #[test]
    fn settings_are_taken_or_refused_with_their_place_and_what_is_kept_reads_back(text in texts()) {
        match Settings::parse(Some(&text), &plugin(), &host(), &Rules::default()) {
            Err(report) => {
                let said = report.to_string();
                prop_assert!(said.contains("coop-door.toml"), "{}\n{}", text, said);
                prop_assert!(!said.contains(|char: char| char.is_control() && char != '\n'), "{:?}", said);
            }
            Ok(settings) => {
                let kept = settings.to_json();
                let read = Settings::from_json(&kept);
                prop_assert_eq!(read.map_err(|report| report.to_string()), Ok(settings), "{}", kept);
            }
        }
    }
}
