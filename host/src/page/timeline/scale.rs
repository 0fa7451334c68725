//! Where the instants of a period are in a drawing.

use chrono::DateTime;
use roost_scheduler::time::Instant;

/// A period, from left to right. Positions are percentages of the width, so that a drawing fits any screen.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Scale {
    from: Instant,
    to: Instant,
}

impl Scale {
    pub(in super::super) const fn new((from, to): (Instant, Instant)) -> Self {
        Self { from, to }
    }

    pub(super) fn from(self) -> Instant {
        self.from
    }

    pub(super) fn to(self) -> Instant {
        self.to
    }

    /// Checks whether an instant is in the period.
    pub(super) fn has(self, at: Instant) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// Returns the part of a stretch of time that is in the period, unless there is none.
    pub(super) fn clip(self, (from, to): (Instant, Instant)) -> Option<(Instant, Instant)> {
        let clipped = (from.max(self.from), to.min(self.to));
        Some(clipped).filter(|(from, to)| from < to)
    }

    /// Returns how far to the right an instant is, from 0 to 1.
    pub(super) fn part(self, at: Instant) -> f64 {
        at.ms_since(self.from) as f64 / self.to.ms_since(self.from) as f64
    }

    /// Returns the position of an instant.
    pub(super) fn x(self, at: Instant) -> String {
        percent(self.part(at))
    }

    /// Returns the width of a stretch of time.
    pub(super) fn width(self, (from, to): (Instant, Instant)) -> String {
        percent(self.part(to) - self.part(from))
    }
}

/// Writes a percentage. A thousandth of one is some seconds of a week.
fn percent(part: f64) -> String {
    let text = format!("{:.3}", part * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Reads a time as the API writes it.
pub(super) fn instant(text: &str) -> Option<Instant> {
    DateTime::parse_from_rfc3339(text).ok().map(Instant::from)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the period between two times.
    pub(in super::super) fn scale(from: &str, to: &str) -> Scale {
        Scale::new((instant(from).unwrap(), instant(to).unwrap()))
    }

    /// Returns the instant at a position, as a test computes it from a drawing.
    pub(in super::super) fn at(scale: Scale, percent: &str) -> Instant {
        let part: f64 = percent.trim_end_matches('%').parse::<f64>().unwrap() / 100.0;
        scale.from.plus_ms((part * scale.to.ms_since(scale.from) as f64).round() as i64)
    }

    #[test]
    fn positions_are_percentages_of_the_period() {
        let day = scale("2027-03-01T00:00:00Z", "2027-03-02T00:00:00Z");
        let x = |text| day.x(instant(text).unwrap());
        assert_eq!(x("2027-03-01T00:00:00Z"), "0%");
        assert_eq!(x("2027-03-01T08:00:00Z"), "33.333%");
        assert_eq!(x("2027-03-02T00:00:00Z"), "100%");
        let beyond = day.clip((instant("2027-02-01T00:00:00Z").unwrap(), instant("2027-03-01T06:00:00Z").unwrap()));
        assert_eq!(day.width(beyond.unwrap()), "25%");
        assert!(day.clip((day.to(), day.to().plus_ms(1))).is_none());
    }
}
