//! A round: which valve is open when.

use std::fmt;

use roost_plugin_sdk::{Context, Error, Messages, Result, Span, milliseconds};

use crate::settings::{Master, Sprinkler, Zone};

/// The messages that a run may have.
const MOST_MESSAGES: i64 = 100;

/// The messages of a round.
pub(crate) struct Round {
    pub(crate) messages: Messages,
    /// From the first message to the last.
    pub(crate) length: Span,
    /// The pause before the next round.
    pub(crate) pause: Span,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.length)?;
        if self.pause == Span::default() { Ok(()) } else { write!(f, " and a pause of {}", self.pause) }
    }
}

/// A time during which the valve of a zone is open.
struct Opening<'s> {
    zone: &'s Zone,
    from: Span,
    to: Span,
}

/// Zones that are watered together, or a single one.
struct Group<'s> {
    /// The zones, each with its water in all.
    zones: Vec<(&'s Zone, Span)>,
    /// The number of cycles in which they get it.
    cycles: i64,
    soak: Span,
    /// The number of cycles that they had.
    done: i64,
    /// The end of the last soak.
    ready: Span,
}

/// Messages in the order of their times. At the same time, what is closed comes first, and the master valve before the
/// others it opens for.
#[derive(Default)]
struct Timetable(Vec<(Span, Order, String, String)>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Close,
    CloseMaster,
    OpenMaster,
    Open,
}

impl Sprinkler {
    /// Returns the messages of a round in which zones get so many percent of their water.
    ///
    /// The next cycle is always that of the zone that may have it first: at once, if it does not soak. Of several, the one
    /// with the fewest cycles so far, and of these the first of the settings.
    pub(crate) fn round(&self, ctx: &Context, percent: u16) -> Result<Round> {
        let mut groups = self.groups(percent)?;
        let mut openings = Vec::new();
        let mut free = Span::default();
        let waiting = |group: &&mut Group<'_>| group.done < group.cycles;
        while let Some(group) =
            groups.iter_mut().filter(waiting).min_by_key(|group| (group.ready.max(free), group.done))
        {
            let from = group.ready.max(free);
            let end = group.open(from, &mut openings);
            group.ready = end + group.soak;
            free = end + self.pause;
            if free < from {
                let shown = self.pause;
                return Err(Error::new(format!(
                    "config `pause`: {shown} is longer than a zone is watered, {}",
                    end - from
                )));
            }
        }
        let (messages, length) = self.timetable(ctx, &openings)?.into_messages();
        Ok(Round { messages, length, pause: self.pause.max(Span::default()) })
    }

    /// Returns the messages that water one zone for some time.
    pub(crate) fn water(&self, ctx: &Context, zone: &Zone, time: Span) -> Result<Messages> {
        let (messages, _) = self.timetable(ctx, &[Opening { zone, from: Span::default(), to: time }])?.into_messages();
        Ok(messages)
    }

    fn groups(&self, percent: u16) -> Result<Vec<Group<'_>>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (index, zone) in self.zones.iter().enumerate() {
            self.check(index, zone)?;
            let water = percent_of(zone.water, percent);
            let cycles = zone.cycle.or(self.cycle).map_or(1, |cycle| {
                let (water, cycle) = (water.millis(), cycle.millis());
                water / cycle + i64::from(water % cycle != 0)
            });
            let soak = zone.soak.unwrap_or(self.soak);
            let together = |group: &&mut Group<'_>| zone.group.is_some() && group.zones[0].0.group == zone.group;
            match groups.iter_mut().find(together) {
                Some(group) => {
                    group.zones.push((zone, water));
                    (group.cycles, group.soak) = (group.cycles.max(cycles), group.soak.max(soak));
                }
                None => {
                    let (zones, ready) = (vec![(zone, water)], Span::default());
                    groups.push(Group { zones, cycles, soak, done: 0, ready });
                }
            }
        }
        let messages =
            |group: &Group<'_>| group.cycles.saturating_mul(2 * i64::try_from(group.zones.len()).unwrap_or(0));
        check_count(groups.iter().map(messages).fold(0, i64::saturating_add))?;
        Ok(groups)
    }

    fn check(&self, index: usize, zone: &Zone) -> Result<()> {
        if zone.name.is_empty() {
            return Err(Error::new(format!("config `zones[{index}].name`: it is empty")));
        }
        let second = milliseconds(1_000);
        let lengths = [
            (format!("zones[{index}].water"), Some(zone.water), second),
            (format!("zones[{index}].cycle"), zone.cycle, second),
            (format!("zones[{index}].soak"), zone.soak, Span::default()),
            ("cycle".into(), self.cycle, second),
            ("soak".into(), Some(self.soak), Span::default()),
        ];
        for (key, length, least) in lengths {
            if let Some(length) = length.filter(|length| *length < least) {
                return Err(Error::new(format!("config `{key}`: {length} is too short, {least} is the least")));
            }
        }
        Ok(())
    }

    fn timetable(&self, ctx: &Context, openings: &[Opening<'_>]) -> Result<Timetable> {
        let mut table = Timetable::default();
        for Opening { zone, from, to } in openings {
            let topic = zone.topic.clone().unwrap_or_else(|| match &self.topic {
                Some(topic) => topic.replace("{zone}", &zone.name),
                None => ctx.topic(&format!("{}/set", zone.name)),
            });
            let payloads = [(&zone.on_payload, &self.on_payload), (&zone.off_payload, &self.off_payload)];
            table.open([Order::Open, Order::Close], (*from, *to), &topic, payloads);
        }
        if let Some(master) = &self.master {
            let topic = master.topic.clone().unwrap_or_else(|| ctx.topic("master/set"));
            for times in master.times(openings, self.pause)? {
                let payloads = [(&master.on_payload, &self.on_payload), (&master.off_payload, &self.off_payload)];
                table.open([Order::OpenMaster, Order::CloseMaster], times, &topic, payloads);
            }
        }
        check_count(i64::try_from(table.0.len()).unwrap_or(i64::MAX))?;
        Ok(table)
    }
}

