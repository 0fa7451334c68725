//! A trigger as it is typed on the command line.

use crate::when::When;
use roost_scheduler::zone::Zone;

/// In the words of a trigger: with the minus sign that was typed, and a time on the clock of that zone as an instant.
pub(super) fn typed(words: &[String], zone: Zone) -> String {
    let text = words.join(" ").replace('−', "-");
    let time = text.strip_prefix("at ").and_then(|time| time.trim().parse::<When>().ok());
    match time {
        Some(local @ When::Local(_)) => format!("at {}", local.in_zone(zone)),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zones::zone;

    #[test]
    fn local_times_are_of_the_zone_and_a_minus_is_as_it_was_typed() {
        let typed = |text: &str| typed(&[text.to_owned()], zone("Europe/Berlin"));
        assert_eq!(typed("at 2027-07-01T06:30"), "at 2027-07-01T04:30:00Z");
        assert_eq!(typed("at 2027-07-01 06:30"), "at 2027-07-01T04:30:00Z");
        for text in ["at 2027-07-01T06:30:00.250Z", "at now+2s", "at 7:30", "every -5m", "sunset -20m"] {
            assert_eq!(typed(text), text);
        }
        assert_eq!(typed("sunset −20m"), "sunset -20m");
    }
}
