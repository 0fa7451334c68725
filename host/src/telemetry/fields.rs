//! The fields of a line of the log, as people read them. Whatever is in a value, where it comes from a plugin, a device, a
//! broker, a file's name or a request, it can neither begin a line of its own nor move the cursor of a terminal.

use std::fmt::{self, Debug};

use roost_scheduler::text::in_one_line;
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

/// The message as it is, then each other field as `name=value`. The message may have several lines, as a report has: those
/// after the first are indented, since only a line that the host begins starts with a time.
pub(super) struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_first: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn put(&mut self, field: &Field, value: &dyn Debug) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        let text = format!("{value:?}");
        if field.name() == "message" {
            for (number, line) in text.split('\n').enumerate() {
                self.writer.write_str(if number == 0 { "" } else { "\n    " })?;
                self.writer.write_str(&in_one_line(line))?;
            }
            return Ok(());
        }
        let name = field.name();
        if self.writer.has_ansi_escapes() {
            write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
        } else {
            write!(self.writer, "{name}=")?;
        }
        self.writer.write_str(&in_one_line(&text))
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.put(field, value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }
}
