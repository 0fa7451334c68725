//! The timeline as text: a heading for each day and a line for each event.

use roost_scheduler::zone::Zone;
use std::{
    fmt::{self, Write as _},
    io::{self, Write},
    iter,
};

use chrono::{DateTime, FixedOffset, NaiveDate, Offset as _, Timelike as _};
use clap::builder::styling::{AnsiColor, Style};

use super::super::format::put_message;
use crate::{
    report::printable,
    simulation::{SimulatedEvent, SimulatedEventKind, differences::Side},
    terminal,
};

/// The styles of the parts that are coloured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Colours {
    heading: Style,
    removed: Style,
    added: Style,
    note: Style,
}

impl Colours {
    /// Returns the colours for standard output, if it may be coloured.
    pub(super) fn of_stdout() -> Self {
        if !terminal::stdout_has_colours() {
            return Self::default();
        }
        Self {
            heading: Style::new().bold(),
            removed: AnsiColor::Red.on_default(),
            added: AnsiColor::Green.on_default(),
            note: AnsiColor::Yellow.on_default(),
        }
    }

    const fn of(self, side: Option<Side>, what: &SimulatedEventKind) -> Style {
        match (side, what) {
            (Some(Side::Old), _) => self.removed,
            (Some(Side::New), _) => self.added,
            (None, SimulatedEventKind::Note(_)) => self.note,
            (None, SimulatedEventKind::Message(_)) => Style::new(),
        }
    }
}

/// Writes events in the order of time.
pub(super) struct Timeline<W> {
    out: W,
    zone: Zone,
    colours: Colours,
    /// The day and the offset of the last heading. A day on which the clocks change has two headings, because a time of
    /// day may occur twice.
    heading: Option<(NaiveDate, FixedOffset)>,
    /// The width of the widest subject so far, which aligns what follows.
    width: usize,
    /// The buffer of a line, reused because a year may be a million lines.
    line: String,
}

/// The maximum width of the column of subjects. A wider subject only moves the rest of its own line.
const WIDEST: usize = 40;

impl<W: Write> Timeline<W> {
    pub(super) fn new(out: W, zone: Zone, colours: Colours) -> Self {
        Self { out, zone, colours, heading: None, width: 0, line: String::new() }
    }

    /// Writes a line, with the sign of the side that it belongs to.
    pub(super) fn write(&mut self, side: Option<Side>, event: &SimulatedEvent) -> io::Result<()> {
        let local = event.at.to_utc().with_timezone(&self.zone);
        self.head(&local)?;
        self.line.clear();
        let style = self.colours.of(side, &event.what);
        // Writing to a string cannot fail.
        let _ = self.put_line(style, side, &local, event);
        self.out.write_all(self.line.as_bytes())
    }

    fn put_line(
        &mut self,
        style: Style,
        side: Option<Side>,
        local: &DateTime<Zone>,
        event: &SimulatedEvent,
    ) -> fmt::Result {
        let line = &mut self.line;
        write!(line, "{style}")?;
        line.push_str(side.map_or("  ", Side::sign));
        put_time(line, local)?;
        line.push_str("  ");
        let before = line.len();
        line.extend(event.subject());
        let width = line.len() - before;
        self.width = self.width.max(width.min(WIDEST));
        line.extend(iter::repeat_n(' ', self.width.saturating_sub(width) + 2));
        match &event.what {
            SimulatedEventKind::Message(sent) => put_message(line, &sent.message())?,
            SimulatedEventKind::Note(note) => write!(line, "! {}", printable(note).replace('\n', "\n      "))?,
        }
        if event.zone != self.zone {
            let there = event.at.to_utc().with_timezone(&event.zone);
            write!(line, "  (there {} ", there.format("%a"))?;
            put_time(line, &there)?;
            write!(line, " {}, {})", there.offset().fix(), event.zone)?;
        }
        writeln!(line, "{style:#}")
    }

