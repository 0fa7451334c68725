//! A stream of host events as server-sent events.

use roost_scheduler::zone::Zone;
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::{Extension, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use roost_scheduler::names::{DeviceName, PluginName};
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::sleep,
};
use utoipa::IntoParams;

use super::{
    extract::Query,
    host_events::{GapRecord, Streamed, frame, id, parse_id},
    limits,
    params::{Device, Plugin},
    problem::Problem,
    session::Found,
    state::ApiState,
};
use crate::event_log::{EventLog, HostEvent, Kind};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Only events of these kinds, such as `run,log`: one or more of `run`, `plan`, `plugin`, `log`, `link`, `clock`,
    /// `pause` and `job`
    #[param(value_type = String, required = false, pattern = "^(run|plan|plugin|log|link|clock|pause|job)(,(run|plan|plugin|log|link|clock|pause|job))*$")]
    #[serde(default)]
    kind: Kinds,
    /// Only events of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only events of devices with this name
    #[param(inline)]
    device: Option<Device>,
    /// Only events that are in the logs of plugins
    #[serde(default)]
    logged: bool,
    /// Only events after the one with this id, or `oldest` for all events that are kept. Without it and without
    /// `Last-Event-ID`, only new events
    after: Option<String>,
}

/// A set of kinds; empty for all.
#[derive(Debug, Default)]
struct Kinds(Vec<Kind>);

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let kinds = text.split(',').map(|word| Kind::ALL.into_iter().find(|kind| kind.word() == word));
        kinds.collect::<Option<_>>().map(Self).ok_or_else(|| {
            let known = Kind::ALL.map(Kind::word).join(", ");
            D::Error::custom(format!("`{text}` is not a comma-separated list of kinds: use {known}"))
        })
    }
}

/// Selects the events that a client is subscribed to.
struct Filter {
    kinds: Vec<Kind>,
    plugin: Option<PluginName>,
    device: Option<DeviceName>,
    logged: bool,
}

impl Filter {
    fn matches(&self, what: &HostEvent) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&what.kind()))
            && self.plugin.as_ref().is_none_or(|plugin| what.plugin() == Some(plugin))
            && self.device.as_ref().is_none_or(|device| what.device() == Some(device))
            && (!self.logged || what.is_logged())
    }
}

/// Stream events
///
/// Sends server-sent events until either side closes the connection: `event` is the kind, `data` a JSON object. A
/// client that reconnects sends the last `id` that it received and gets the events after it. If events are lost,
/// because the client was away for too long or reads too slowly, `event: gap` has a `GapRecord` with their number. At
/// least every 15 s the stream has a comment or an `id` alone. Events of runs are sent only after they are on disk.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The last `id` that was received; `after` takes precedence"),
    ),
    responses((status = 200, body = inline(Streamed<'_>), content_type = "text/event-stream",
        description = "A stream of such events, in the format of server-sent events")))]
