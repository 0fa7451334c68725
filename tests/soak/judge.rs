//! Compares the received messages with the runs on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
};

use roost_scheduler::names::RunId;

use crate::{
    disk::Row,
    ends::{Due, End, Ends, due},
    history::{History, Received},
    load::{Job, Must},
    record::{Record, owed, words},
    story::seconds,
};

/// The result of the comparison.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) runs: usize,
    pub(crate) messages: usize,
    pub(crate) lost: usize,
    pub(crate) repeated: usize,
    pub(crate) unexplained: usize,
    pub(crate) once_repeated: usize,
    /// Occurrences with two runs.
    pub(crate) doubled: usize,
    pub(crate) backward: usize,
    /// The longest time from a message to the kill that explains its repetition.
    pub(crate) longest_s: f64,
    pub(crate) faults: Vec<Fault>,
}

/// A fault, in a sentence.
pub(crate) struct Fault {
    pub(crate) what: String,
    /// The occurrence that it is a fault of, if it is of one.
    pub(crate) due: Option<Due>,
}

pub(crate) fn judge(history: &History, record: &Record<'_>) -> Verdict {
    let of_host = history.faults.iter().map(|what| Fault { what: what.clone(), due: None });
    let mut verdict = Verdict {
        messages: history.messages.len(),
        runs: history.rows.len(),
        faults: of_host.collect(),
        ..Verdict::default()
    };
    for message in &record.of_no_run {
        verdict.faults.push(Fault { what: format!("a message has no run: {message:?}"), due: None });
    }
    verdict.find_lost(history, record);
    verdict.find_doubled(record);
    for run in record.messages.keys() {
        verdict.check_run(history, record, run);
    }
    verdict
}

impl Verdict {
    /// Checks that every occurrence has an end, and that the messages of successful runs were received.
    fn find_lost(&mut self, history: &History, record: &Record<'_>) {
        let ends = Ends::of(&history.rows);
        for (due, job) in due(history.since, history.until) {
            let fault = match ends.end(&due) {
                End::Own(rows) => {
                    let bad = rows.iter().find(|row| !is_good(history, record, &job, row));
                    bad.map(|row| format!("{row:?}"))
                }
                End::OneOfSeveral => (job.must != Must::End).then(|| "missed with others".to_owned()),
                End::Unknown => Some("there is no row".to_owned()),
            };
            if let Some(fault) = fault {
                self.lose(due, &fault);
            }
        }
        for row in &history.rows {
            self.find_lost_steps(record, row);
        }
        let is_unknown = |run: &&RunId| run.occurrence < history.until && !record.rows.contains_key(run);
        for run in record.messages.keys().filter(is_unknown) {
            // The kill lost it, and the next host found that several of its job had been missed meanwhile.
            let is_lost = |received: &&Received| {
                let kill = history.kills.get(received.host);
                kill.is_some_and(|kill| kill.disk.as_ref().is_none_or(|disk| !disk.contains_key(run)))
            };
            let is_missed = matches!(ends.end(&Due::of(run)), End::OneOfSeveral) && words(run).len() == 1;
            if !is_missed || !record.messages(run).iter().all(is_lost) {
                self.lose(Due::of(run), "it was received, and is not on disk");
            }
        }
    }

    /// Checks that the steps of a run were received.
    fn find_lost_steps(&mut self, record: &Record<'_>, row: &Row) {
        let words = words(&row.run);
        let is_received = |word: &&str| record.first(&row.run, word).is_some();
        let has_begun = words.first().is_some_and(is_received) && row.has_ended();
        let is_due = row.state == "succeeded" || has_begun;
        // A first step that was given up may be missing, but not the later ones.
        let given_up = usize::from(row.state == "failed" && row.started.is_some() && !is_due);
        let expected = words.iter().skip(given_up).filter(|_| is_due || given_up > 0);
        for word in expected.filter(|word| !record.is_kept(&row.run, word, 0)) {
            self.lose(Due::of(&row.run), &format!("`{word}` was never received: {row:?}"));
        }
    }

    fn lose(&mut self, due: Due, what: &str) {
        self.lost += 1;
        self.add(due, format!("lost: {what}"));
    }

    fn add(&mut self, due: Due, what: String) {
        self.faults.push(Fault { what, due: Some(due) });
    }

