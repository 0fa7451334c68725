//! Devices: those at fault first, by a part of their name, their plugin and their state.

use axum::extract::State;
use maud::{Markup, html};
use roost_scheduler::names::PluginName;
use serde::Deserialize;

use super::{
    Failed, Html,
    frame::{Current, frame},
    refusals,
    sentence::{sentence, sentences},
    text::{self, WallTime},
};
use crate::{
    clock,
    http::{
        ApiState, DeviceFilter, DeviceRecord, LastOutcomeRecord, NamePart, Page, Problem, Query, list_devices,
        plugin_names,
    },
};

const ADDRESS: &str = "/devices";
/// Devices of a page, and of the list of those at fault before it.
const DEVICES: usize = 50;
const FIRST_FAULTY: usize = 20;

/// What is listed, as the form sends it: a field may be empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DevicesQuery {
    /// A part of the name.
    q: NamePart,
    plugin: String,
    /// Only those at fault, if it is not empty.
    fault: String,
    /// Only those with a fault of this reason.
    reason: String,
    /// Only those that are paused, if it is not empty.
    paused: String,
    cursor: String,
}

impl DevicesQuery {
    /// Returns the filter of a list: of devices at fault, of the others, or of all.
    fn filter(&self, is_faulty: Option<bool>) -> Result<DeviceFilter, Problem> {
        let wrong = |error| Problem::bad_request(format!("`plugin`: {error}"));
        let plugin = Some(&self.plugin).filter(|name| !name.is_empty());
        Ok(DeviceFilter {
            plugin: plugin.map(|name| PluginName::parse_owner(name).map_err(wrong)).transpose()?,
            part: self.q.clone(),
            is_faulty,
            reason: Some(self.reason.clone()).filter(|reason| !reason.is_empty()),
            is_paused: Some(true).filter(|_| !self.paused.is_empty()),
            ..DeviceFilter::default()
        })
    }

    /// Checks whether only devices at fault are listed.
    fn is_of_faults(&self) -> bool {
        !self.fault.is_empty() || !self.reason.is_empty()
    }

    fn is_limited(&self) -> bool {
        let Self { q, plugin, paused, .. } = self;
        self.is_of_faults() || [&q.0, plugin, paused].iter().any(|field| !field.is_empty())
    }

    /// Returns the address of another page of the list, of devices at fault or of others.
    fn address(&self, is_of_faults: bool, cursor: &str) -> String {
        let Self { q, plugin, reason, paused, .. } = self;
        let fault = if is_of_faults { "true" } else { "" };
        text::address(
            ADDRESS,
            &[
                ("q", &q.0),
                ("plugin", plugin),
                ("fault", fault),
                ("reason", reason),
                ("paused", paused),
                ("cursor", cursor),
            ],
        )
    }
}

/// The address of the devices with a fault of this reason.
pub(super) fn with_fault(reason: &str) -> String {
    DevicesQuery { reason: reason.to_owned(), ..DevicesQuery::default() }.address(true, "")
}

/// The lists of a page.
struct Lists {
    /// The first devices at fault, unless the page has these alone, or is not the first one.
    faulty: Option<Page<DeviceRecord>>,
    devices: Page<DeviceRecord>,
}

pub(super) async fn devices(
    State(state): State<ApiState>,
    query: Result<Query<DevicesQuery>, Problem>,
) -> Result<Html, Failed> {
    let Query(query) = query?;
    let cursor = Some(query.cursor.as_str()).filter(|cursor| !cursor.is_empty());
    let is_of_faults = query.is_of_faults();
    let faulty = match cursor {
        None if !is_of_faults => Some(list_devices(&state, query.filter(Some(true))?, FIRST_FAULTY, None).await?),
        _ => None,
    };
    let devices = list_devices(&state, query.filter(Some(is_of_faults))?, DEVICES, cursor).await?;
    let now = WallTime::of(clock::now(), state.zone());
    let page = html! {
        h1 { "Devices" }
        p.soft { "As of " span data-now { (now.clock()) } " in " (now.zone()) " · times by each device's clock" }
        (form(&query, &plugin_names(&state).await?))
        (lists(&query, &Lists { faulty, devices }, &now))
    };
    Ok(Html(frame("Devices", Current::Devices, &page)))
}

