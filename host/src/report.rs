//! Error reports: what failed, why, and what to do.

use std::{borrow::Cow, fmt};

pub(crate) use roost_scheduler::text::in_one_line;
use roost_scheduler::text::is_unprintable;

use crate::limits;

/// The report of a problem.
///
/// ```text
/// plugin `porch` was not loaded
///   caused by: `schedule-jobs` ran longer than 500 ms
/// hint: the previous version keeps running, with its 4 jobs
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// What failed, with names in backticks. It has no full stop and no capital.
    pub(crate) what: String,
    /// The causes, each of the one before.
    pub(crate) causes: Vec<String>,
    /// What to do about it.
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
        // A name in it, such as a file's, must not begin a new line.
        f.write_str(&in_one_line(&cut(&self.what)))?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {}", shown(cause).replace('\n', "\n    "))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", printable(hint).replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

/// Decodes UTF-8.
///
/// # Errors
/// The encoding that the bytes seem to have instead, and the place that shows it.
pub(crate) fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    let is_utf16 = matches!(bytes[..], [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) || has_zeros(&bytes);
    match String::from_utf8(bytes) {
        _ if is_utf16 => Err("it is UTF-16, and must be UTF-8: save it as UTF-8".into()),
        Ok(text) => Ok(text),
        Err(error) => {
            let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
            let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
            let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            let column = 1 + String::from_utf8_lossy(&bytes[start..at]).chars().count();
            // Without the bytes there: the file may be one that must not be shown.
            Err(format!(
                "it is not UTF-8, and looks like Latin-1 or Windows-1252: line {line}, column {column}; save it as UTF-8"
            ))
        }
    }
}

/// Checks whether every second byte tends to be 0, as in UTF-16 without a byte order mark.
fn has_zeros(bytes: &[u8]) -> bool {
    let zeros = |parity: usize| bytes.iter().skip(parity).step_by(2).take(64).filter(|byte| **byte == 0).count();
    zeros(0).max(zeros(1)) > 2
}

/// Leaves out the middle of a line that is too long.
fn cut(line: &str) -> String {
    let count = line.chars().count();
    if count <= limits::LINE_CHARS {
        return line.to_owned();
    }
    let (first, last) = (line.chars().take(limits::LINE_CHARS / 2), line.chars().skip(count - limits::LINE_CHARS / 4));
    format!("{} […] {}", first.collect::<String>(), last.collect::<String>())
}

/// Makes text printable, and shortens its long lines.
pub(crate) fn shown(text: &str) -> String {
    text.split('\n').map(|line| in_one_line(&cut(line))).collect::<Vec<_>>().join("\n")
}

/// Makes text printable: unprintable characters except line ends are escaped.
pub(crate) fn printable(text: &str) -> String {
    text.split('\n').map(in_one_line).collect::<Vec<_>>().join("\n")
}

/// Escapes the unprintable characters in JSON, or in lines of text, as JSON does (`\u202e`), so that JSON keeps its
/// meaning. Line ends and tabs stay: in JSON they occur only between values.
pub(crate) fn in_json(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    if bytes.iter().all(is_plain) {
        return Cow::Borrowed(bytes);
    }
    let mut escaped = Vec::with_capacity(bytes.len() + 64);
    for piece in bytes.utf8_chunks() {
        for char in piece.valid().chars() {
            let mut buffer = [0; 4];
            if is_unprintable(char) && !matches!(char, '\n' | '\t') {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    escaped.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            } else {
                escaped.extend_from_slice(char.encode_utf8(&mut buffer).as_bytes());
            }
        }
        // Bytes that are not UTF-8 stay as they are.
        escaped.extend_from_slice(piece.invalid());
    }
    Cow::Owned(escaped)
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
    fn unprintable_characters_are_escaped_and_json_keeps_its_meaning() {
        let text = "grüße\u{9b}2J\u{202e}\u{7f}\u{e0041}\tx";
        let json = serde_json::to_string(text).unwrap();
        let escaped = String::from_utf8(in_json(json.as_bytes()).into_owned()).unwrap();
        assert_eq!(escaped, "\"grüße\\u009b2J\\u202e\\u007f\\udb40\\udc41\\tx\"");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        assert_eq!(*in_json(b"a\tb\n"), *b"a\tb\n");
    }

    #[test]
    fn no_name_begins_a_new_line() {
        let report = Report::new("`a\nerror: b\u{202e}` is no name").cause("x\ny\u{1b}[2J").hint("do\nthis\0");
        let expected = "`a\\nerror: b\\u{202e}` is no name\n  caused by: x\n    y\\u{1b}[2J\nhint: do\n  this\\0";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn another_encoding_is_named() {
        let utf16 = |bom: [u8; 2], place: usize| {
            let text = "[config]\nname = \"x\"\n".bytes();
            let pairs = text.flat_map(|byte| if place == 0 { [byte, 0] } else { [0, byte] });
            bom.into_iter().chain(pairs).collect::<Vec<u8>>()
        };
        let without_mark = utf16([b'#', 0], 0);
        for bytes in [utf16([0xFF, 0xFE], 0), utf16([0xFE, 0xFF], 1), utf16([b'#', 0xE9], 0), without_mark] {
            assert_eq!(utf8(bytes), Err("it is UTF-16, and must be UTF-8: save it as UTF-8".into()));
        }
        let latin1 = b"[config]\nname = \"Caf\xE9\"\n".to_vec();
        let error = utf8(latin1).unwrap_err();
        assert!(error.contains("looks like Latin-1 or Windows-1252: line 2, column 12"), "{error}");
        assert_eq!(utf8("Café".into()), Ok("Café".into()));
    }

    #[test]
    fn a_long_line_is_shown_without_its_middle() {
        let name = "n".repeat(100_000);
        let text = Report::new(format!("`{name}` is no name")).cause("because\nit is not").to_string();
        assert!(text.starts_with("`nnn") && text.len() < 1_000, "{}", text.len());
        assert!(text.ends_with("nnn` is no name\n  caused by: because\n    it is not"), "{text}");
    }
}
