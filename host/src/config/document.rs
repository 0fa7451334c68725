//! Reads a settings file key by key. Errors have their place in the file, and a suggestion where there is one.

use std::{
    io,
    ops::{Range, RangeInclusive},
    path::Path,
};

use roost_scheduler::suggest::{did_you_mean, nearest};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::limits;
use crate::{
    files::{self, Exposure},
    report::Report,
};

/// A well-formed TOML file.
pub(crate) struct Document<'t> {
    source: Source<'t>,
    root: Spanned<DeTable<'t>>,
}

/// A password or a token that was in a file.
pub(crate) struct Secret {
    pub(crate) text: String,
    /// A warning that more users can use the file than should.
    pub(crate) warning: Option<Report>,
}

/// The text in which places are counted, and its name.
#[derive(Clone, Copy)]
struct Source<'t> {
    name: &'t str,
    text: &'t str,
}

/// A table of a document, with known keys only.
#[derive(Clone)]
pub(crate) struct Table<'d> {
    source: Source<'d>,
    entries: &'d DeTable<'d>,
    span: Range<usize>,
}

/// A value of a document.
#[derive(Clone)]
pub(crate) struct Value<'d> {
    source: Source<'d>,
    value: &'d DeValue<'d>,
    span: Range<usize>,
    key: &'d str,
}

impl Source<'_> {
    /// `roost.toml:3:1: unknown key`; line and column count from 1, columns in characters.
    fn report(&self, span: &Range<usize>, what: impl AsRef<str>) -> Report {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        Report::new(format!("{}:{line}:{column}: {}", self.name, what.as_ref()))
    }
}

impl<'t> Document<'t> {
    /// Parses a file; `name` is its name in errors.
    pub(crate) fn parse(name: &'t str, text: &'t str) -> Result<Self, Report> {
        let source = Source { name, text };
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { source, root }),
            Err(error) => {
                let mut message = error.message().lines();
                let report = source.report(&error.span().unwrap_or_default(), message.next().unwrap_or_default());
                // Some messages continue with what is expected; `nothing` is no help.
                Err(message.filter(|line| *line != "expected nothing").fold(report, Report::cause))
            }
        }
    }

    /// Returns the top table of the file. Keys other than `known` are refused.
    pub(crate) fn table(&self, known: &[&str]) -> Result<Table<'_>, Report> {
        self.table_or(known, "")
    }

    /// As [`Self::table`]; `elsewhere` ends the hint for an unknown key, such as where it belongs.
    pub(crate) fn table_or(&self, known: &[&str], elsewhere: &str) -> Result<Table<'_>, Report> {
        let table = Table { source: self.source, entries: self.root.get_ref(), span: 0..0 };
        table.only(known, elsewhere)
    }
}

impl<'d> Table<'d> {
    fn only(self, known: &[&str], elsewhere: &str) -> Result<Self, Report> {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let report = self.source.report(&key.span(), format!("unknown key `{name}`"));
                return Err(match nearest(name, known.iter().copied()) {
                    Some(meant) => report.hint(did_you_mean(meant)),
                    None => report.hint(format!("known here: {}{elsewhere}", in_backticks(known))),
                });
            }
        }
        Ok(self)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value<'d>> {
        let (key, value) = self.entries.get_key_value(key)?;
        Some(Value { source: self.source, value: value.get_ref(), span: value.span(), key: key.get_ref() })
    }

    /// Returns every key with its value.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'d str, Value<'d>)> {
        let source = self.source;
        self.entries.iter().map(move |(key, value)| {
            let name = key.get_ref().as_ref();
            (name, Value { source, value: value.get_ref(), span: value.span(), key: name })
        })
    }

    /// Makes an error about the table as a whole.
    pub(crate) fn error(&self, what: impl AsRef<str>) -> Report {
        self.source.report(&self.span, what)
    }
}

impl<'d> Value<'d> {
    /// Makes an error about the value.
    pub(crate) fn error(&self, what: impl AsRef<str>) -> Report {
        self.source.report(&self.span, what)
    }

    fn expected(&self, what: &str) -> Report {
        let is = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or a time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(format!("`{}` is {is}, and must be {what}", self.key))
    }

