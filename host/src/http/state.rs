//! What answers are made with.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::http::StatusCode;
use roost_scheduler::{
    event::{Done, Event, Part, Request},
    names::PluginName,
    scheduler::{Operator, Scheduler},
    time::Instant,
    zone::Zone,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{limits, missing::missing, problem::Problem};
use crate::{
    app::{Inspector, PendingReplies},
    clock,
    config::{Config, rules::Rules},
    event_log::EventLog,
    metrics::Metrics,
    mqtt::{BuiltInHealth, LinkInfo},
    plugins::PluginHandle,
    store::StoreError,
};

/// See the module.
#[derive(Clone)]
pub(crate) struct ApiState(Arc<Parts>);

/// What it is made of.
struct Parts {
    events: mpsc::Sender<Event>,
    answers: PendingReplies,
    view: Inspector,
    plugins: PluginHandle,
    data: PathBuf,
    zone: Zone,
    rules: Rules,
    operator: Operator,
    history_days: u32,
    started_monotonic: std::time::Instant,
    feed: EventLog,
    metrics: Metrics,
    link: LinkInfo,
    streams: Arc<Semaphore>,
    has_been_ready: AtomicBool,
    broker: Option<BuiltInHealth>,
}

impl ApiState {
    pub(crate) fn new(
        events: mpsc::Sender<Event>,
        answers: PendingReplies,
        view: Inspector,
        plugins: PluginHandle,
        (feed, metrics, link): (EventLog, Metrics, LinkInfo),
        broker: Option<BuiltInHealth>,
        config: &Config,
    ) -> Self {
        let (started_monotonic, streams) = (clock::monotonic(), Arc::new(Semaphore::new(limits::STREAMS)));
        let (data, zone, rules) = (config.data.clone(), config.site.zone, config.rules.clone());
        let operator = rules.operator(config.site);
        Self(Arc::new(Parts {
            events,
            answers,
            view,
            data,
            zone,
            plugins,
            rules,
            operator,
            history_days: config.history.days,
            started_monotonic,
            feed,
            metrics,
            link,
            streams,
            has_been_ready: AtomicBool::new(false),
            broker,
        }))
    }

    /// What is to be seen of plugins apart from the scheduler, and to be done with them.
    pub(super) fn plugins(&self) -> &PluginHandle {
        &self.0.plugins
    }

    /// What the operator has said.
    pub(super) fn operator(&self) -> &Operator {
        &self.0.operator
    }

    /// For how long it is kept what became of runs.
    pub(super) fn history_days(&self) -> u32 {
        self.0.history_days
    }

    /// What plugins have to keep to, and what people do by hand.
    pub(super) fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Whether a plugin's grant is the operator's.
    pub(super) fn is_granted_by_operator(&self, plugin: &PluginName) -> bool {
        self.0.rules.grants.contains_key(plugin)
    }

    /// The zone that times are told in where there is no device's own.
    pub(super) fn zone(&self) -> Zone {
        self.0.zone
    }

    /// When the host started.
    pub(super) fn started(&self) -> Instant {
        self.0.feed.start()
    }

    /// What happens.
    pub(super) fn feed(&self) -> &EventLog {
        &self.0.feed
    }

    /// How the built-in broker is, where it is used.
    pub(super) fn broker(&self) -> Option<&BuiltInHealth> {
        self.0.broker.as_ref()
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How the link to the broker is.
    pub(super) fn link(&self) -> &LinkInfo {
        &self.0.link
    }

    /// Places of those who follow what happens.
    pub(super) fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    /// Whether the host has been ready since it started.
    pub(super) fn has_been_ready(&self) -> bool {
        self.0.has_been_ready.load(Ordering::Relaxed)
    }

    /// Notes that the host is ready.
    pub(super) fn note_ready(&self) {
        self.0.has_been_ready.store(true, Ordering::Relaxed);
    }

    /// Questions that wait for the loop.
    pub(super) fn waiting_looks(&self) -> usize {
        self.0.view.waiting()
    }

    /// How long the host runs.
    pub(super) fn uptime_ms(&self) -> u64 {
        self.0.started_monotonic.elapsed().as_millis() as u64
    }

    /// Looks at the scheduler: some 2,000 places at the most, or the loop is held up.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Scheduler) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        Ok(self.0.view.query(look).await?)
    }

    /// Reads what is on disk, on a thread that may wait for it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&std::path::Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let desk = self.clone();
        match tokio::task::spawn_blocking(move || read(&desk.0.data)).await {
            Ok(read) => Ok(read?),
            Err(error) => Err(Problem::bug(&error)),
        }
    }

    /// Asks the core for something, and waits until it is done and durable. What cannot be done now is a conflict.
    pub(super) async fn ask(&self, what: Request) -> Result<Done, Problem> {
        let named = named(&what);
        let (request, answer) = self.0.answers.register();
        let waiting = Waiting { answers: &self.0.answers, request };
        let stopping = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the host is stopping");
        let answered = timeout(limits::ANSWER, async {
            self.0.events.send(Event::Asked { request, what }).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?.map_err(Problem::from)
        });
        let answered = answered.await;
        drop(waiting);
        if let (Ok(Err(problem)), Some(named)) = (&answered, named)
            && problem.status == StatusCode::NOT_FOUND
        {
            return Err(missing(self, named).await);
        }
        answered.unwrap_or_else(|_| {
            let detail = format!("the host gave no answer within {} s", limits::ANSWER.as_secs());
            let hint = "it may be done all the same: `roost runs` shows it; the host's log says what holds it up";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).hint(hint))
        })
    }
}

/// What of it has to be there.
fn named(what: &Request) -> Option<Part> {
    match what {
        Request::RunNow(job) | Request::Cancel(job) | Request::Skip { job, .. } => Some(Part::Job(job.clone())),
        Request::Pause { what, .. } => Some(what.clone()),
        Request::Replan(plugin) => Some(Part::Plugin(plugin.clone())),
        _ => None,
    }
}

/// Somebody who may go before the answer comes.
struct Waiting<'a> {
    answers: &'a PendingReplies,
    request: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answers.forget(self.request);
    }
}
