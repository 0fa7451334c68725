//! The one place where the edges and the scheduler meet:
//!
//! take every event that is waiting → step each → hand the changes to the store as one transaction → start each effect
//! as soon as what it depends on is durable → never wait in the loop.

mod batch;
mod inspector;
mod limits;
mod log;
mod replies;

use std::{mem, sync::Arc, time::Duration};

use anyhow::Context as _;
use roost_scheduler::{
    event::{Announcement, Effect, Event, Publish},
    scheduler::Scheduler,
    time::Instant,
};
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior},
};

use self::batch::CommitBatch;
pub(crate) use self::{
    inspector::{Inspector, LoopClosed, Query, inspector},
    replies::PendingReplies,
};
use crate::{
    clock::{self, Alarm, Clock},
    config::grant,
    event_log::{self, EventLog, HostEvent},
    lease::SendPermit,
    metrics::{Counter, Metrics},
    mqtt::Link,
    plugins::Plugins,
    service::{self, Watchdog},
    store::{Committed, Writer},
    zones::{self, Changed},
};

/// The scheduler, and the edges that it acts through.
pub(crate) struct App {
    pub(crate) scheduler: Scheduler,
    pub(crate) writer: Writer,
    pub(crate) link: Link,
    pub(crate) plugins: Plugins,
    pub(crate) replies: PendingReplies,
    pub(crate) events: mpsc::Receiver<Event>,
    /// Queries of other threads about the scheduler.
    pub(crate) queries: mpsc::Receiver<Query>,
    pub(crate) committed: mpsc::UnboundedReceiver<Committed>,
    pub(crate) clock: Clock,
    /// The time zone rules that the stored jobs were planned by.
    pub(crate) zones: Option<Arc<str>>,
    pub(crate) event_log: EventLog,
    pub(crate) metrics: Metrics,
    /// Says whether this process may send.
    pub(crate) permit: SendPermit,
}

