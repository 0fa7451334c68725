//! What happens, as it happens: server-sent events.

use roost_scheduler::zone::Zone;
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::State,
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
    host_events::{GapRecord, HostEventRecord, event, frame, id, parse_id},
    limits,
    params::{Device, Plugin},
    problem::Problem,
    state::ApiState,
};
use crate::event_log::{EventLog, HostEvent, Kind};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Only those of these kinds, such as `run,log`: of `run`, `plan`, `plugin`, `log`, `link` and `clock`
    #[param(value_type = String, required = false, pattern = "^(run|plan|plugin|log|link|clock)(,(run|plan|plugin|log|link|clock))*$")]
    #[serde(default)]
    kind: Kinds,
    /// Only those of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only those of devices with this name
    #[param(inline)]
    device: Option<Device>,
    /// Only what plugins' logs have
    #[serde(default)]
    logged: bool,
    /// Only those behind the one with this id, or `oldest`: all that are still known. Without it, and without `Last-Event-ID`,
    /// what happens from now on
    after: Option<String>,
}

/// None: all.
#[derive(Debug, Default)]
struct Kinds(Vec<Kind>);

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let kinds = text.split(',').map(|word| Kind::ALL.into_iter().find(|kind| kind.word() == word));
        kinds.collect::<Option<_>>().map(Self).ok_or_else(|| {
            let known = Kind::ALL.map(Kind::word).join(", ");
            D::Error::custom(format!("`{text}` is not a kind, nor several with a comma between: there are {known}"))
        })
    }
}

/// Which happenings somebody wants to hear of.
struct Filter {
    kinds: Vec<Kind>,
    plugin: Option<PluginName>,
    device: Option<DeviceName>,
    logged: bool,
}

impl Filter {
    fn takes(&self, what: &HostEvent) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&what.kind()))
            && self.plugin.as_ref().is_none_or(|plugin| what.plugin() == Some(plugin))
            && self.device.as_ref().is_none_or(|device| what.device() == Some(device))
            && (!self.logged || what.is_logged())
    }
}

/// What happens, from now on or from where a client left off
///
/// Server-sent events, until either side ends it: `event` is the kind, `data` the JSON. A client that was away, or reads more
/// slowly than things happen, may miss some: then `event: gap` says how many, with a `GapRecord` as its data. A client that
/// comes back says which `id` was the last, and goes on behind it. At least every 15 s there is a comment or an `id` alone. What
/// is said of runs is on disk.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The last `id` that was read; `after` outranks it"),
    ),
    responses((status = 200, body = HostEventRecord, content_type = "text/event-stream",
        description = "A stream of these, each as the `data` of an event")))]
