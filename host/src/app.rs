//! The one place where the edges and the scheduler meet:
//!
//! take every event that is waiting → step each → hand the changes to the store as one transaction → start each effect
//! as soon as what it depends on is durable → never wait in the loop.

mod batch;
mod inspector;
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
    inspector::{Inspector, LoopClosed, Question, inspector},
    replies::PendingReplies,
};
use crate::{
    clock::{self, Alarm, Clock},
    config::grant,
    event_log::{self, EventLog, HostEvent},
    metrics::{Counter, Metrics},
    mqtt::Link,
    plugins::Plugins,
    service::{self, Watchdog},
    store::{Committed, Writer},
    zones::{self, Changed},
};

/// Events that are taken before what they change is handed to the store: a batch must not grow without bound.
const EVENTS_PER_TURN: usize = 256;
/// How long events are taken before the link has its turn: what is due now must not wait until many plans are looked at.
const TURN: Duration = Duration::from_millis(1);
/// How long decisions that nothing waits for are gathered: fewer and larger transactions, for a page of the disk is
/// written as often as a transaction touches it. What a crash takes along is so much of what the broker acknowledged,
/// which is then sent again.
const GATHER: Duration = Duration::from_millis(100);
/// Changes that may wait for a slow disk: then nothing more is decided until it has caught up.
const CHANGES_WAITING: usize = 131_072;
/// How far ahead owed steps are still waited for when nothing can be kept any more. Whoever starts the host again has a
/// chance to see to the rest.
const OWED: Duration = Duration::from_secs(15 * 60);
/// How long acknowledgements are waited for when the host is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);

/// The scheduler, and the edges that it acts through.
pub(crate) struct App {
    pub(crate) scheduler: Scheduler,
    pub(crate) writer: Writer,
    pub(crate) link: Link,
    pub(crate) plugins: Plugins,
    pub(crate) answers: PendingReplies,
    pub(crate) events: mpsc::Receiver<Event>,
    /// Questions of those who look on.
    pub(crate) looks: mpsc::Receiver<Question>,
    pub(crate) committed: mpsc::UnboundedReceiver<Committed>,
    pub(crate) clock: Clock,
    /// By which rules of time zones the jobs are due, as the disk has it.
    pub(crate) zones: Option<Arc<str>>,
    /// Where what happens is told.
    pub(crate) feed: EventLog,
    pub(crate) metrics: Metrics,
}