/// Returns the interval at which the system's time zone rules are checked.
fn zone_checks() -> Interval {
    let mut checks = tokio::time::interval(zones::LOOK_EVERY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    checks
}

fn zones_changed(Changed { in_use, zones }: Changed) -> Event {
    Event::ZonesChanged { zones: Some(zones), rules: in_use.to_string().into() }
}

impl App {
    /// Runs until `stop` is ready and the messages in flight have been acknowledged.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        clock::keep_time();
        let mut alarm = Alarm::new().context("the kernel gave no timer")?;
        let mut batch = CommitBatch::default();
        let mut stopping = false;
        let (gathered, disconnect) = (tokio::time::sleep(limits::GATHER), tokio::time::sleep(limits::STOP_TIMEOUT));
        tokio::pin!(stop, gathered, disconnect);
        self.step(Event::Woke, &mut batch);
        self.compare_zones(&mut batch);
        log::resumed(&self.scheduler);
        let mut zones = zone_checks();
        let mut watchdog = Watchdog::new();
        service::started();
        while self.continues(stopping, &batch) {
            let is_more_durable = self.start_durable(&mut batch).await;
            if batch.is_due() {
                self.commit(&mut batch);
            }
            alarm.set(batch.wake).context("the kernel's timer cannot be set")?;
            // A partial batch has to be completed before the store can have it.
            let has_room = batch.partial || batch.changes.len() < limits::CHANGES_WAITING;
            let had_none = batch.changes.is_empty();
            let event = tokio::select! {
                biased;
                () = &mut stop, if !stopping => {
                    tracing::info!("stopping, as soon as the messages in flight are acknowledged");
                    Event::StopRequested
                }
                () = &mut disconnect, if stopping => break,
                () = watchdog.sign() => continue,
                Some(committed) = self.committed.recv() => match committed {
                    Committed::Done(number) => {
                        Self::committed(number, &mut batch, &self.event_log, &self.metrics);
                        continue;
                    }
                    Committed::Failed(error) => {
                        batch.fail(&error, &self.replies);
                        Event::StoreFailed
                    }
                },
                () = &mut gathered, if batch.can_commit() => {
                    self.commit(&mut batch);
                    continue;
                }
                event = self.events.recv(), if has_room => event.context("the edges are gone")?,
                rung = alarm.rung(), if has_room => {
                    rung.context("the kernel's timer cannot be read")?;
                    Event::Woke
                }
                Some(query) = self.queries.recv() => {
                    query(&self.scheduler);
                    continue;
                }
                // Between two steps, so that the rules never change within one (I1).
                _ = zones.tick(), if has_room => match zones::look_again() {
                    Some(changed) => zones_changed(changed),
                    None => continue,
                },
                () = std::future::ready(()), if is_more_durable => continue,
            };
            if matches!(event, Event::StopRequested) && !stopping {
                stopping = true;
                service::stopping();
                disconnect.as_mut().reset(tokio::time::Instant::now() + limits::STOP_TIMEOUT);
            }
            self.take(event, &mut batch).await;
            if had_none && !batch.changes.is_empty() {
                gathered.as_mut().reset(tokio::time::Instant::now() + limits::GATHER);
            }
        }
        self.end(batch).await
    }

    /// Steps the scheduler if the jobs were planned by other time zone rules than the present ones.
    fn compare_zones(&mut self, batch: &mut CommitBatch) {
        let in_use = zones::in_use();
        tracing::info!("the time zones are {in_use}");
        let rules: Arc<str> = in_use.to_string().into();
        if self.zones.as_ref() != Some(&rules) {
            self.step(Event::ZonesChanged { zones: None, rules }, batch);
        }
    }

    /// Checks whether the loop continues: until it is stopped and the messages in flight have been acknowledged, or
    /// until the store has failed and the steps that are owed soon have been sent.
    fn continues(&self, stopping: bool, batch: &CommitBatch) -> bool {
        let is_under_way = batch.committing || self.scheduler.attempts_under_way() > 0;
        match batch.failed_at {
            Some(at) if !stopping => {
                let left = limits::OWED_AHEAD.saturating_sub(at.elapsed());
                let until = clock::now().plus_ms(left.as_millis() as i64);
                !left.is_zero() && (is_under_way || self.scheduler.owes_until(until))
            }
            _ => !stopping || is_under_way,
        }
    }

    /// Steps an event and those that wait behind it, within the bounds of a turn.
    async fn take(&mut self, event: Event, batch: &mut CommitBatch) {
        let end = clock::monotonic() + limits::TURN;
        self.step(event, batch);
        // However many events there are, one query is answered in each turn.
        if let Ok(query) = self.queries.try_recv() {
            query(&self.scheduler);
        }
        for _ in 1..limits::EVENTS_PER_TURN {
            if clock::monotonic() > end {
                break;
            }
            let event = match self.events.try_recv() {
                Ok(event) => event,
                // The scheduler has more to do, and no timer is needed for that.
                Err(_) if batch.wake.is_some_and(|wake| wake <= clock::now()) => Event::Woke,
                Err(_) => return,
            };
            self.step(event, batch);
        }
        // There may be more: the link has its turn first.
        tokio::task::yield_now().await;
    }

    /// Commits the remaining changes, and disconnects.
    async fn end(mut self, mut batch: CommitBatch) -> anyhow::Result<()> {
        while batch.partial {
            self.step(Event::Woke, &mut batch);
        }
        if batch.failed.is_some() {
            log::owed_steps(&self.scheduler);
        }
        self.plugins.stop();
        self.link.stop().await;
        // The pending events of a batch that is being committed, and those of the last batch behind it.
        let mut last = Vec::new();
        if batch.failed.is_none() {
            last = event_log::decided(&batch.changes, &self.scheduler);
            if !batch.committing {
                batch.pending = mem::take(&mut last);
            }
            self.writer.commit(batch.gathering, mem::take(&mut batch.changes));
        }
        self.writer.close();
        while let Ok(committed) = self.committed.try_recv() {
            match committed {
                Committed::Done(number) => {
                    Self::committed(number, &mut batch, &self.event_log, &self.metrics);
                    batch.pending = mem::take(&mut last);
                }
                Committed::Failed(error) => batch.fail(&error, &self.replies),
            }
        }
        while let Some(effect) = batch.next_durable() {
            if let Effect::Answer { request, answer } = effect {
                self.replies.send(request, answer);
            }
        }
        self.replies.close();
        match batch.failed {
            Some(report) => Err(report.into()),
            None => {
                tracing::info!("stopped");
                Ok(())
            }
        }
    }

    /// Steps the scheduler, gathers the changes, and starts the effects that depend on nothing. Announces a clock
    /// change first.
    fn step(&mut self, event: Event, batch: &mut CommitBatch) {
        let (now, set_by_ms) = self.clock.look();
        if let Some(by_ms) = set_by_ms {
            self.event_log.log(HostEvent::ClockSet { by_ms, now });
            self.step_at(now, Event::ClockSet { by_ms }, batch);
        }
        self.step_at(now, event, batch);
    }

    /// Logs and counts an event before it is decided.
    fn observe(&self, event: &Event) {
        let count = |replies: &Counter, failures: &Counter, failed: bool| {
            replies.add(1);
            failures.add(failed.into());
        };
        match event {
            Event::LinkUp { .. } => {
                self.metrics.links.add(1);
                self.event_log.push(HostEvent::Link { up: true });
            }
            Event::LinkDown { .. } => self.event_log.push(HostEvent::Link { up: false }),
            Event::Removed(plugin) => self.event_log.log(HostEvent::Removed(plugin.clone())),
            Event::Planned { plan, .. } => count(&self.metrics.plans, &self.metrics.plans_failed, plan.is_err()),
            Event::Answered { reply, .. } => count(&self.metrics.tasks, &self.metrics.tasks_failed, reply.is_err()),
            _ => {}
        }
    }

    /// Counts a message and its lateness.
    fn count(&self, publish: &Publish) {
        self.metrics.published.add(1);
        if publish.number == 1 {
            let late_ms = clock::now().ms_since(publish.due).max(0);
            self.metrics.lateness.observe(Duration::from_millis(late_ms.unsigned_abs()));
        }
    }

    fn step_at(&mut self, now: Instant, event: Event, batch: &mut CommitBatch) {
        self.observe(&event);
        let mut step = self.scheduler.step(now, event);
        if batch.failed.is_some() {
            // The store has failed, so nothing starts that depends on it. Owed steps do not.
            step.changes.clear();
            step.effects.retain(|effect| !effect.after_commit());
        }
        batch.changes.extend(step.changes);
        self.metrics.changes_waiting.set(batch.changes.len());
        batch.partial = step.partial;
        batch.wake = step.wake;
        for effect in step.effects {
            // I3: an effect that depends on the changes up to here waits until they are durable.
            match batch.newest_batch().filter(|_| effect.after_commit()) {
                Some(number) => batch.waiting.push_back((number, effect)),
                None => self.start(effect, batch),
            }
        }
    }

    /// Notes that a batch is durable, and publishes its decisions.
    fn committed(number: u64, batch: &mut CommitBatch, event_log: &EventLog, metrics: &Metrics) {
        batch.committing = false;
        batch.durable = number + 1;
        if let Some(since) = batch.committing_since.take() {
            metrics.commits.observe(since.elapsed());
        }
        let decided = mem::take(&mut batch.pending);
        log::write(&decided);
        for event in &decided {
            if let HostEvent::Ended(run) = event {
                metrics.count_end(&run.outcome);
            }
        }
        event_log.push_all(decided);
    }

    /// Hands the gathered changes to the store, unless it is still busy: then more of them become one transaction.
    fn commit(&mut self, batch: &mut CommitBatch) {
        if batch.can_commit() {
            batch.pending = event_log::decided(&batch.changes, &self.scheduler);
            self.writer.commit(batch.gathering, mem::take(&mut batch.changes));
            self.metrics.changes_waiting.set(0);
            batch.gathering += 1;
            batch.committing = true;
            batch.committing_since = Some(clock::monotonic());
        }
    }

    /// Starts the effects that waited for a durable batch, for at most a turn. Returns whether more are left. Never returns
    /// once this process may send nothing more.
    async fn start_durable(&mut self, batch: &mut CommitBatch) -> bool {
        self.permit.check().await;
        let end = clock::monotonic() + limits::TURN;
        while let Some(effect) = batch.next_durable() {
            self.start(effect, batch);
            if clock::monotonic() > end {
                tokio::task::yield_now().await;
                return true;
            }
        }
        false
    }

    /// Logs that a version, or a plan, has taken effect.
    fn announce(&self, announcement: Announcement) {
        let Announcement { loaded, new, changed, unchanged, .. } = announcement;
        let plugin = announcement.plugin.clone();
        if loaded {
            let view = self.scheduler.plugin(&plugin);
            let (devices, jobs) = (view.as_ref().map_or(0, |plugin| plugin.devices), new + changed + unchanged);
            let notes = view.map(|plugin| grant::notes(plugin.grant)).unwrap_or_default();
            self.event_log.log(HostEvent::Loaded {
                plugin: plugin.clone(),
                devices,
                jobs,
                grant: notes.join("; ").into(),
            });
        }
        self.event_log.log(HostEvent::Planned(announcement));
        if loaded {
            log::next_runs(&plugin, &self.scheduler);
        }
    }

    fn start(&mut self, effect: Effect, batch: &mut CommitBatch) {
        match effect {
            Effect::Publish(publish) => {
                self.count(&publish);
                self.link.publish(publish);
            }
            Effect::Plan { plugin, device, generation } => self.plugins.plan(plugin, device, generation),
            Effect::Call { call, plugin, device, task, due } => self.plugins.run_task(call, plugin, device, task, due),
            Effect::Announce(announcement) => self.announce(announcement),
            Effect::PauseChanged { what, pause, change } => {
                self.event_log.log(HostEvent::Pause { what, pause, change });
            }
            Effect::ByHand(change) => self.event_log.log(HostEvent::ByHand(change)),
            Effect::ZonesMoved { rules, jobs } => log::zones_moved(&rules, jobs),
            Effect::NotifyDurable(token) => self.step(Event::Durable(token), batch),
            Effect::Watch { link, watch, confirm } => self.link.watch(link, watch, confirm),
            Effect::Unwatch { link, watch } => self.link.unwatch(link, watch),
            Effect::Answer { request, answer } => self.replies.send(request, answer),
        }
    }
}