pub(super) async fn events(
    State(desk): State<ApiState>,
    headers: HeaderMap,
    Query(wanted): Query<EventsQuery>,
) -> Result<Response, Problem> {
    let EventsQuery { kind: Kinds(kinds), plugin, device, logged, after } = wanted;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let from = Position::find(&desk, after.or(last).as_deref().filter(|id| !id.is_empty()))?;
    let place = desk.streams().clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{} streams are open already, and there may be no more", limits::STREAMS);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).hint("end one of them, or try again when one has ended")
    })?;
    let filter =
        Filter { kinds, plugin: plugin.map(|Plugin(name)| name), device: device.map(|Device(name)| name), logged };
    // One piece that is sent, and one that waits.
    let (to, pieces) = mpsc::channel(1);
    tokio::spawn(follow(desk.feed().clone(), desk.zone(), filter, from, to, place));
    let mut response = Response::new(Body::new(Pieces(pieces)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep it back until there is enough of it.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Where somebody goes on.
struct Position {
    /// Behind that one.
    number: u64,
    /// Whether what came before belongs to a host that has ended.
    is_of_another: bool,
}

impl Position {
    fn find(desk: &ApiState, after: Option<&str>) -> Result<Self, Problem> {
        let feed = desk.feed();
        let (number, is_of_another) = match after {
            None => (feed.last(), false),
            Some("oldest") => (feed.after(0, 0).missed, false),
            Some(id) => match parse_id(id) {
                Some((start, number)) if start == feed.start() => (number.min(feed.last()), false),
                Some(_) => (feed.after(0, 0).missed, true),
                None => return Err(Problem::bad_request(format!("`{id}` is not an event's id, nor `oldest`"))),
            },
        };
        Ok(Self { number, is_of_another })
    }
}

/// Until the reader has gone, or the host stops.
async fn follow(
    feed: EventLog,
    zone: Zone,
    filter: Filter,
    from: Position,
    to: mpsc::Sender<Bytes>,
    place: OwnedSemaphorePermit,
) {
    let feed = &feed;
    let mut bell = feed.subscribe();
    let Position { number: mut at, is_of_another } = from;
    let mut piece = BytesMut::from(format!("retry: 1000\nid: {}\n\n", id(feed, at)).as_bytes());
    if is_of_another {
        piece.extend_from_slice(&gap(&id(feed, at), None));
    }
    loop {
        let found = feed.after(at, limits::EVENTS_PER_PIECE);
        if found.missed > 0 {
            at += found.missed;
            piece.extend_from_slice(&gap(&id(feed, at), Some(found.missed)));
        }
        let mut left: VecDeque<_> = found.entries.into();
        let is_more = left.len() == limits::EVENTS_PER_PIECE;
        while let Some(entry) = left.pop_front() {
            at = entry.number;
            if !filter.takes(&entry.what) {
                continue;
            }
            piece.extend_from_slice(&frame(feed, &entry, zone));
            if piece.len() >= limits::PIECE_BYTES && to.send(piece.split().freeze()).await.is_err() {
                return;
            }
        }
        if !piece.is_empty() && to.send(piece.split().freeze()).await.is_err() {
            return;
        }
        if is_more {
            // Others have their turn.
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            rung = bell.changed() => if rung.is_err() || *bell.borrow_and_update() { break },
            // Also how far it has come: what is not wanted need not be looked at again.
            () = sleep(limits::HEARTBEAT) => piece.extend(format!(": \nid: {}\n\n", id(feed, at)).bytes()),
            () = to.closed() => break,
        }
    }
    drop(place);
}

fn gap(id: &str, missed: Option<u64>) -> Bytes {
    event(id, "gap", &serde_json::to_string(&GapRecord { missed }).unwrap_or_default())
}

/// A body in pieces.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// What a stream says before it waits.
    async fn said(feed: &EventLog, filter: Filter, from: Position) -> String {
        let (to, mut pieces) = mpsc::channel(1);
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let following = tokio::spawn(follow(feed.clone(), Zone::UTC, filter, from, to, place));
        let mut said = Vec::new();
        loop {
            let piece = pieces.recv().await.unwrap();
            assert!(piece.len() < limits::PIECE_BYTES + 4_096);
            if piece.starts_with(b": ") {
                said.extend(piece);
                break;
            }
            said.extend(piece);
        }
        drop(pieces);
        // Nobody reads any more.
        following.await.unwrap();
        String::from_utf8(said).unwrap()
    }

    fn filter(kinds: &[Kind]) -> Filter {
        Filter { kinds: kinds.to_vec(), plugin: None, device: None, logged: false }
    }

    #[tokio::test]
    async fn whoever_was_away_for_too_long_is_told_what_he_missed_and_gets_the_rest() {
        let feed = EventLog::default();
        feed.push_all((0..20_000).map(|number| HostEvent::Link { up: number % 2 == 0 }));
        let first = feed.after(0, 0).missed;
        let said = said(&feed, filter(&[]), Position { number: 3, is_of_another: false }).await;
        let gap = format!("id: {}\nevent: gap\ndata: {{\"missed\":{}}}\n\n", id(&feed, first), first - 3);
        assert!(first > 3 && said.contains(&gap), "{}", &said[..300]);
        assert_eq!(said.matches("event: link\n").count() as u64, 20_000 - first);
    }

    #[tokio::test]
    async fn whoever_wants_little_still_learns_how_far_the_stream_has_come() {
        let feed = EventLog::default();
        feed.push_all((0..1_000).map(|_| HostEvent::Link { up: true }));
        let said = said(&feed, filter(&[Kind::Clock]), Position { number: 0, is_of_another: false }).await;
        assert!(!said.contains("data: "), "{said}");
        assert!(said.ends_with(&format!(": \nid: {}\n\n", id(&feed, 1_000))), "{said}");
    }
}