/// When to look whether the system has other rules of time zones.
fn looks_at_zones() -> Interval {
    let mut looks = tokio::time::interval(zones::LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

fn zones_changed(Changed { in_use, zones }: Changed) -> Event {
    Event::ZonesChanged { zones: Some(zones), rules: in_use.to_string().into() }
}

impl App {
    /// Runs until `stop` is ready, and what is under way has been acknowledged.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        clock::keep_time();
        let mut alarm = Alarm::new().context("the kernel gave no timer")?;
        let mut hand = CommitBatch::default();
        let mut stopping = false;
        let (gathered, disconnect) = (tokio::time::sleep(GATHER), tokio::time::sleep(FAREWELL));
        tokio::pin!(stop, gathered, disconnect);
        self.step(Event::Woke, &mut hand);
        self.compare_zones(&mut hand);
        log::taken_up(&self.scheduler);
        let mut zones = looks_at_zones();
        let mut watchdog = Watchdog::new();
        service::started();
        while self.goes_on(stopping, &hand) {
            let is_more_durable = self.start_durable(&mut hand).await;
            if hand.is_due() {
                self.hand_over(&mut hand);
            }
            alarm.set(hand.wake).context("the kernel's timer cannot be set")?;
            // What has begun as a whole goes on to its end: before, the store cannot have it.
            let has_room = hand.partial || hand.changes.len() < CHANGES_WAITING;
            let had_none = hand.changes.is_empty();
            let event = tokio::select! {
                biased;
                () = &mut stop, if !stopping => {
                    tracing::info!("stopping, as soon as what is under way is acknowledged");
                    Event::StopRequested
                }
                () = &mut disconnect, if stopping => break,
                () = watchdog.sign() => continue,
                Some(committed) = self.committed.recv() => match committed {
                    Committed::Done(number) => {
                        Self::kept(number, &mut hand, &self.feed, &self.metrics);
                        continue;
                    }
                    Committed::Failed(error) => {
                        hand.fail(&error, &self.answers);
                        Event::StoreFailed
                    }
                },
                () = &mut gathered, if hand.can_be_kept() => {
                    self.hand_over(&mut hand);
                    continue;
                }
                event = self.events.recv(), if has_room => event.context("the edges are gone")?,
                rung = alarm.rung(), if has_room => {
                    rung.context("the kernel's timer cannot be read")?;
                    Event::Woke
                }
                Some(look) = self.looks.recv() => {
                    look(&self.scheduler);
                    continue;
                }
                // Between two steps: none of them sees rules that change (I1).
                _ = zones.tick(), if has_room => match zones::look_again() {
                    Some(changed) => zones_changed(changed),
                    None => continue,
                },
                () = std::future::ready(()), if is_more_durable => continue,
            };
            if matches!(event, Event::StopRequested) && !stopping {
                stopping = true;
                service::stopping();
                disconnect.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
            }
            self.take(event, &mut hand).await;
            if had_none && !hand.changes.is_empty() {
                gathered.as_mut().reset(tokio::time::Instant::now() + GATHER);
            }
        }
        self.end(hand).await
    }

    /// Jobs that were planned by other rules of time zones than those of now may be due at another time.
    fn compare_zones(&mut self, hand: &mut CommitBatch) {
        let in_use = zones::in_use();
        tracing::info!("the time zones are {in_use}");
        let rules: Arc<str> = in_use.to_string().into();
        if self.zones.as_ref() != Some(&rules) {
            self.step(Event::ZonesChanged { zones: None, rules }, hand);
        }
    }

    /// Until it is told to stop, and what is under way has been acknowledged; or until nothing can be kept any more, and
    /// what is owed soon was sent.
    fn goes_on(&self, stopping: bool, hand: &CommitBatch) -> bool {
        let is_under_way = hand.committing || self.scheduler.attempts_under_way() > 0;
        match hand.failed_at {
            Some(at) if !stopping => {
                let left = OWED.saturating_sub(at.elapsed());
                let until = clock::now().plus_ms(left.as_millis() as i64);
                !left.is_zero() && (is_under_way || self.scheduler.owes_until(until))
            }
            _ => !stopping || is_under_way,
        }
    }

    /// Takes an event, and those that wait behind it.
    async fn take(&mut self, event: Event, hand: &mut CommitBatch) {
        let end = clock::monotonic() + TURN;
        self.step(event, hand);
        // However many events there are: who looks on has a turn, too, and only one.
        if let Ok(look) = self.looks.try_recv() {
            look(&self.scheduler);
        }
        for _ in 1..EVENTS_PER_TURN {
            if clock::monotonic() > end {
                break;
            }
            let event = match self.events.try_recv() {
                Ok(event) => event,
                // There is more to do, and nobody has to ring for that.
                Err(_) if hand.wake.is_some_and(|wake| wake <= clock::now()) => Event::Woke,
                Err(_) => return,
            };
            self.step(event, hand);
        }
        // There may be more: the link has its turn first.
        tokio::task::yield_now().await;
    }

    /// Keeps what is left to be kept, and takes leave.
    async fn end(mut self, mut hand: CommitBatch) -> anyhow::Result<()> {
        while hand.partial {
            self.step(Event::Woke, &mut hand);
        }
        if hand.failed.is_some() {
            log::owed(&self.scheduler);
        }
        self.plugins.stop();
        self.link.stop().await;
        // Of a batch that is on its way, and of the one behind it.
        let mut last = Vec::new();
        if hand.failed.is_none() {
            last = event_log::decided(&hand.changes, &self.scheduler);
            if !hand.committing {
                hand.untold = mem::take(&mut last);
            }
            self.writer.commit(hand.gathering, mem::take(&mut hand.changes));
        }
        self.writer.close();
        while let Ok(committed) = self.committed.try_recv() {
            match committed {
                Committed::Done(number) => {
                    Self::kept(number, &mut hand, &self.feed, &self.metrics);
                    hand.untold = mem::take(&mut last);
                }
                Committed::Failed(error) => hand.fail(&error, &self.answers),
            }
        }
        while let Some(effect) = hand.next_durable() {
            if let Effect::Answer { request, answer } = effect {
                self.answers.give(request, answer);
            }
        }
        self.answers.end();
        match hand.failed {
            Some(report) => Err(report.into()),
            None => {
                tracing::info!("stopped");
                Ok(())
            }
        }
    }

    /// Steps, gathers what is to be kept, and starts what waits for nothing.
    fn step(&mut self, event: Event, hand: &mut CommitBatch) {
        let (now, set_by_ms) = self.clock.look();
        if let Some(by_ms) = set_by_ms {
            self.feed.log(HostEvent::ClockSet { by_ms, now });
            self.step_at(now, Event::ClockSet { by_ms }, hand);
        }
        self.step_at(now, event, hand);
    }

    /// What is told, or counted, whatever comes of it.
    fn look_at(&self, event: &Event) {
        let count = |answers: &Counter, failures: &Counter, failed: bool| {
            answers.add(1);
            failures.add(failed.into());
        };
        match event {
            Event::LinkUp { .. } => {
                self.metrics.links.add(1);
                self.feed.tell(HostEvent::Link { up: true });
            }
            Event::LinkDown { .. } => self.feed.tell(HostEvent::Link { up: false }),
            Event::Removed(plugin) => self.feed.log(HostEvent::Removed(plugin.clone())),
            Event::Planned { plan, .. } => count(&self.metrics.plans, &self.metrics.plans_failed, plan.is_err()),
            Event::Answered { reply, .. } => count(&self.metrics.tasks, &self.metrics.tasks_failed, reply.is_err()),
            _ => {}
        }
    }

    /// A message leaves.
    fn count(&self, publish: &Publish) {
        self.metrics.published.add(1);
        if publish.number == 1 {
            let late_ms = clock::now().ms_since(publish.due).max(0);
            self.metrics.lateness.observe(Duration::from_millis(late_ms.unsigned_abs()));
        }
    }

    fn step_at(&mut self, now: Instant, event: Event, hand: &mut CommitBatch) {
        self.look_at(&event);
        let mut step = self.scheduler.step(now, event);
        if hand.failed.is_some() {
            // Nothing is kept any more, so nothing begins that would have to be. What is owed does not wait for that.
            step.changes.clear();
            step.effects.retain(|effect| !effect.after_commit());
        }
        hand.changes.extend(step.changes);
        self.metrics.changes_waiting.set(hand.changes.len());
        hand.partial = step.partial;
        hand.wake = step.wake;
        for effect in step.effects {
            // I3: an effect that needs what was decided up to here waits until it is durable.
            match hand.newest_batch().filter(|_| effect.after_commit()) {
                Some(batch) => hand.waiting.push_back((batch, effect)),
                None => self.start(effect, hand),
            }
        }
    }

    /// A batch is durable, and so is what was decided in it.
    fn kept(number: u64, hand: &mut CommitBatch, feed: &EventLog, metrics: &Metrics) {
        hand.committing = false;
        hand.durable = number + 1;
        if let Some(since) = hand.committing_since.take() {
            metrics.commits.observe(since.elapsed());
        }
        let decided = mem::take(&mut hand.untold);
        log::note(&decided);
        for what in &decided {
            if let HostEvent::Ended(run) = what {
                metrics.count_end(&run.outcome);
            }
        }
        feed.tell_all(decided);
    }

    /// Hands what was gathered to the store, unless it is still busy: then more of it becomes one transaction.
    fn hand_over(&mut self, hand: &mut CommitBatch) {
        if hand.can_be_kept() {
            hand.untold = event_log::decided(&hand.changes, &self.scheduler);
            self.writer.commit(hand.gathering, mem::take(&mut hand.changes));
            self.metrics.changes_waiting.set(0);
            hand.gathering += 1;
            hand.committing = true;
            hand.committing_since = Some(clock::monotonic());
        }
    }

    /// Starts what waited for a batch that is durable now; whether more is left.
    async fn start_durable(&mut self, hand: &mut CommitBatch) -> bool {
        let end = clock::monotonic() + TURN;
        while let Some(effect) = hand.next_durable() {
            self.start(effect, hand);
            if clock::monotonic() > end {
                tokio::task::yield_now().await;
                return true;
            }
        }
        false
    }

    /// A version, or a plan, has taken effect.
    fn announce(&self, announcement: Announcement) {
        let Announcement { loaded, new, changed, unchanged, .. } = announcement;
        let plugin = announcement.plugin.clone();
        if loaded {
            let view = self.scheduler.plugin(&plugin);
            let (devices, jobs) = (view.as_ref().map_or(0, |plugin| plugin.devices), new + changed + unchanged);
            let notes = view.map(|plugin| grant::notes(plugin.grant)).unwrap_or_default();
            self.feed.log(HostEvent::Loaded { plugin: plugin.clone(), devices, jobs, grant: notes.join("; ").into() });
        }
        self.feed.log(HostEvent::Planned(announcement));
        if loaded {
            log::next_runs(&plugin, &self.scheduler);
        }
    }

    fn start(&mut self, effect: Effect, hand: &mut CommitBatch) {
        match effect {
            Effect::Publish(publish) => {
                self.count(&publish);
                self.link.publish(publish);
            }
            Effect::Plan { plugin, device, generation } => self.plugins.plan(plugin, device, generation),
            Effect::Call { call, plugin, device, task, due } => self.plugins.run_task(call, plugin, device, task, due),
            Effect::Announce(announcement) => self.announce(announcement),
            Effect::ZonesMoved { rules, jobs } => log::zones_moved(&rules, jobs),
            Effect::NotifyDurable(ticket) => self.step(Event::Durable(ticket), hand),
            Effect::Watch { link, watch, confirm } => self.link.watch(link, watch, confirm),
            Effect::Unwatch { link, watch } => self.link.unwatch(link, watch),
            Effect::Answer { request, answer } => self.answers.give(request, answer),
        }
    }
}
