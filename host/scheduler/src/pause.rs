//! Pauses: stretches of time in which nothing is started. What is due in one is skipped, what is due after its end runs.

use std::{fmt, sync::Arc};

use crate::{
    limits,
    mutants::{Mutation, mutated},
    text::is_unprintable,
    time::Instant,
};

/// A pause: what is due in `from ≤ due < until` is skipped, whenever that is decided. Each scope has at most one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    from: Option<Instant>,
    until: Option<Instant>,
    reason: Option<Arc<str>>,
}

/// Why there can be no such pause, in one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseFault {
    /// It has no instant.
    #[error("it would end at {until}, which is not after its beginning at {from}")]
    EndsBeforeItBegins {
        /// Its beginning.
        from: Instant,
        /// Its end.
        until: Instant,
    },
    /// The reason is too long.
    #[error("its reason has {0} bytes, and may have up to {most}", most = limits::PAUSE_REASON_BYTES)]
    LongReason(usize),
    /// The reason has more than one line, or characters that cannot be shown.
    #[error("its reason has to be one line of printable text")]
    UnprintableReason,
}

impl Pause {
    /// A pause of what is due now or later, until it is removed.
    pub const UNTIL_RESUMED: Self = Self { from: None, until: None, reason: None };

    /// Returns a pause. Without a beginning it also covers what is due already and has not started, without an end it
    /// lasts until it is removed. An empty reason is none.
    ///
    /// # Errors
    /// Returns what is wrong with it.
    pub fn new(from: Option<Instant>, until: Option<Instant>, reason: Option<&str>) -> Result<Self, PauseFault> {
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            return Err(PauseFault::EndsBeforeItBegins { from, until });
        }
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        match reason {
            Some(reason) if reason.len() > limits::PAUSE_REASON_BYTES => Err(PauseFault::LongReason(reason.len())),
            Some(reason) if reason.contains(is_unprintable) => Err(PauseFault::UnprintableReason),
            _ => Ok(Self { from, until, reason: reason.map(Into::into) }),
        }
    }

    /// Returns when it begins; `None` if it covers all that has not started.
    #[must_use]
    pub const fn from(&self) -> Option<Instant> {
        self.from
    }

    /// Returns when it ends; `None` if it lasts until it is removed.
    #[must_use]
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Returns why it was set, for users.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns whether what is due at an instant is skipped.
    #[must_use]
    pub fn covers(&self, at: Instant) -> bool {
        let has_begun = self.from.is_none_or(|from| from <= at) || mutated(Mutation::PauseBeginsAtOnce);
        has_begun && (!self.is_over(at) || mutated(Mutation::PauseNeverEnds))
    }

    /// Returns whether it has ended at an instant.
    #[must_use]
    pub fn is_over(&self, at: Instant) -> bool {
        self.until.is_some_and(|until| until < at || until == at && !mutated(Mutation::PauseEndIsInclusive))
    }

    /// Returns when it can be forgotten: nothing that was due in it can start any more.
    pub(crate) fn forgotten_at(&self) -> Option<Instant> {
        self.until.map(|until| until.plus_ms(limits::TOMBSTONE_MS))
    }

    /// Returns when it next begins, ends or can be forgotten, after an instant; that instant if it can be forgotten.
    pub(crate) fn next_change(&self, after: Instant) -> Option<Instant> {
        self.changes().find(|at| *at > after).or_else(|| self.forgotten_at().map(|_| after))
    }

    /// Returns when it begins, ends and can be forgotten.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Instant> {
        [self.from, self.until, self.forgotten_at()].into_iter().flatten()
    }

    /// Writes it after the name of what is paused, with times as `time` formats them: ` until 08:00 (rain)`, or nothing.
    pub fn suffix(&self, time: &dyn Fn(Instant) -> String) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            self.until.map_or(Ok(()), |until| write!(f, " until {}", time(until)))?;
            self.reason().map_or(Ok(()), |reason| write!(f, " ({reason})"))
        })
    }
}

/// What a pause was set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A single job.
    Job,
    /// A device: all its jobs.
    Device,
    /// A plugin: all jobs of all its devices.
    Plugin,
    /// All plugins, and jobs made by hand.
    All,
}

impl Level {
    /// All levels, from the narrowest.
    pub const ALL: [Self; 4] = [Self::Job, Self::Device, Self::Plugin, Self::All];

    /// Returns its word, for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Device => "device",
            Self::Plugin => "plugin",
            Self::All => "all",
        }
    }

    /// Parses its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

/// A pause that applies to a job, and what it was set on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedBy {
    /// What it was set on.
    pub what: Level,
    /// The pause.
    pub pause: Arc<Pause>,
}

/// The pauses that apply to a job: its own, its device's, its plugin's, and the one of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(pub(crate) Vec<PausedBy>);

impl Pauses {
    /// Returns whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the pause by which what is due at an instant is skipped: of several, the one that ends last.
    #[must_use]
    pub fn at(&self, at: Instant) -> Option<&PausedBy> {
        let covering = self.0.iter().filter(|by| by.pause.covers(at));
        // The first of those with the same end: the narrowest.
        covering.rev().max_by_key(|by| by.pause.until.unwrap_or(Instant::MAX))
    }