pub(super) async fn events(
    State(state): State<ApiState>,
    session: Option<Extension<Found>>,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Problem> {
    let EventsQuery { kind: Kinds(kinds), plugin, device, logged, after } = query;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let from = Position::find(&state, after.or(last).as_deref().filter(|id| !id.is_empty()))?;
    let permit = state.streams().clone().try_acquire_owned().map_err(|_| {
        let detail = format!("all {} streams are in use", limits::STREAMS);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).hint("close one of them, or try again later")
    })?;
    let filter =
        Filter { kinds, plugin: plugin.map(|Plugin(name)| name), device: device.map(|Device(name)| name), logged };
    // One chunk that is being sent, and one that waits.
    let (to, chunks) = mpsc::channel(1);
    let follow = follow(state.event_log().clone(), state.zone(), filter, from, to, permit);
    tokio::spawn(async move {
        tokio::select! {
            () = follow => {}
            () = state.guard().session_ended(session.as_deref()) => {}
        }
    });
    let mut response = Response::new(Body::new(Chunks(chunks)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Turns off the buffering of nginx.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The position from which a stream continues.
struct Position {
    /// The number of the last event that the client has received.
    number: u64,
    /// Whether the client's last event is of an earlier start of the host.
    is_of_earlier_start: bool,
}

impl Position {
    /// Finds the position after an event, or that of the newest event. The id of an event that is not kept is valid.
    fn find(state: &ApiState, after: Option<&str>) -> Result<Self, Problem> {
        let event_log = state.event_log();
        let (number, is_of_earlier_start) = match after {
            None => (event_log.last(), false),
            Some("oldest") => (event_log.after(0, 0).missed, false),
            Some(id) => match parse_id(id) {
                Some((start, number)) if start == event_log.start() => (number.min(event_log.last()), false),
                Some(_) => (event_log.after(0, 0).missed, true),
                None => return Err(Problem::bad_request(format!("`{id}` is neither the id of an event nor `oldest`"))),
            },
        };
        Ok(Self { number, is_of_earlier_start })
    }
}

/// Sends the events of a stream until the client closes it or the host stops.
async fn follow(
    event_log: EventLog,
    zone: Zone,
    filter: Filter,
    from: Position,
    to: mpsc::Sender<Bytes>,
    permit: OwnedSemaphorePermit,
) {
    let event_log = &event_log;
    let mut bell = event_log.subscribe();
    let Position { number: mut at, is_of_earlier_start } = from;
    let mut chunk = BytesMut::from(format!("retry: 1000\nid: {}\n\n", id(event_log, at)).as_bytes());
    if is_of_earlier_start {
        chunk.extend_from_slice(&gap(&id(event_log, at), None));
    }
    loop {
        let found = event_log.after(at, limits::EVENTS_PER_CHUNK);
        if found.missed > 0 {
            at += found.missed;
            chunk.extend_from_slice(&gap(&id(event_log, at), Some(found.missed)));
        }
        let mut left: VecDeque<_> = found.entries.into();
        let is_more = left.len() == limits::EVENTS_PER_CHUNK;
        while let Some(entry) = left.pop_front() {
            at = entry.number;
            if !filter.matches(&entry.what) {
                continue;
            }
            chunk.extend_from_slice(&frame(event_log, &entry, zone));
            if chunk.len() >= limits::CHUNK_BYTES && to.send(chunk.split().freeze()).await.is_err() {
                return;
            }
        }
        if !chunk.is_empty() && to.send(chunk.split().freeze()).await.is_err() {
            return;
        }
        if is_more {
            // Lets other requests run.
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            rung = bell.changed() => if rung.is_err() || *bell.borrow_and_update() { break },
            // Includes the position, so that a client that reconnects skips events that its filter has excluded.
            () = sleep(limits::HEARTBEAT) => chunk.extend(format!(": \nid: {}\n\n", id(event_log, at)).bytes()),
            () = to.closed() => break,
        }
    }
    drop(permit);
}

fn gap(id: &str, missed: Option<u64>) -> Bytes {
    let data = serde_json::to_string(&GapRecord { missed }).unwrap_or_default();
    Streamed { id, event: "gap", data: &data }.encode()
}

/// A body of chunks.
struct Chunks(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// Returns what a stream sends up to its first heartbeat.
    async fn received(event_log: &EventLog, filter: Filter, from: Position) -> String {
        let (to, mut chunks) = mpsc::channel(1);
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let following = tokio::spawn(follow(event_log.clone(), Zone::UTC, filter, from, to, permit));
        let mut received = Vec::new();
        loop {
            let chunk = chunks.recv().await.unwrap();
            assert!(chunk.len() < limits::CHUNK_BYTES + 4_096);
            if chunk.starts_with(b": ") {
                received.extend(chunk);
                break;
            }
            received.extend(chunk);
        }
        drop(chunks);
        // The task ends because the reader is gone.
        following.await.unwrap();
        String::from_utf8(received).unwrap()
    }

    fn filter(kinds: &[Kind]) -> Filter {
        Filter { kinds: kinds.to_vec(), plugin: None, device: None, logged: false }
    }

    #[tokio::test]
    async fn a_client_that_was_away_for_too_long_gets_a_gap_and_the_rest() {
        let event_log = EventLog::default();
        event_log.push_all((0..20_000).map(|number| HostEvent::Link { up: number % 2 == 0 }));
        let first = event_log.after(0, 0).missed;
        let text = received(&event_log, filter(&[]), Position { number: 3, is_of_earlier_start: false }).await;
        let gap = format!("id: {}\nevent: gap\ndata: {{\"missed\":{}}}\n\n", id(&event_log, first), first - 3);
        assert!(first > 3 && text.contains(&gap), "{}", &text[..300]);
        assert_eq!(text.matches("event: link\n").count() as u64, 20_000 - first);
    }

    #[tokio::test]
    async fn a_heartbeat_has_the_position_also_if_the_filter_excludes_all_events() {
        let event_log = EventLog::default();
        event_log.push_all((0..1_000).map(|_| HostEvent::Link { up: true }));
        let text =
            received(&event_log, filter(&[Kind::Clock]), Position { number: 0, is_of_earlier_start: false }).await;
        assert!(!text.contains("data: "), "{text}");
        assert!(text.ends_with(&format!(": \nid: {}\n\n", id(&event_log, 1_000))), "{text}");
    }
}
