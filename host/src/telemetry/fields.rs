//! The fields of a log line as text. No value from a plugin, a device, a broker, a file's name or a request can begin a
//! new line or move the cursor of a terminal.

use std::fmt::{self, Debug};

use roost_scheduler::text::in_one_line;
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

/// Writes the message, then each other field as `name=value`. Further lines of a message are indented, because only a
/// line that the host begins starts with a time.
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

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(colours: bool) -> String {
        let written = Written::default();
        let sink = written.clone();
        let builder = tracing_subscriber::fmt().fmt_fields(Fields).with_target(false).with_ansi(colours).without_time();
        let subscriber = builder.with_writer(move || sink.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let name = "a\n2027 ERROR b\u{1b}[2J\u{202e}";
            tracing::warn!(%name, text = name, number = 7, "one\r\ntwo\u{1b}[31m\0");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_value_begins_a_new_line_or_moves_the_cursor() {
        let expected = " WARN one\\r\n    two\\u{1b}[31m\\0 name=a\\n2027 ERROR b\\u{1b}[2J\\u{202e} \
                        text=\"a\\n2027 ERROR b\\u{1b}[2J\\u{202e}\" number=7\n";
        assert_eq!(written(false), expected);
        let coloured = written(true);
        assert!(coloured.contains("\u{1b}[3mname\u{1b}[0m\u{1b}[2m=\u{1b}[0ma\\n2027"), "{coloured:?}");
        assert!(!coloured.contains("\u{1b}[2J") && !coloured.contains("\u{1b}[31m"), "{coloured:?}");
    }
}