impl<'s> Group<'s> {
    /// Adds the openings of the next cycle, and returns their end.
    fn open(&mut self, from: Span, openings: &mut Vec<Opening<'s>>) -> Span {
        let mut end = from;
        for (zone, water) in &self.zones {
            // Equal parts of whole seconds, which add up.
            let until = |cycle: i64| {
                if cycle == self.cycles { water.millis() } else { water.millis() * cycle / self.cycles / 1_000 * 1_000 }
            };
            let to = from + milliseconds(until(self.done + 1) - until(self.done));
            if to > from {
                openings.push(Opening { zone, from, to });
                end = end.max(to);
            }
        }
        self.done += 1;
        end
    }
}

impl Master {
    /// Returns when it is open: from before the first valve until after the last, also in the pauses between zones, but
    /// not while all of them soak.
    fn times(&self, openings: &[Opening<'_>], pause: Span) -> Result<Vec<(Span, Span)>> {
        let valves = openings.iter().filter(|opening| opening.zone.master).map(|opening| (opening.from, opening.to));
        let mut times = joined(valves, pause.max(Span::default()));
        for (from, to) in &mut times {
            (*from, *to) = (*from - self.lead, *to + self.lag);
            if from >= to {
                return Err(Error::new(
                    "config `master`: with this `lead` and `lag` it would be closed before it is opened",
                ));
            }
        }
        Ok(joined(times.into_iter(), Span::default()))
    }
}

/// Joins times in order of which the next begins at most so long after the end of the one before.
fn joined(times: impl Iterator<Item = (Span, Span)>, gap: Span) -> Vec<(Span, Span)> {
    let mut joined: Vec<(Span, Span)> = Vec::new();
    for (from, to) in times {
        match joined.last_mut() {
            Some(last) if from <= last.1 + gap => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

impl Timetable {
    /// Adds the opening and the closing of a valve, with its own payloads or else those of the controller.
    fn open(
        &mut self,
        [open, close]: [Order; 2],
        (from, to): (Span, Span),
        topic: &str,
        payloads: [(&Option<String>, &String); 2],
    ) {
        let seconds = (to - from).millis().max(0) as u64;
        let [on, off] = payloads.map(|(own, common)| own.as_ref().unwrap_or(common));
        let on = on
            .replace("{seconds}", &seconds.div_ceil(1_000).to_string())
            .replace("{minutes}", &seconds.div_ceil(60_000).to_string());
        self.insert((from, open, topic.into(), on));
        self.insert((to, close, topic.into(), off.clone()));
    }

    fn insert(&mut self, message: (Span, Order, String, String)) {
        let place = self.0.iter().position(|other| (other.0, &other.1) > (message.0, &message.1));
        self.0.insert(place.unwrap_or(self.0.len()), message);
    }

    /// Returns the messages, and the time from the first to the last.
    fn into_messages(self) -> (Messages, Span) {
        let start = self.0.first().map(|first| first.0).unwrap_or_default();
        let mut before = start;
        let mut messages = Messages::new();
        for (at, _, topic, payload) in self.0 {
            messages = messages.then(at - before, topic, payload);
            before = at;
        }
        (messages, before - start)
    }
}

fn check_count(messages: i64) -> Result<()> {
    if messages <= MOST_MESSAGES {
        return Ok(());
    }
    Err(Error::new(format!(
        "one round has {messages} messages, and a run may have {MOST_MESSAGES}: set a longer `cycle`, or divide the zones \
         between two devices"
    )))
}

/// Returns so many percent of a time, in whole seconds if it is not shorter.
fn percent_of(time: Span, percent: u16) -> Span {
    if percent == 100 {
        return time;
    }
    let millis = time.millis().saturating_mul(percent.into()) / 100;
    milliseconds(if millis < 1_000 { millis } else { (millis + 500) / 1_000 * 1_000 })
}