    /// Returns the byte of the text at which the value begins.
    pub(crate) const fn start(&self) -> usize {
        self.span.start
    }

    /// Returns the value's key.
    pub(crate) fn key(&self) -> &'d str {
        self.key
    }

    pub(crate) fn text(&self) -> Result<&'d str, Report> {
        self.value.as_str().ok_or_else(|| self.expected("a text in quotes"))
    }

    /// Reads a secret from the file that the value names, without its last newline.
    pub(crate) fn secret(&self, folder: &Path, what: &str) -> Result<Secret, Report> {
        let path = folder.join(self.text()?);
        let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not text");
        let text =
            files::read(&path, limits::SECRET_BYTES).and_then(|bytes| String::from_utf8(bytes).map_err(not_text));
        let text = text.map_err(|error| {
            self.error(format!("the {what} file `{}` cannot be read", path.display()))
                .cause(error)
                .hint("it must be a file of one line, and the user that runs Roost must be able to read it")
        })?;
        let warning = self.exposure(folder, what)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Secret { text: line.strip_suffix('\r').unwrap_or(line).to_owned(), warning })
    }

    /// Returns a warning if more users can use the file that the value names than should.
    ///
    /// # Errors
    /// If every user can change it.
    pub(crate) fn exposure(&self, folder: &Path, what: &str) -> Result<Option<Report>, Report> {
        let path = folder.join(self.text()?);
        let hint = format!("`chmod 600 {}`, as the user that runs Roost", path.display());
        let exposed = |how: &str| format!("{how} the {what} file `{}`", path.display());
        Ok(match files::exposure(&path) {
            Ok(Exposure::Open) => {
                let report = self.error(exposed("every user of this machine can change"));
                return Err(report.cause(format!("a user that can set the {what} lets in any other")).hint(hint));
            }
            Ok(Exposure::Changeable) => Some(Report::new(exposed("other users can change")).hint(hint)),
            Ok(Exposure::Readable) => Some(Report::new(exposed("every user of this machine can read")).hint(hint)),
            // A missing file is reported where it is read.
            Ok(Exposure::None) | Err(_) => None,
        })
    }

    /// Returns the parsed text.
    pub(crate) fn parsed<T, E: ToString>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Report> {
        parse(self.text()?).map_err(|error| self.error(error.to_string()))
    }

    /// Returns a number, with or without decimals.
    pub(crate) fn number(&self) -> Result<f64, Report> {
        let number = match self.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.expected("a number"))
    }

    pub(crate) fn boolean(&self) -> Result<bool, Report> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    pub(crate) fn integer_in(&self, range: RangeInclusive<u32>) -> Result<u32, Report> {
        let DeValue::Integer(number) = self.value else { return Err(self.expected("a whole number")) };
        let value = u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|value| range.contains(value));
        value.ok_or_else(|| {
            let (low, high) = range.into_inner();
            self.error(format!("`{}` is {number}, and must be {low} to {high}", self.key))
        })
    }

    pub(crate) fn flag(&self) -> Result<bool, Report> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// Returns a table. Keys other than `known` are refused.
    pub(crate) fn table(&self, known: &[&str]) -> Result<Table<'d>, Report> {
        self.any_table()?.only(known, "")
    }

    /// Returns a table with any keys.
    pub(crate) fn any_table(&self) -> Result<Table<'d>, Report> {
        let DeValue::Table(entries) = self.value else {
            return Err(self.expected("a table").hint(format!("write its keys below a line `[{}]`", self.key)));
        };
        Ok(Table { source: self.source, entries, span: self.span.clone() })
    }

    pub(crate) fn list(&self) -> Result<Vec<Self>, Report> {
        let DeValue::Array(items) = self.value else { return Err(self.expected("a list")) };
        let item = |item: &'d Spanned<DeValue<'d>>| Self {
            source: self.source,
            value: item.get_ref(),
            span: item.span(),
            key: self.key,
        };
        Ok(items.iter().map(item).collect())
    }

    /// Converts the value to JSON. Dates and times become text: `2027-03-01T06:30:00Z`, `06:30:00`.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value, Report> {
        use serde_json::Value as Json;
        Ok(match self.value {
            DeValue::String(text) => Json::String(text.to_string()),
            DeValue::Boolean(flag) => Json::Bool(*flag),
            DeValue::Datetime(datetime) => Json::String(datetime.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => return Err(self.error(format!("`{}` does not fit into 64 bits", self.key))),
            },
            DeValue::Float(_) => {
                let number = serde_json::Number::from_f64(self.number()?);
                let none = || self.error(format!("`{}` is not a number that JSON can represent", self.key));
                number.ok_or_else(none)?.into()
            }
            DeValue::Array(_) => self.list()?.iter().map(Self::to_json).collect::<Result<_, _>>()?,
            DeValue::Table(_) => {
                let mut object = serde_json::Map::new();
                for (key, value) in self.any_table()?.entries() {
                    object.insert(key.to_owned(), value.to_json()?);
                }
                Json::Object(object)
            }
        })
    }
}

