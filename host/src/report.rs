//! How errors are told to people: what failed, why, and what to do.

use std::fmt;

/// One problem, told in full.
///
/// ```text
/// plugin `porch` was not loaded
///   caused by: `schedule-jobs` ran longer than 500 ms
/// hint: the previous version keeps running, with its 4 jobs
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// What failed, in backticks the thing. No full stop, no capital.
    pub(crate) what: String,
    /// Why, each the cause of the one before.
    pub(crate) causes: Vec<String>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Report {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), causes: Vec::new(), hint: None }
    }

    #[must_use]
    pub(crate) fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Adds an error and everything that caused it.
    #[must_use]
    pub(crate) fn chain(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.what))?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {}", shown(cause).replace('\n', "\n    "))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", printable(hint).replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

/// Characters of a line at the most. It may have a name in it that is as long as a file.
const LINE: usize = 1_000;

/// What somebody may have said at any length: of lines that are too long the middle is left out.
fn shown(text: &str) -> String {
    let line = |line: &str| {
        let count = line.chars().count();
        if count <= LINE {
            return line.to_owned();
        }
        let (first, last) = (line.chars().take(LINE / 2), line.chars().skip(count - LINE / 4));
        format!("{}… and so on …{}", first.collect::<String>(), last.collect::<String>())
    };
    text.split('\n').map(|text| printable(&line(text))).collect::<Vec<_>>().join("\n")
}

/// Somebody else's text, fit to be shown: what would move a cursor, hide, or turn the direction of writing is escaped. Lines
/// still end.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for char in text.chars() {
        let hidden = matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if hidden || (char.is_control() && char != '\n') {
            printable.extend(char.escape_debug());
        } else {
            printable.push(char);
        }
    }
    printable
}

/// The same of a text that is to stay in its line.
pub(crate) fn in_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// `1 job`, `2 jobs`
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_shown_without_its_middle() {
        let name = "n".repeat(100_000);
        let text = Report::new(format!("`{name}` is no name")).cause("because\nit is not").to_string();
        assert!(text.starts_with("`nnn") && text.len() < 1_000, "{}", text.len());
        assert!(text.ends_with("nnn` is no name\n  caused by: because\n    it is not"), "{text}");
    }
}
