//! Triggers on the command line.

use crate::when::When;
use roost_scheduler::zone::Zone;

/// Joins the words of a trigger. Restores the hyphen of an offset (see `escape_offset`), and converts a local time of
/// the zone to UTC.
pub(super) fn normalize(words: &[String], zone: Zone) -> String {
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
    fn local_times_become_utc_and_minus_signs_become_hyphens() {
        let normalize = |text: &str| normalize(&[text.to_owned()], zone("Europe/Berlin"));
        assert_eq!(normalize("at 2027-07-01T06:30"), "at 2027-07-01T04:30:00Z");
        assert_eq!(normalize("at 2027-07-01 06:30"), "at 2027-07-01T04:30:00Z");
        for text in ["at 2027-07-01T06:30:00.250Z", "at now+2s", "at 7:30", "every -5m", "sunset -20m"] {
            assert_eq!(normalize(text), text);
        }
        assert_eq!(normalize("sunset −20m"), "sunset -20m");
    }
}