    /// Checks that no occurrence has two runs, neither on disk nor on the wire.
    fn find_doubled(&mut self, record: &Record<'_>) {
        let mut runs: BTreeMap<Due, BTreeSet<&RunId>> = BTreeMap::new();
        for run in record.messages.keys().chain(record.rows.keys().copied()) {
            runs.entry(Due::of(run)).or_default().insert(run);
        }
        for (due, runs) in runs.into_iter().filter(|(_, runs)| runs.len() > 1) {
            self.doubled += 1;
            self.add(due, format!("one occurrence, several runs: {runs:?}"));
        }
    }

    /// Checks that no step arrived after a later one, and that every repetition is explained.
    fn check_run(&mut self, history: &History, record: &Record<'_>, run: &RunId) {
        let (words, messages) = (words(run), record.messages(run));
        let step_of = |received: &&Received| words.iter().position(|word| *word == received.message.payload);
        if !messages.iter().map(step_of).is_sorted() {
            self.backward += 1;
            self.add(Due::of(run), "a step arrived after a later one".into());
        }
        self.check_order_in_group(record, run);
        for (step, word) in words.iter().enumerate() {
            let of_step: Vec<_> = messages.iter().filter(|received| received.message.payload == *word).collect();
            for pair in of_step.windows(2) {
                self.repeated += 1;
                if *word == "once" {
                    self.once_repeated += 1;
                    self.add(Due::of(run), "a step is marked `once`, and was repeated".into());
                } else if let Err(why) = self.explain(history, run, step, pair[0], pair[1]) {
                    self.unexplained += 1;
                    self.add(Due::of(run), format!("`{word}` was repeated, and {why}"));
                }
            }
        }
    }

    /// Checks that a run's own owed steps arrived before the newer run of its group that does not owe them.
    fn check_order_in_group(&mut self, record: &Record<'_>, run: &RunId) {
        let Some(newer) = record.newer(run) else { return };
        let Some(first) = record.messages(&newer).first() else { return };
        for word in owed(run).iter().filter(|word| !owed(&newer).contains(word)) {
            if record.first(run, word).is_some_and(|received| received.place > first.place) {
                self.backward += 1;
                self.add(Due::of(run), format!("`{word}` arrived after {newer}"));
            }
        }
    }

    /// Explains a repetition: the first host was killed before the completed step was on disk.
    fn explain(
        &mut self,
        history: &History,
        run: &RunId,
        step: usize,
        first: &Received,
        again: &Received,
    ) -> Result<(), String> {
        if first.host == again.host {
            return Err(format!("host {} sent both", first.host));
        }
        // What the second host began with.
        let kept = history.kills[again.host - 1].disk.as_ref().and_then(|disk| disk.get(run));
        if kept.is_some_and(|kept| kept.steps_done > step) {
            return Err("the step was completed on disk".into());
        }
        // A run that is known to have started marks its message as a possible repetition.
        let is_first = again.message.property("roost-attempt") == Some("1");
        if is_first && kept.is_some_and(|kept| kept.is_known) {
            return Err("is marked as the first attempt".into());
        }
        let killed_at = seconds(history.kills[first.host].within.1);
        self.longest_s = self.longest_s.max(killed_at - first.message.at);
        Ok(())
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.due {
            Some(Due { device, job, at }) => write!(f, "{device}/{job}/{at}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Checks whether a row is an allowed end of an occurrence.
fn is_good(history: &History, record: &Record<'_>, job: &Job, row: &Row) -> bool {
    if job.must == Must::End && ["missed", "skipped", "cancelled"].contains(&row.state.as_str()) {
        return true;
    }
    row.state == "succeeded" || (row.state == "failed" && is_cut_off(history, record, job, row))
}

/// Checks whether a run failed because the host was killed while it was under way.
fn is_cut_off(history: &History, record: &Record<'_>, job: &Job, row: &Row) -> bool {
    if row.reason.ends_with("was possibly sent, and is not to be repeated") {
        return record.was_armed(&row.run);
    }
    let was_killed = history.kills.iter().any(|kill| kill.is_during(row));
    // A run that was killed within moments of its start has no attempt on disk.
    let reasons = ["step 1 was given up after 1 attempt", "step 1 was given up: it is unknown whether it was sent"];
    was_killed && job.words.len() > 1 && reasons.iter().any(|reason| row.reason.starts_with(reason))
}