/// Shows the form of the filter.
fn form(query: &DevicesQuery, plugins: &[String]) -> Markup {
    html! {
        form #search.find role="search" action=(ADDRESS) data-keep {
            (search_field(&query.q.0))
            label {
                "Plugin "
                select name="plugin" {
                    option value="" { "all" }
                    @for plugin in plugins { option value=(plugin) selected[*plugin == query.plugin] { (plugin) } }
                    @if !query.plugin.is_empty() && !plugins.contains(&query.plugin) {
                        option value=(query.plugin) selected { (text::line(&query.plugin)) }
                    }
                }
            }
            label { input type="checkbox" name="fault" value="true" checked[query.is_of_faults()]; " At fault" }
            label { input type="checkbox" name="paused" value="true" checked[!query.paused.is_empty()]; " Paused" }
            @if query.is_limited() { a href=(ADDRESS) { "All devices" } }
        }
    }
}

/// Shows the field for a part of a device's name, with its button.
pub(super) fn search_field(text: &str) -> Markup {
    html! {
        label.main {
            "Part of the device's name "
            input type="search" name="q" value=(text) maxlength="130" autocapitalize="none" autocomplete="off" spellcheck="false";
        }
        button.main { "Find" }
    }
}

fn lists(query: &DevicesQuery, Lists { faulty, devices }: &Lists, now: &WallTime) -> Markup {
    let faulty = faulty.as_ref().filter(|faulty| !faulty.items.is_empty());
    html! {
        @if !query.reason.is_empty() { p { "With this fault: " (text::line(&query.reason)) } }
        @if let Some(faulty) = faulty {
            h2 { "At fault" }
            (rows(&faulty.items, now))
            @if faulty.next.is_some() { p { a.button href=(query.address(true, "")) { "All devices at fault" } } }
            @if !devices.items.is_empty() { h2 { "Others" } }
        }
        (rows(&devices.items, now))
        @if faulty.is_none() && devices.items.is_empty() { (nothing(query)) }
        div.actions {
            @if !query.cursor.is_empty() { a.button href=(query.address(query.is_of_faults(), "")) { "First devices" } }
            @if let Some(next) = &devices.next {
                a.button rel="next" href=(query.address(query.is_of_faults(), next)) { "More devices" }
            }
        }
    }
}

/// Explains an empty list.
fn nothing(query: &DevicesQuery) -> Markup {
    html! {
        p {
            @if !query.cursor.is_empty() { "There are no further devices." }
            @else if !query.q.0.is_empty() { "No such device has “" (text::short(&query.q.0)) "” in its name. Try a shorter part of it." }
            @else if query.is_limited() { "There are no such devices." }
            @else { "There are no devices yet. They come with a plugin: copy one into the folder of plugins, with its devices in NAME.toml beside it." }
        }
    }
}

fn rows(devices: &[DeviceRecord], now: &WallTime) -> Markup {
    html! { @if !devices.is_empty() { ul.rows { @for device in devices { li { (row(device, now)) } } } } }
}

fn row(device: &DeviceRecord, now: &WallTime) -> Markup {
    let name = format!("{}/{}", device.plugin, device.device);
    html! {
        div.row {
            a.name href={ (ADDRESS) "/" (name) } { (name) }
            @if device.running { span.state-running { (text::outcome("running")) } }
            @for pause in pauses(device, now) { span.state-paused { (pause) } }
            @if let Some(last) = &device.last { span.end { (outcome(last, &device.time_zone, now)) } }
        }
        (faults(device, now))
        div.row {
            span.soft {
                @match &device.due {
                    Some(due) => { "next " (text::time(due, &device.time_zone, now)) }
                    None => "nothing is due",
                }
            }
            @if let Some(fault) = &device.fault { span.end.actions { (why(&fault.run)) } }
        }
    }
}

