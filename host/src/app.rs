//! The one place where the edges and the scheduler meet:
//!
//! take every event that is waiting → step each → hand the changes to the store as one transaction → start each effect
//! as soon as what it depends on is durable → never wait in the loop.

mod diary;

use std::{collections::VecDeque, mem, time::Duration};

use anyhow::Context as _;
use roost_scheduler::{
    event::{Change, Effect, Event},
    scheduler::Scheduler,
    time::Instant,
};
use tokio::sync::mpsc;

use crate::{
    clock::{self, Alarm},
    mqtt::Link,
    plugins::Plugins,
    store::{Committed, Writer},
};

/// Events that are taken before what they change is handed to the store: a batch must not grow without bound.
const EVENTS_PER_TURN: usize = 256;
/// How long acknowledgements are waited for when the host is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);

/// The scheduler, and the edges that it acts through.
pub(crate) struct App {
    pub(crate) scheduler: Scheduler,
    pub(crate) writer: Writer,
    pub(crate) link: Link,
    pub(crate) plugins: Plugins,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) committed: mpsc::UnboundedReceiver<Committed>,
}

/// What waits for the disk.
#[derive(Default)]
struct Batches {
    /// The number of the batch that is being gathered.
    gathering: u64,
    changes: Vec<Change>,
    /// Whether a batch is on its way to the disk.
    committing: bool,
    /// Effects that wait for the batch of that number.
    waiting: VecDeque<(u64, Effect)>,
}

impl Batches {
    /// The batch that has to be durable before everything is.
    fn newest(&self) -> Option<u64> {
        if self.changes.is_empty() { self.committing.then(|| self.gathering - 1) } else { Some(self.gathering) }
    }
}

impl App {
    /// Runs until `stop` is ready, and what is under way has been acknowledged.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let alarm = Alarm::new().context("the kernel gave no timer")?;
        let mut batches = Batches::default();
        let mut stopping = false;
        let farewell = tokio::time::sleep(FAREWELL);
        tokio::pin!(stop, farewell);
        let mut wake = self.step(Event::Woke, &mut batches);
        while !stopping || batches.committing || self.scheduler.attempts_under_way() > 0 {
            alarm.set(wake).context("the kernel's timer cannot be set")?;
            let event = tokio::select! {
                biased;
                () = &mut stop, if !stopping => {
                    stopping = true;
                    farewell.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
                    tracing::info!("stopping, as soon as what is under way is acknowledged");
                    Event::StopAsked
                }
                () = &mut farewell, if stopping => break,
                Some(committed) = self.committed.recv() => {
                    wake = self.on_commit(committed, &mut batches)?.or(wake);
                    continue;
                }
                event = self.events.recv() => event.context("the edges are gone")?,
                rung = alarm.rung() => {
                    rung.context("the kernel's timer cannot be read")?;
                    Event::Woke
                }
            };
            wake = self.step(event, &mut batches);
            for _ in 1..EVENTS_PER_TURN {
                let Ok(event) = self.events.try_recv() else { break };
                wake = self.step(event, &mut batches);
            }
            self.hand_over(&mut batches);
        }
        self.plugins.stop();
        self.link.stop().await;
        self.hand_over(&mut batches);
        self.writer.close();
        tracing::info!("stopped");
        Ok(())
    }

    /// Steps, gathers what is to be kept, and starts what waits for nothing.
    fn step(&mut self, event: Event, batches: &mut Batches) -> Option<Instant> {
        let mut step = self.scheduler.step(clock::now(), event);
        diary::note(&step.changes);
        batches.changes.append(&mut step.changes);
        for effect in mem::take(&mut step.effects) {
            // I3: an effect that needs what was decided up to here waits until it is durable.
            match batches.newest().filter(|_| effect.after_commit()) {
                Some(batch) => batches.waiting.push_back((batch, effect)),
                None => self.start_now(effect, batches),
            }
        }
        step.wake
    }

    /// Hands what was gathered to the store, unless it is still busy: then more of it becomes one transaction.
    fn hand_over(&mut self, batches: &mut Batches) {
        if !batches.committing && !batches.changes.is_empty() {
            self.writer.commit(batches.gathering, mem::take(&mut batches.changes));
            batches.gathering += 1;
            batches.committing = true;
        }
    }

    /// A batch is durable, or never will be.
    fn on_commit(&mut self, committed: Committed, batches: &mut Batches) -> anyhow::Result<Option<Instant>> {
        let durable = match committed {
            Committed::Done(number) => number,
            Committed::Failed(error) => {
                return Err(error).context("what was decided could not be kept, so nothing more is done");
            }
        };
        batches.committing = false;
        let mut wake = None;
        while let Some((_, effect)) = batches.waiting.pop_front_if(|(number, _)| *number <= durable) {
            wake = self.start(effect, batches).or(wake);
        }
        self.hand_over(batches);
        Ok(wake)
    }

    fn start(&mut self, effect: Effect, batches: &mut Batches) -> Option<Instant> {
        match effect {
            Effect::Publish(publish) => self.link.publish(publish),
            Effect::Plan { plugin, device, generation } => self.plugins.plan(plugin, device, generation),
            Effect::Announce(announcement) => diary::announce(&announcement, &self.scheduler),
            Effect::Confirm(ticket) => return self.step(Event::Confirmed(ticket), batches),
        }
        None
    }
}
