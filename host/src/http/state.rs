//! The shared state of the handlers.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use axum::{extract::FromRef, http::StatusCode};
use roost_scheduler::{
    event::{Done, Event, Part, Request},
    scheduler::{Operator, Scheduler},
    time::Instant,
    zone::Zone,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc},
    time::timeout,
};

use super::{
    auth::{Access, Guard},
    limits,
    not_found::not_found,
    problem::Problem,
    status::HomeAssistantStatus,
};
use crate::{
    app::{Inspector, PendingReplies},
    clock,
    config::{Config, rules::Rules},
    event_log::EventLog,
    metrics::Metrics,
    mqtt::{BuiltInHealth, LinkInfo},
    plugins::PluginHandle,
    store::{LastOutcomes, Reader, StoreError},
};

/// The shared state of the handlers. Clones refer to the same state.
#[derive(Clone)]
pub(crate) struct ApiState(Arc<Parts>);

/// The parts of the state.
struct Parts {
    events: mpsc::Sender<Event>,
    replies: PendingReplies,
    inspector: Inspector,
    plugins: PluginHandle,
    last_outcomes: LastOutcomes,
    store: Reader,
    zone: Zone,
    rules: Rules,
    operator: Operator,
    history_days: u32,
    started_monotonic: std::time::Instant,
    event_log: EventLog,
    metrics: Metrics,
    link: LinkInfo,
    /// Written by the edge for Home Assistant, if it is on.
    home_assistant: Mutex<Option<HomeAssistantStatus>>,
    streams: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    upload_beginnings: Semaphore,
    uploads: Semaphore,
    settings: Semaphore,
    trials_of_settings: Semaphore,
    has_been_ready: AtomicBool,
    broker: Option<BuiltInHealth>,
    guard: Guard,
    /// Whether clients over TCP need a token, here or at the gateway.
    has_login: bool,
    /// The name of this host.
    name: String,
    /// Whether it shares a database with others.
    is_shared: bool,
}

impl FromRef<ApiState> for Access {
    fn from_ref(state: &ApiState) -> Self {
        Self { guard: state.guard().clone(), zone: state.zone() }
    }
}

impl ApiState {
    pub(crate) fn new(
        events: mpsc::Sender<Event>,
        replies: PendingReplies,
        inspector: Inspector,
        (plugins, store, last_outcomes): (PluginHandle, Reader, LastOutcomes),
        (event_log, metrics, link): (EventLog, Metrics, LinkInfo),
        broker: Option<BuiltInHealth>,
        (config, guard): (&Config, Guard),
    ) -> Self {
        let (started_monotonic, streams) = (clock::monotonic(), Arc::new(Semaphore::new(limits::STREAMS)));
        let (zone, rules) = (config.site.zone, config.rules.clone());
        let operator = rules.operator(config.site);
        Self(Arc::new(Parts {
            events,
            replies,
            inspector,
            store,
            zone,
            plugins,
            last_outcomes,
            rules,
            operator,
            history_days: config.history.days,
            started_monotonic,
            event_log,
            metrics,
            link,
            home_assistant: Mutex::default(),
            streams,
            reads: Arc::new(Semaphore::new(limits::BLOCKING_READS)),
            upload_beginnings: Semaphore::new(limits::UPLOAD_BEGINNINGS),
            uploads: Semaphore::new(limits::UPLOADS),
            settings: Semaphore::new(limits::SETTINGS),
            trials_of_settings: Semaphore::new(limits::TRIALS_OF_SETTINGS),
            has_been_ready: AtomicBool::new(false),
            broker,
            guard,
            has_login: config.http.token.is_some(),
            name: config.name.clone(),
            is_shared: config.store.is_some(),
        }))
    }

    /// Returns the handle of the plugin edge: statuses, queries, installation.
    pub(crate) fn plugins(&self) -> &PluginHandle {
        &self.0.plugins
    }

    /// Returns the last outcomes of devices and jobs.
    pub(crate) fn last_outcomes(&self) -> &LastOutcomes {
        &self.0.last_outcomes
    }

    /// Returns the operator's settings for ad-hoc jobs.
    pub(super) fn operator(&self) -> &Operator {
        &self.0.operator
    }

    /// Returns for how many days outcomes are kept.
    pub(super) fn history_days(&self) -> u32 {
        self.0.history_days
    }

    /// Returns the operator's rules for plugins and ad-hoc jobs.
    pub(super) fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Returns the host's time zone, for times that do not belong to a device.
    pub(crate) fn zone(&self) -> Zone {
        self.0.zone
    }

    /// Returns when the host started.
    pub(super) fn started(&self) -> Instant {
        self.0.event_log.start()
    }

    /// Returns the log of events.
    pub(crate) fn event_log(&self) -> &EventLog {
        &self.0.event_log
    }

    /// Returns the health of the built-in broker, if it is used.
    pub(super) fn broker(&self) -> Option<&BuiltInHealth> {
        self.0.broker.as_ref()
    }

    /// Returns the guard of requests over TCP: how clients log in, and where the host listens.
    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Checks whether browsers have to log in.
    pub(crate) fn has_login(&self) -> bool {
        self.0.has_login
    }

    /// Returns the name of this host.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// Checks whether the host shares a database with others.
    pub(super) fn is_shared(&self) -> bool {
        self.0.is_shared
    }

    /// Returns the metrics.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns information about the link to the broker.
    pub(super) fn link(&self) -> &LinkInfo {
        &self.0.link
    }

