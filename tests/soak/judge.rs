//! Compares the received messages with the runs on disk.

use std::collections::{BTreeMap, BTreeSet};

use roost_scheduler::names::RunId;
use roost_tests::Message;

use crate::{
    disk::Row,
    ends::{Due, End, Ends, due},
    history::History,
    load::{Job, Must, jobs},
};

/// How much later than its arrival the listener may have stamped a message, in seconds.
const NOTED_S: f64 = 0.2;

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
    /// The faults, in sentences.
    pub(crate) faults: Vec<String>,
}

/// The messages of each run, in the order of arrival.
type MessagesByRun<'a> = BTreeMap<RunId, Vec<&'a Message>>;

pub(crate) fn judge(history: &History) -> Verdict {
    let mut verdict = Verdict {
        messages: history.messages.len(),
        runs: history.rows.len(),
        faults: history.faults.clone(),
        ..Verdict::default()
    };
    let mut by_run: MessagesByRun<'_> = BTreeMap::new();
    for message in &history.messages {
        match message.property("roost-run").map(str::parse) {
            Some(Ok(run)) => by_run.entry(run).or_default().push(message),
            _ => verdict.faults.push(format!("a message has no run: {message:?}")),
        }
    }
    let ends = Ends::of(&history.rows);
    verdict.find_lost(history, &ends, &by_run);
    verdict.find_doubled(history, &by_run);
    for (run, messages) in &by_run {
        verdict.check_run(history, run, messages);
    }
    verdict
}

impl Verdict {
    /// Checks that every occurrence has an end, and that the messages of successful runs were received.
    fn find_lost(&mut self, history: &History, ends: &Ends<'_>, by_run: &MessagesByRun<'_>) {
        for (due, job) in due(history.since, history.until) {
            let fault = match ends.end(&due) {
                End::Own(rows) => {
                    let bad = rows.iter().find(|row| !is_good(history, &job, row));
                    bad.map(|row| format!("{row:?}"))
                }
                End::OneOfSeveral => (job.must != Must::End).then(|| "missed with others".to_owned()),
                End::Unknown => Some("there is no row".to_owned()),
            };
            if let Some(fault) = fault {
                self.lose(&format!("{due:?}: {fault}"));
            }
        }
        let jobs: BTreeMap<String, Job> = jobs().into_iter().map(|job| (job.id.clone(), job)).collect();
        for row in &history.rows {
            let words = jobs.get(row.run.job.as_str()).map_or(&[][..], |job| job.words);
            let messages = by_run.get(&row.run).map_or(&[][..], Vec::as_slice);
            let is_received = |word: &&str| messages.iter().any(|message| message.payload == *word);
            let has_begun = words.first().is_some_and(is_received) && row.has_ended();
            let is_all = |word: &&str| *word != "once" || row.state == "succeeded";
            let is_due = row.state == "succeeded" || has_begun;
            // A first step that was given up may be missing, but not the later ones.
            let given_up = usize::from(row.state == "failed" && row.started.is_some() && !is_due);
            let expected = words.iter().skip(given_up).filter(|word| (is_due || given_up > 0) && is_all(word));
            for word in expected.filter(|word| !is_received(word)) {
                self.lose(&format!("`{word}` was never received: {row:?}"));
            }
        }
        let known: BTreeSet<&RunId> = history.rows.iter().map(|row| &row.run).collect();
        let unknown = by_run.keys().filter(|run| run.occurrence < history.until && !known.contains(run));
        for run in unknown {
            self.lose(&format!("{run} was received, and is not on disk"));
        }
    }

    fn lose(&mut self, what: &str) {
        self.lost += 1;
        self.faults.push(format!("lost: {what}"));
    }

    /// Checks that no occurrence has two runs, neither on disk nor on the wire.
    fn find_doubled(&mut self, history: &History, by_run: &MessagesByRun<'_>) {
        let mut runs: BTreeMap<Due, BTreeSet<&RunId>> = BTreeMap::new();
        for run in by_run.keys().chain(history.rows.iter().map(|row| &row.run)) {
            runs.entry(Due::of(run)).or_default().insert(run);
        }
        for runs in runs.values().filter(|runs| runs.len() > 1) {
            self.doubled += 1;
            self.faults.push(format!("one occurrence, several runs: {runs:?}"));
        }
    }

    /// Checks that no step arrived after a later one, and that every repetition is explained.
    fn check_run(&mut self, history: &History, run: &RunId, messages: &[&Message]) {
        let words = jobs().into_iter().find(|job| job.id == run.job.as_str()).map_or(&[][..], |job| job.words);
        let step_of = |message: &Message| words.iter().position(|word| *word == message.payload);
        if !messages.iter().map(|message| step_of(message)).is_sorted() {
            self.backward += 1;
            self.faults.push(format!("a step of {run} arrived after a later one: {messages:?}"));
        }
        for (step, word) in words.iter().enumerate() {
            let of_step: Vec<&&Message> = messages.iter().filter(|message| message.payload == *word).collect();
            for pair in of_step.windows(2) {
                self.repeated += 1;
                if *word == "once" {
                    self.once_repeated += 1;
                    self.faults.push(format!("a step of {run} is marked `once`, and was repeated: {pair:?}"));
                } else if let Err(why) = self.explain(history, run, step, pair[0], pair[1]) {
                    self.unexplained += 1;
                    self.faults.push(format!("{run} was repeated, and {why}: {pair:?}"));
                }
            }
        }
    }

    /// Explains a repetition: the host was killed before the completed step was on disk.
    fn explain(
        &mut self,
        history: &History,
        run: &RunId,
        step: usize,
        first: &Message,
        again: &Message,
    ) -> Result<(), String> {
        let between: Vec<_> =
            history.kills.iter().filter(|kill| first.at - NOTED_S <= kill.at && kill.at <= again.at).collect();
        let Some(last) = between.last() else { return Err("no host was killed in between".into()) };
        let kept = last.disk.get(run);
        // A message that arrived during the kill was sent by the killed host, not by the next one.
        let is_from_before = between.len() > 1 && again.at - last.at < NOTED_S;
        if kept.is_some_and(|kept| kept.steps_done > step) && !is_from_before {
            return Err("the step was completed on disk".into());
        }
        // A run that is known to have started marks its message as a possible repetition.
        let is_first = again.property("roost-attempt") == Some("1");
        if is_first && kept.is_some_and(|kept| kept.is_known) && !is_from_before {
            return Err("is marked as the first attempt".into());
        }
        self.longest_s = self.longest_s.max(between[0].at - first.at);
        Ok(())
    }
}

/// Checks whether a row is an allowed end of an occurrence.
fn is_good(history: &History, job: &Job, row: &Row) -> bool {
    if job.must == Must::End && ["missed", "skipped", "cancelled"].contains(&row.state.as_str()) {
        return true;
    }
    row.state == "succeeded" || (row.state == "failed" && is_cut_off(history, job, row))
}

/// Checks whether a run failed because the host was killed while it was under way.
fn is_cut_off(history: &History, job: &Job, row: &Row) -> bool {
    let (Some(started), Some(ended)) = (row.started, row.ended) else { return false };
    let was_killed = history.kills.iter().any(|kill| started <= kill.at_instant() && kill.at_instant() <= ended);
    let possibly = row.reason.ends_with("was possibly sent, and is not to be repeated");
    let overtaken = row.reason.starts_with("step 1 was given up after 1 attempt");
    was_killed && ((possibly && job.words.contains(&"once")) || (overtaken && job.words.len() > 1))
}