fn in_backticks(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn error(text: &str) -> String {
        let read = || {
            let document = Document::parse("a.toml", text)?;
            let table = document.table(&["size", "name", "deep", "list"])?;
            table.get("name").map(|value| value.text()).transpose()?;
            table.get("size").map(|value| value.integer_in(1..=9)).transpose()?;
            table.get("list").map(|value| value.list()).transpose()?;
            table.get("deep").map(|value| value.table(&["colour"])).transpose()?;
            table.get("deep").map(|value| value.to_json()).transpose()
        };
        read().expect_err(text).to_string()
    }

    #[test]
    fn errors_have_their_place_and_a_suggestion() {
        let faults = [
            "\nsiz = 1",
            "[deep]\ncolor = 1",
            "x = 1",
            "size = 10",
            "size = 0x_1",
            "size = -1",
            "size = 1.5",
            "name = 7",
            "list = 7",
            "deep = 7",
            "deep = { colour = nan }",
            "name = \"\u{e4}\u{e4}\" x",
            "size = 1\nsize = 2",
            "name = \"",
        ]
        .map(|text| format!("| {}\n{}\n\n", text.replace('\n', "\n| "), error(text)));
        expect![[r#"
            | 
            | siz = 1
            a.toml:2:1: unknown key `siz`
            hint: did you mean `size`?

            | [deep]
            | color = 1
            a.toml:2:1: unknown key `color`
            hint: did you mean `colour`?

            | x = 1
            a.toml:1:1: unknown key `x`
            hint: known here: `size`, `name`, `deep`, `list`

            | size = 10
            a.toml:1:8: `size` is 10, and must be 1 to 9

            | size = 0x_1
            a.toml:1:10: `_` may only go between digits, expected nothing

            | size = -1
            a.toml:1:8: `size` is -1, and must be 1 to 9

            | size = 1.5
            a.toml:1:8: `size` is a number, and must be a whole number

            | name = 7
            a.toml:1:8: `name` is a whole number, and must be a text in quotes

            | list = 7
            a.toml:1:8: `list` is a whole number, and must be a list

            | deep = 7
            a.toml:1:8: `deep` is a whole number, and must be a table
            hint: write its keys below a line `[deep]`

            | deep = { colour = nan }
            a.toml:1:19: `colour` is not a number that JSON can represent

            | name = "ää" x
            a.toml:1:13: unexpected key or value, expected newline, `#`

            | size = 1
            | size = 2
            a.toml:2:1: duplicate key

            | name = "
            a.toml:1:9: invalid basic string, expected `"`

        "#]]
        .assert_eq(&faults.concat());
    }

    #[test]
    fn values_become_json() {
        let text = "deep = { a = 0x10, b = [1.5, true, 'x'], c = 2027-03-01T06:30:00Z, d = 06:30:00, e = {} }";
        let document = Document::parse("a.toml", text).unwrap();
        let json = document.table(&["deep"]).unwrap().get("deep").unwrap().to_json().unwrap();
        let expected = r#"{"a":16,"b":[1.5,true,"x"],"c":"2027-03-01T06:30:00Z","d":"06:30:00","e":{}}"#;
        assert_eq!(json.to_string(), expected);
    }
}