    /// Returns the state of the devices in Home Assistant. `None`: it is off.
    pub(super) fn home_assistant(&self) -> Option<HomeAssistantStatus> {
        self.0.home_assistant.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the state of the devices in Home Assistant.
    pub(crate) fn set_home_assistant(&self, status: HomeAssistantStatus) {
        *self.0.home_assistant.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// Returns the semaphore that limits event streams.
    pub(super) fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    /// Waits for the place of an upload that has no turn yet. The permit is held until it has one.
    pub(super) async fn upload_beginnings(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.0.upload_beginnings.acquire().await.ok()
    }

    /// Waits for the turn of an upload. The permit is held until the upload ends.
    pub(super) async fn uploads(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.0.uploads.acquire().await.ok()
    }

    /// Waits for the turn of a text of settings. The permit is held until its check ends.
    pub(super) async fn settings(&self) -> Option<SemaphorePermit<'_>> {
        self.0.settings.acquire().await.ok()
    }

    /// Waits for the turn of the check of settings whose text has been received.
    pub(super) async fn trials_of_settings(&self) -> Option<SemaphorePermit<'_>> {
        self.0.trials_of_settings.acquire().await.ok()
    }

    /// Checks whether the host has been ready since it started.
    pub(super) fn has_been_ready(&self) -> bool {
        self.0.has_been_ready.load(Ordering::Relaxed)
    }

    /// Records that the host has been ready.
    pub(super) fn set_ready(&self) {
        self.0.has_been_ready.store(true, Ordering::Relaxed);
    }

    /// Returns the number of queries that wait for the loop.
    pub(super) fn waiting_queries(&self) -> usize {
        self.0.inspector.waiting()
    }

    /// Returns for how long the host has been running.
    pub(super) fn uptime_ms(&self) -> u64 {
        self.0.started_monotonic.elapsed().as_millis() as u64
    }

    /// Runs a query on the scheduler. The loop waits for it, so it must visit no more than some 2,000 entries.
    pub(crate) async fn inspect<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Scheduler) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        Ok(self.0.inspector.query(query).await?)
    }

    /// Queries the store on a thread for blocking work.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let state = self.clone();
        Ok(bounded(&self.0.reads, move || query(&state.0.store)).await??)
    }

    /// Sends a request to the scheduler and waits until it is done and durable. A request that is refused is a
    /// conflict.
    pub(crate) async fn request(&self, what: Request) -> Result<Done, Problem> {
        let subject = subject(&what);
        let (request, reply) = self.0.replies.register();
        let pending = PendingReply { replies: &self.0.replies, request };
        let stopping = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the host is stopping");
        let outcome = timeout(limits::REPLY, async {
            self.0.events.send(Event::Requested { request, what }).await.map_err(|_| stopping())?;
            reply.await.map_err(|_| stopping())?.map_err(Problem::from)
        });
        let outcome = outcome.await;
        drop(pending);
        if let (Ok(Err(problem)), Some(subject)) = (&outcome, subject)
            && problem.status == StatusCode::NOT_FOUND
        {
            return Err(self.not_found(subject).await);
        }
        outcome.unwrap_or_else(|_| {
            let detail = format!("the scheduler did not reply within {} s", limits::REPLY.as_secs());
            let hint =
                "the request may still be carried out: check `roost runs`, and see the host's log for the reason";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).hint(hint))
        })
    }

    /// Returns the problem for a plugin, device or job that does not exist.
    pub(super) async fn not_found(&self, part: Part) -> Problem {
        let is_refused = match &part {
            Part::Plugin(plugin) | Part::Device(plugin, _) | Part::Job((plugin, ..)) => {
                self.plugins().statuses.plugin(plugin).is_some()
            }
            Part::All => false,
        };
        let problem = self.inspect(move |scheduler| not_found(scheduler, &part, is_refused));
        problem.await.unwrap_or_else(|stopping| stopping)
    }
}

/// Does work on a thread for blocking work when there is a place for it. The work keeps its place until it ends, also if
/// the client has left: it cannot be stopped.
async fn bounded<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let place = places.clone().acquire_owned().await.map_err(|error| Problem::bug(&error))?;
    let work = move || {
        let _place = place;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::bug(&error))
}

/// Returns the plugin, device or job that a request names and that must exist.
fn subject(what: &Request) -> Option<Part> {
    match what {
        Request::RunNow(job) | Request::Cancel(job) | Request::Skip { job, .. } => Some(Part::Job(job.clone())),
        Request::Pause(pauses) if let [(what, _)] = &pauses[..] => Some(what.clone()),
        Request::Replan(plugin) => Some(Part::Plugin(plugin.clone())),
        _ => None,
    }
}

/// Cancels the wait for a reply when dropped, because the client may disconnect before the reply.
struct PendingReply<'a> {
    replies: &'a PendingReplies,
    request: u64,
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        self.replies.forget(self.request);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future as _, poll_fn},
        sync::{atomic::AtomicUsize, mpsc::channel},
        task::Poll,
    };

    use super::*;

    #[tokio::test]
    async fn work_keeps_its_place_when_its_client_has_left() {
        let (places, begun) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicUsize::new(0)));
        let (go_on, is_let_go) = channel();
        let (ended_in, ended) = tokio::sync::oneshot::channel();
        let mut first = Box::pin(bounded(&places, move || {
            is_let_go.recv().unwrap();
            ended_in.send(()).unwrap();
        }));
        assert!(!poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_ready())).await);
        drop(first);
        let count = begun.clone();
        let mut second = Box::pin(bounded(&places, move || count.fetch_add(1, Ordering::Relaxed)));
        assert!(!poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_ready())).await);
        assert_eq!((places.available_permits(), begun.load(Ordering::Relaxed)), (0, 0), "it waits for its place");
        go_on.send(()).unwrap();
        ended.await.unwrap();
        second.await.unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 1);
    }
}