    fn head(&mut self, local: &DateTime<Zone>) -> io::Result<()> {
        let heading = (local.date_naive(), local.offset().fix());
        if self.heading == Some(heading) {
            return Ok(());
        }
        let style = self.colours.heading;
        if self.heading.replace(heading).is_some() {
            writeln!(self.out)?;
        }
        writeln!(self.out, "{style}{} ({}){style:#}", local.format("%A %Y-%m-%d %:z"), self.zone)
    }

    /// Ends the timeline with a summary line.
    pub(super) fn end(&mut self, summary: &str) -> io::Result<()> {
        if self.heading.is_some() {
            writeln!(self.out)?;
        }
        writeln!(self.out, "{summary}")?;
        self.out.flush()
    }
}

/// Appends a time such as `06:30:00`, with milliseconds unless they are 0.
fn put_time(line: &mut String, local: &DateTime<Zone>) -> fmt::Result {
    put_two_digits(line, local.hour());
    line.push(':');
    put_two_digits(line, local.minute());
    line.push(':');
    put_two_digits(line, local.second());
    match local.nanosecond() / 1_000_000 {
        0 => Ok(()),
        milliseconds => write!(line, ".{milliseconds:03}"),
    }
}

/// Appends two digits. `write!` would take longer than the rest of the line.
fn put_two_digits(line: &mut String, number: u32) {
    line.extend([number / 10, number % 10].into_iter().filter_map(|digit| char::from_digit(digit, 10)));
}

#[cfg(test)]
mod tests {
    use crate::zones::zone;
    use roost_scheduler::model::{Message, MessageProperties, Qos};

    use expect_test::expect;

    use super::*;
    use crate::cli::simulate::tests::{message, message_with, note};

    fn written(side: Option<Side>, colours: Colours, events: &[SimulatedEvent]) -> String {
        let mut out = Vec::new();
        let mut timeline = Timeline::new(&mut out, zone("Europe/London"), colours);
        events.iter().for_each(|event| timeline.write(side, event).unwrap());
        timeline.end("that was all").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_of_a_message_that_are_not_defaults_are_shown() {
        let user = vec![("by".into(), "sun".into())];
        let content_type = Some("text/plain".into());
        let properties = MessageProperties { expiry_ms: Some(60_000), content_type, user, ..Default::default() };
        let unusual = message_with("2027-03-01T06:30:00.250Z", "open", |message| Message {
            payload: (*b"a\nb\x1b[2J").into(),
            qos: Qos::AtMostOnce,
            retain: true,
            properties: Some(properties.into()),
            ..message
        });
        let binary = message("2027-03-01T06:31:00Z", "close", b"\x00\xff");
        assert_eq!(
            written(None, Colours::default(), &[unusual, binary]),
            "Monday 2027-03-01 +00:00 (Europe/London)\n  \
               06:30:00.250  coop/north/open  coop/open  a\\nb\\u{1b}[2J  qos 0  retained  expires after 1m  as text/plain  with by=sun\n  \
               06:31:00  coop/north/close  coop/close  base64:AP8=\n\n\
             that was all\n"
        );
    }

    #[test]
    fn a_timeline_without_events_is_its_summary() {
        assert_eq!(written(None, Colours::default(), &[]), "that was all\n");
    }

    #[test]
    fn the_lines_of_a_note_are_indented_below_its_first() {
        let text =
            written(None, Colours::default(), &[note("2027-03-01T00:00:00Z", "keeps its plan: no tides\ncopy them")]);
        expect![[r#"
            Monday 2027-03-01 +00:00 (Europe/London)
              00:00:00  coop/north  ! keeps its plan: no tides
                  copy them

            that was all
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn colours_begin_and_end_with_the_line() {
        let colours =
            Colours { added: AnsiColor::Green.on_default(), heading: Style::new().bold(), ..Colours::default() };
        let text = written(Some(Side::New), colours, &[message("2027-03-01T06:30:00Z", "open", b"OPEN")]);
        assert_eq!(
            text,
            "\x1b[1mMonday 2027-03-01 +00:00 (Europe/London)\x1b[0m\n\
             \x1b[32m+ 06:30:00  coop/north/open  coop/open  OPEN\x1b[0m\n\nthat was all\n"
        );
    }
}
