//! The timeline: the picture in full, with links to move it, and the same as a list.

mod address;
mod bands;
mod crowd;
mod lane;
mod list;
mod mark;
mod picture;
mod read;
mod scale;
mod ticks;

use axum::extract::State;
use maud::{Markup, html};
use roost_scheduler::{calendar::to_local, names::PluginName, time::Instant, zone::Zone};

use self::{
    address::{Address, Span, TimelineQuery},
    crowd::crowd,
    list::list,
};
pub(super) use self::{
    picture::picture,
    read::{Read, Whose, read},
};
use super::{
    Failed, Html,
    frame::{Current, frame},
    text::WallTime,
};
use crate::{
    clock,
    http::{ApiState, By, COLLAPSED_BUCKETS, Problem, Query, count_runs},
};

/// The states that the form offers, with their names.
const STATES: [(&str, &str); 5] = [
    ("", "all"),
    ("failed,missed,denied", "failed, missed or denied"),
    ("succeeded", "succeeded"),
    ("skipped,cancelled", "skipped or cancelled"),
    ("expected,running", "expected or under way"),
];

/// By what the runs of many devices are counted.
const BY: [(&str, &str); 4] = [("", "–"), ("plugin", "plugin"), ("device", "device"), ("reason", "reason")];

pub(super) async fn timeline(
    State(state): State<ApiState>,
    query: Result<Query<TimelineQuery>, Problem>,
) -> Result<Html, Failed> {
    let Query(query) = query?;
    let (now, zone) = (clock::now(), state.zone());
    let address = Address::parse(query, zone)?;
    let window = address.window(now, zone);
    let whose =
        Whose { plugin: address.plugin.clone(), device: address.device.clone(), cursor: address.cursor.clone() };
    let mut found = read(&state, &whose, window).await?;
    found.keep(&address.states, now);
    if address.cursor.is_some() || found.next.is_some() {
        found.view.crowd = Some(crowd_of(&state, &address, window).await?);
    }
    let wall = WallTime::of(now, zone);
    let next = address.with_cursor(found.next.clone());
    let page = html! {
        h1 { "Timeline" }
        section.picture-page {
            (moves(&address, &|by| address.moved(by, now, zone)))
            @if found.view.lanes.is_empty() {
                p { "There is nothing to show: no device matches, or none has what you look for." }
            } @else {
                (picture(&found.view, "The list “The same as a list” holds the same.", &wall))
            }
            p.soft.keys { "Keys: ← and → move the picture; in it, + and − zoom." }
            @if address.cursor.is_some() || next.cursor.is_some() {
                nav.actions aria-label="Lanes" {
                    @if address.cursor.is_some() { a.button href=(address.with_cursor(None).href()) { "First lanes" } }
                    @if next.cursor.is_some() { a.button href=(next.href()) { "Next lanes" } }
                }
            }
        }
        @if found.is_cut { p.banner { "There is more than fits here. Select a plugin or a device, or a shorter time." } }
        (filter(&address, zone))
        h2 { "The same as a list" }
        (list(&found.view.lanes, &wall))
    };
    Ok(Html(frame("Timeline", Current::None, &page)))
}

/// Shows how many runs there are, by what the address says or, of one plugin, by what became of them.
async fn crowd_of(state: &ApiState, address: &Address, window: (Instant, Instant)) -> Result<Markup, Problem> {
    let by = address.by.unwrap_or(if address.plugin.is_some() { By::Reason } else { By::Plugin });
    let owner = (address.plugin.clone(), address.device.clone());
    let counted = count_runs(state, owner, window, by, COLLAPSED_BUCKETS).await?;
    let address_of = |name: &str| match by {
        By::Plugin => PluginName::parse_owner(name).ok().map(|name| address.of_plugin(name).href()),
        By::Device => Some(format!("/devices/{name}")),
        By::Reason => None,
    };
    Ok(crowd(&counted, &address_of))
}

/// Shows the links that move and zoom the picture. Keys press them, by the names that they have there.
fn moves(address: &Address, moved: &dyn Fn(i64) -> Address) -> Markup {
    let link = |id: &str, key: &str, name: &str, text: &str, to: &Address| {
        html! { a.button id=(id) href=(to.href()) aria-keyshortcuts=(key) aria-label=(name) { (text) } }
    };
    let follow = Address { from: None, ..address.clone() };
    html! {
        nav.moves aria-label="Move the picture" {
            (link("earlier", "ArrowLeft", "Earlier", "←", &moved(-1)))
            @for span in Span::ALL {
                a.button id={ "span-" (span.word()) } href=(address.with_span(span).href())
                    aria-current=[(span == address.span).then_some("true")]
                    aria-keyshortcuts=[key_of(address, span)] { (span.name()) }
            }
            @if address.from.is_some() { (link("now", "Home", "Now", "Now", &follow)) }
            (link("later", "ArrowRight", "Later", "→", &moved(1)))
        }
    }
}

/// Returns the key that zooms to a span, if it is the next one.
fn key_of(address: &Address, span: Span) -> Option<&'static str> {
    let is = |by| address.zoomed(by).is_some_and(|zoomed| zoomed.span == span);
    if is(-1) {
        Some("Plus")
    } else if is(1) {
        Some("-")
    } else {
        None
    }
}

fn filter(address: &Address, zone: Zone) -> Markup {
    let date = address.from.map(|from| to_local(from, zone).0.to_string());
    let states = address.states.join(",");
    let (plugin, device) =
        (address.plugin.as_ref().map(ToString::to_string), address.device.as_ref().map(ToString::to_string));
    let by = address.by_word();
    let is_narrowed = plugin.is_some() || device.is_some() || !states.is_empty();
    html! {
        details #select .filter open[is_narrowed] {
            summary { "Select" }
            form action="/timeline" {
                label { "From " input type="date" name="from" value=[date]; }
                label { "Plugin " input name="plugin" value=[plugin]; }
                label { "Device " input name="device" value=[device]; }
                label { "Runs "
                    select name="state" {
                        @for (value, name) in STATES { option value=(value) selected[value == states] { (name) } }
                        @if !STATES.iter().any(|(value, _)| *value == states) { option value=(states) selected { (states) } }
                    }
                }
                label { "Many, by "
                    select name="by" {
                        @for (value, name) in BY { option value=(value) selected[Some(value) == by] { (name) } }
                    }
                }
                input type="hidden" name="span" value=(address.span.word());
                button.main { "Show" }
            }
        }
    }
}
