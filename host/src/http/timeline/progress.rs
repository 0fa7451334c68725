//! The position of a page in a timeline, and its text in cursors.

use roost_scheduler::{
    names::{DeviceName, JobId, PluginName, RunId},
    time::Instant,
};

use super::{super::limits, ahead::SortKey, collapse::CollapsedKey};

/// The position of a page: the period, and the last run, expected message and collapsed entry so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) window: (Instant, Instant),
    pub(super) run: Option<RunId>,
    pub(super) expected: Option<SortKey>,
    /// The number of runs above which a job is one entry, and the last of these entries.
    pub(super) collapse: Option<(u32, Option<CollapsedKey>)>,
}

impl Progress {
    /// Returns the beginning of a period.
    pub(super) const fn new(window: (Instant, Instant), collapse: Option<u32>) -> Self {
        let collapse = match collapse {
            Some(above) => Some((above, None)),
            None => None,
        };
        Self { window, run: None, expected: None, collapse }
    }
}

/// Formats the position, such as `1803859200000 1803945600000 coop/north/open/2027-03-01T06:30:00Z
/// 1803861000000/coop/north/open/1803861000000/1`, with `-` for missing parts; and if jobs are collapsed, ` 6
/// 1803859200000/coop/north/mist-*`.
impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ", self.window.0.millis(), self.window.1.millis())?;
        match &self.run {
            Some(run) => write!(f, "{run} ")?,
            None => f.write_str("- ")?,
        }
        match &self.expected {
            Some(SortKey { at, job: (plugin, device, job), occurrence, step }) => {
                write!(f, "{}/{plugin}/{device}/{job}/{}/{step}", at.millis(), occurrence.millis())?;
            }
            None => f.write_str("-")?,
        }
        match &self.collapse {
            Some((above, Some((at, name)))) => write!(f, " {above} {}/{name}", at.millis()),
            Some((above, None)) => write!(f, " {above} -"),
            None => Ok(()),
        }
    }
}

impl Progress {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let time = |text: &str| Instant::from_millis(text.parse().ok()?);
        let parts: Vec<_> = text.split(' ').collect();
        let ([from, to, run, expected], collapse) = parts.split_first_chunk()?;
        let run = if *run == "-" { None } else { Some(run.parse().ok()?) };
        let sort_key = |text: &str| {
            let [at, plugin, device, job, occurrence, step] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
            let plugin = PluginName::parse_owner(plugin).ok()?;
            let job = (plugin, DeviceName::parse(device).ok()?, JobId::parse(job).ok()?);
            Some(SortKey { at: time(at)?, job, occurrence: time(occurrence)?, step: step.parse().ok()? })
        };
        let expected = if *expected == "-" { None } else { Some(sort_key(expected)?) };
        let collapse = match collapse {
            [] => None,
            [above, last] => {
                let key = |text: &str| {
                    let (at, name) = text.split_once('/')?;
                    Some((time(at)?, name.to_owned()))
                };
                let above = above.parse().ok().filter(|above| (1..=limits::PAGE).contains(above))?;
                Some((above, if *last == "-" { None } else { Some(key(last)?) }))
            }
            _ => return None,
        };
        let window = (time(from)?, time(to)?);
        // A forged cursor must not exceed the longest period.
        let is_window = (1..=limits::TIMELINE_MS).contains(&window.1.ms_since(window.0));
        Some(Self { window, run, expected, collapse }).filter(|_| is_window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_parsed_as_they_are_formatted() {
        for text in [
            "1803859200000 1803945600000 - -",
            "1803859200000 1803945600000 coop/north/open/2027-03-01T06:30:00Z/series-2 -",
            "1803859200000 1803945600000 - 1803861000000/roost/api/siesta/1803861000000/1",
            "1803859200000 1803945600000 - - 6 -",
            "1803859200000 1803945600000 - - 6 1803861000000/coop/north/mist-*",
        ] {
            assert_eq!(Progress::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "1 2 -",
            "1 2 x -",
            "1 2 - 1/a/b",
            "1 2 - - -",
            "-1 2 - -",
            "2 1 - -",
            "1803859200000 1803945600000 - - 6",
            "1803859200000 1803945600000 - - 0 -",
            "1803859200000 1803945600000 - - 6 x/y",
            "1803859200000 253402300799000 - -",
        ] {
            assert!(Progress::parse(bad).is_none(), "{bad}");
        }
    }
}