    /// Returns the pause that was set on one of them itself.
    #[must_use]
    pub fn of(&self, what: Level) -> Option<&PausedBy> {
        self.0.iter().find(|by| by.what == what)
    }

    /// Returns when the next pause begins after an instant.
    #[must_use]
    pub fn next_after(&self, at: Instant) -> Option<Instant> {
        self.0.iter().filter_map(|by| by.pause.from).filter(|from| *from > at).min()
    }

    /// Returns the pause to show: the one in force, or the next one.
    #[must_use]
    pub fn shown(&self, now: Instant) -> Option<&PausedBy> {
        self.at(now).or_else(|| {
            let to_come = self.0.iter().filter(|by| by.pause.from.is_some_and(|from| from > now));
            to_come.min_by_key(|by| by.pause.from)
        })
    }
}

impl FromIterator<PausedBy> for Pauses {
    /// Takes the pauses from the narrowest to the widest.
    fn from_iter<T: IntoIterator<Item = PausedBy>>(pauses: T) -> Self {
        Self(pauses.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Instant {
        Instant::from_millis(millis).expect("in range")
    }

    fn pause(from: Option<i64>, until: Option<i64>) -> Pause {
        Pause::new(from.map(at), until.map(at), None).expect("a pause")
    }

    fn by(what: Level, from: Option<i64>, until: Option<i64>) -> PausedBy {
        PausedBy { what, pause: pause(from, until).into() }
    }

    #[test]
    fn a_pause_covers_its_beginning_and_not_its_end() {
        let covered = |pause: Pause| [9, 10, 19, 20].map(|instant| pause.covers(at(instant)));
        assert_eq!(covered(pause(Some(10), Some(20))), [false, true, true, false]);
        assert_eq!(covered(pause(None, Some(20))), [true, true, true, false]);
        assert_eq!(covered(pause(Some(10), None)), [false, true, true, true]);
        assert_eq!(covered(Pause::UNTIL_RESUMED), [true; 4]);
    }

    #[test]
    fn a_pause_without_an_instant_or_with_a_reason_of_lines_is_refused() {
        let fault = |from, until, reason| Pause::new(from, until, reason).expect_err("a fault").to_string();
        let long = "x".repeat(limits::PAUSE_REASON_BYTES + 1);
        expect![[r#"
            it would end at 1970-01-01T00:00:00.010Z, which is not after its beginning at 1970-01-01T00:00:00.010Z
            its reason has 201 bytes, and may have up to 200
            its reason has to be one line of printable text"#]]
        .assert_eq(
            &[
                fault(Some(at(10)), Some(at(10)), None),
                fault(None, None, Some(&long)),
                fault(None, None, Some("rain\nand hail")),
            ]
            .join("\n"),
        );
        assert_eq!(Pause::new(None, None, Some("  ")), Ok(Pause::UNTIL_RESUMED));
    }

    #[test]
    fn of_several_pauses_the_one_that_ends_last_counts_and_then_the_narrowest() {
        let what = |pauses: &[PausedBy], now| {
            let pauses: Pauses = pauses.iter().cloned().collect();
            pauses.at(at(now)).map(|by| by.what)
        };
        let job = by(Level::Job, None, Some(20));
        assert_eq!(what(&[job.clone(), by(Level::Device, None, Some(20))], 10), Some(Level::Job));
        assert_eq!(what(&[job.clone(), by(Level::Plugin, None, Some(30))], 10), Some(Level::Plugin));
        assert_eq!(what(&[job.clone(), by(Level::All, None, None)], 10), Some(Level::All));
        assert_eq!(what(&[job.clone(), by(Level::All, Some(15), None)], 10), Some(Level::Job));
        assert_eq!(what(&[job, by(Level::All, Some(15), Some(25))], 25), None);
    }

    #[test]
    fn a_pause_changes_when_it_begins_when_it_ends_and_when_it_is_forgotten() {
        let forgotten = 20 + limits::TOMBSTONE_MS;
        let changes = |pause: Pause| [5, 10, 20, forgotten].map(|now| pause.next_change(at(now)).map(Instant::millis));
        let last = Some(forgotten);
        assert_eq!(changes(pause(Some(10), Some(20))), [Some(10), Some(20), last, last]);
        assert_eq!(changes(pause(Some(10), None)), [Some(10), None, None, None]);
        assert_eq!(changes(Pause::UNTIL_RESUMED), [None; 4]);
    }

    proptest! {
        #[test]
        fn a_pause_covers_exactly_the_instants_from_its_beginning_to_its_end(
            from in proptest::option::of(0_i64..100),
            lasts in proptest::option::of(1_i64..100),
            instant in 0_i64..300,
        ) {
            let until = lasts.map(|lasts| from.unwrap_or(0) + lasts);
            let inside = (from.unwrap_or(i64::MIN)..until.unwrap_or(i64::MAX)).contains(&instant);
            prop_assert_eq!(pause(from, until).covers(at(instant)), inside);
        }
    }
}