/// Says what is paused of a device: the device itself, its plugin, some of its jobs.
fn pauses(device: &DeviceRecord, now: &WallTime) -> Vec<String> {
    let DeviceRecord { paused, plugin_paused, paused_jobs, pause, time_zone, .. } = device;
    let jobs = format!("{}: {}", text::outcome("paused"), text::count(*paused_jobs, "job"));
    // The one that ends last, or the next one; another one has no more than its name.
    let by = pause.as_ref().map(|pause| pause.by.as_str());
    let pauses = [
        pause.as_ref().map(|pause| text::pause(pause, "device", time_zone, now)),
        (*paused && by != Some("device")).then(|| text::outcome("paused")),
        (*plugin_paused && by != Some("plugin")).then(|| text::paused("plugin")),
        (*paused_jobs > 0).then_some(jobs),
    ];
    pauses.into_iter().flatten().collect()
}

/// Shows an outcome with its age.
pub(super) fn outcome(last: &LastOutcomeRecord, zone: &str, now: &WallTime) -> Markup {
    html! {
        span.{ "state-" (last.state) } { (text::outcome(&last.state)) }
        " " (text::time(&last.ended, zone, now))
        @if let Some(ended) = WallTime::parse(&last.ended, zone) { " " span.soft { (ended.ago(now)) } }
    }
}

/// Shows why the newest plan of a device was refused, and the newest fault of its jobs.
pub(super) fn faults(device: &DeviceRecord, now: &WallTime) -> Markup {
    html! {
        @if let Some(error) = &device.error {
            p.state-failed { "✕ its newest plan was refused" }
            p { (sentences(error, &device.time_zone, now)) }
            p { (refusals::of_device(device.jobs)) }
            p { (refusals::settings(&device.plugin)) }
        }
        @if let Some(fault) = &device.fault {
            @let is_last = device.last.as_ref().is_some_and(|last| last.run == fault.run);
            @if !is_last { p { (outcome(fault, &device.time_zone, now)) } }
            @let reason = fault.reason.as_deref().unwrap_or("The reason was not recorded.");
            p { (sentence(reason, &device.time_zone, now)) }
        }
    }
}

/// Leads to the explanation of a run.
pub(super) fn why(run: &str) -> Markup {
    let mut parts = run.split('/');
    let name = parts.by_ref().take(3).collect::<Vec<_>>().join("/");
    let at = parts.next().unwrap_or_default();
    html! {
        a.why.button id={ "why-" (run) } href=(text::address(&format!("/why/{name}"), &[("at", at)]))
            aria-label={ "Why did " (name) " fail?" } { "Why?" }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> WallTime {
        WallTime::parse("2027-03-01T15:00:00+00:00", "Europe/London").unwrap()
    }

    fn device(change: &serde_json::Value) -> DeviceRecord {
        let mut device = json!({
            "plugin": "coop-door", "device": "north", "time_zone": "Europe/London", "planning": false, "running": false, "paused": false,
            "plugin_paused": false, "jobs": 2, "paused_jobs": 0, "due": "2027-03-01T17:44:00Z",
        });
        device.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(device).unwrap()
    }

    fn query(text: &str) -> DevicesQuery {
        let uri = format!("/devices?{text}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri).unwrap().0
    }

    fn page(items: Vec<DeviceRecord>, next: Option<&str>) -> Page<DeviceRecord> {
        Page { items, next: next.map(str::to_owned) }
    }

    fn shown(text: &str, faulty: Option<Page<DeviceRecord>>, devices: Page<DeviceRecord>) -> String {
        lists(&query(text), &Lists { faulty, devices }, &now()).into_string()
    }

    #[test]
    fn a_device_has_its_last_outcome_with_its_age_and_its_next_run() {
        let last = json!({ "run": "coop-door/north/open/2027-03-01T06:30:00Z", "state": "succeeded", "ended": "2027-03-01T06:30:01Z" });
        let page = shown("fault=", None, page(vec![device(&json!({ "last": last }))], None));
        for part in [
            "<a class=\"name\" href=\"/devices/coop-door/north\">coop-door/north</a>",
            "<span class=\"state-succeeded\">● succeeded</span>",
            ">06:30</time> <span class=\"soft\">8 h ago</span>",
            "next <time datetime=\"2027-03-01T17:44:00+00:00\" data-zone=\"Europe/London\">17:44</time>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn a_running_device_is_marked() {
        let page = |running| shown("", None, page(vec![device(&json!({ "running": running }))], None));
        assert!(
            page(true).contains("<span class=\"state-running\">◐ running</span>") && !page(false).contains("running")
        );
    }

    #[test]
    fn what_is_paused_of_a_device_is_marked() {
        let marks = |change| pauses(&device(&change), &now()).join(" | ");
        assert_eq!(marks(json!({})), "");
        assert_eq!(marks(json!({ "paused_jobs": 1 })), "◌ paused: 1 job");
        assert_eq!(marks(json!({ "paused": true, "plugin_paused": true })), "◌ paused | ◌ paused with its plugin");
        let rain = json!({ "until": "2027-03-05T08:00:00+00:00", "reason": "rain", "by": "plugin" });
        assert_eq!(
            marks(json!({ "paused": true, "plugin_paused": true, "pause": rain })),
            "◌ paused with its plugin until 08:00 Friday: rain | ◌ paused"
        );
        let page = shown("", None, page(vec![device(&json!({ "paused_jobs": 2 }))], None));
        assert!(page.contains("<span class=\"state-paused\">◌ paused: 2 jobs</span>"), "{page}");
    }

    #[test]
    fn faults_come_first_with_their_reasons_as_text() {
        let fault = json!({ "run": "coop-door/south/close/2027-02-28T17:44:00Z", "state": "failed",
                            "reason": "<b> did \u{202e}not confirm", "ended": "2027-02-28T17:45:00Z" });
        let faulty = device(
            &json!({ "device": "south", "error": "zone <i> is unknown\nhint: name it", "last": fault, "fault": fault }),
        );
        let page = shown("", Some(page(vec![faulty], Some("6e"))), page(vec![device(&json!({}))], None));
        let (first, others) = page.split_once("<h2>Others</h2>").unwrap();
        for part in [
            "<h2>At fault</h2>",
            "✕ its newest plan was refused",
            "zone &lt;i&gt; is unknown<pre>hint: name it</pre>",
            "Its earlier plan goes on.",
            "href=\"/plugins/coop-door/settings\"",
            "&lt;b&gt; did \\u{202e}not confirm",
            "href=\"/why/coop-door/south/close?at=2027-02-28T17%3A44%3A00Z\"",
            "href=\"/devices?fault=true\">All devices at fault</a>",
        ] {
            assert!(first.contains(part), "{part} is not in {first}");
        }
        assert!(others.contains("/devices/coop-door/north") && !others.contains("south"), "{others}");
    }

    #[test]
    fn an_empty_list_says_why_and_what_to_do() {
        let empty = |text| shown(text, Some(page(Vec::new(), None)), page(Vec::new(), None));
        assert!(empty("").contains("There are no devices yet."), "{}", empty(""));
        assert!(empty("q=%3Cb%3E").contains("“&lt;b&gt;” in its name. Try a shorter part"), "{}", empty("q=%3Cb%3E"));
        assert!(empty("paused=true").contains("There are no such devices."));
        assert!(empty("cursor=00").contains("There are no further devices."));
    }

    #[test]
    fn links_to_other_pages_keep_the_filter() {
        let page = shown("q=nor&plugin=coop-door&paused=true", None, page(vec![device(&json!({}))], Some("c0ffee")));
        assert!(
            page.contains(
                "rel=\"next\" href=\"/devices?q=nor&amp;plugin=coop-door&amp;paused=true&amp;cursor=c0ffee\""
            ),
            "{page}"
        );
        assert_eq!(with_fault("step … of `…`"), "/devices?fault=true&reason=step+%E2%80%A6+of+%60%E2%80%A6%60");
    }

    #[test]
    fn the_form_shows_the_filter() {
        let form = form(&query("q=N%22&plugin=gone&fault=true"), &["coop-door".to_owned()]).into_string();
        for part in [
            "name=\"q\" value=\"N&quot;\"",
            "<option value=\"coop-door\">coop-door</option>",
            "<option value=\"gone\" selected>gone</option>",
            "name=\"fault\" value=\"true\" checked",
            "<a href=\"/devices\">All devices</a>",
        ] {
            assert!(form.contains(part), "{part} is not in {form}");
        }
        assert_eq!(form.matches(" checked").count(), 1, "{form}");
    }
}
