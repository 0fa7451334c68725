//! `roost run`: starts the host and runs it until it is stopped.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use roost_scheduler::{
    event::{Event, Saved, Version},
    names::PluginName,
    scheduler::Scheduler,
};
use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit, umask},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::limits;
use crate::{
    app::{self, App, PendingReplies},
    calendars::Reader,
    clock::{self, Clock},
    config::{self, Broker, BuiltInPorts, Config, Flags},
    event_log::EventLog,
    gateway, home_assistant,
    http::{self, ApiState, Listening},
    lease::SendPermit,
    metrics::Metrics,
    mqtt::{self, BrokerUrl, BuiltInBroker, LinkInfo, Ports},
    page,
    plugins::{self, SharedError, SharedFiles, stored_grant},
    report::Report,
    service::Watchdog,
    store::{self, CellOfHost, PluginFiles, Store},
    telemetry,
};

/// The cell of a host that shares its plugins with no other.
const CELL: i64 = 0;

/// Run the host
///
/// Loads the plugins and publishes what they plan, until it is stopped with Ctrl-C or SIGTERM. Every option can also be
/// set in `roost.toml`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Work for this cell, behind the gateway
    #[arg(long, hide = true, requires = "gateway")]
    cell: Option<i64>,
    /// The process id of that gateway
    #[arg(long, hide = true, requires = "cell")]
    gateway: Option<u32>,
}

pub(super) fn main(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(gateway) = args.gateway {
        gateway::end_with_gateway(gateway)?;
    }
    forbid_writes_by_others();
    let mut config = config::load(&args.flags)?;
    let _flush = telemetry::start(&config.log.level, config.log.format).context("the log cannot be started")?;
    if args.cell.is_none() {
        introduce(&config);
    }
    clock::follow_file().context("the file that shifts the clock cannot be watched")?;
    raise_open_files_limit();
    // The loop and the link share this thread, so that a due message is written to the broker without waking another
    // one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let cell = match (config.store.clone(), args.cell) {
        (Some(url), None) => {
            return runtime.block_on(async { gateway::run(&config, (url, CELL), stop_signal()?).await });
        }
        (Some(url), Some(number)) => {
            let host = store::host_id(&config.data).map_err(|error| Report::from(&error))?;
            config.data = gateway::cell_folder(&config.data, number);
            Some(CellOfHost { url, number, host })
        }
        (None, _) => None,
    };
    runtime.block_on(run(config, cell)).map(|()| ExitCode::SUCCESS)
}

/// Logs which program runs with which settings.
fn introduce(config: &Config) {
    let file =
        config.file.as_ref().map_or("no settings file".into(), |path| format!("settings from `{}`", path.display()));
    tracing::info!(
        "roost {}, {file}; time zone {} ({})",
        env!("CARGO_PKG_VERSION"),
        config.site.zone,
        config.zone_from
    );
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
}

async fn run(config: Config, cell: Option<CellOfHost>) -> anyhow::Result<()> {
    // Installed first, so that a signal during the start does not kill the process half way.
    let stop = stop_signal()?;
    let mut stop = Box::pin(stop);
    let Some((mut store, mut saved)) = open_store(&config, cell.as_ref(), &mut stop).await? else { return Ok(()) };
    // Before anything is started, so that a port in use is reported at once.
    let listening = listen(&config, cell.as_ref())?;
    let shared = shared_files(&config, store.plugin_files())?;
    copy_all(shared.as_ref(), &config.plugins)?;
    restore_grants(&mut saved, &config);
    let known = versions(&saved);
    let zones = saved.zones.clone();
    let (events_in, events) = mpsc::channel::<Event>(limits::EVENTS);
    let (committed_in, committed) = mpsc::unbounded_channel();
    let link_info = LinkInfo::default();
    let permit = store.permit();
    let client_id = store.client_id(&config.data).map_err(|error| Report::from(&error))?;
    let (mqtt, broker) = broker(&config, client_id, permit.clone())?;
    let link = mqtt::connect(mqtt.clone(), events_in.clone(), link_info.clone())?;
    let calendars = Reader::open(&config.rules.calendars, &config.data, config.site.zone, clock::now());
    let operator = config.rules.operator(config.site);
    // From here on, changes of the system clock are noticed.
    let mut clock = Clock::new();
    let (now, _) = clock.look();
    let scheduler =
        store.jobs(|jobs| Scheduler::new(saved, jobs, operator, now)).map_err(|error| Report::from(&error))?;
    let (reader, last_outcomes) = (store.reader(), store.last_outcomes());
    let writer = store.start(committed_in).map_err(|error| Report::from(&error))?;
    calendars.watch(events_in.clone()).context("the calendars' files cannot be watched")?;
    let replies = PendingReplies::default();
    let (inspector, queries) = app::inspector();
    let (event_log, metrics) = (EventLog::default(), Metrics::default());
    let options = plugins::Options {
        folder: config.plugins.clone(),
        shared,
        data: config.data.clone(),
        site: config.site,
        rules: config.rules.clone(),
        known,
        event_log: event_log.clone(),
    };
    let plugins = plugins::start(options, events_in.clone())?;
    let watched = (event_log.clone(), metrics.clone(), link_info.clone());
    let health = broker.as_ref().map(BuiltInBroker::health);
    let edges = (plugins.handle(), reader, last_outcomes);
    let access = (&config, listening.guard());
    let state = ApiState::new(events_in, replies.clone(), inspector, edges, watched, health, access);
    let settings = config.home_assistant.clone();
    home_assistant::start(settings, (mqtt, link_info), &config.rules.host_topic, &config.data, state.clone())?;
    let _serving = listening.serve(&state, &page::routes())?;
    let app = App {
        scheduler,
        writer,
        link,
        plugins,
        replies,
        events,
        queries,
        committed,
        clock,
        zones,
        event_log,
        metrics,
        permit,
    };
    let ended = app.run(stop).await;
    // After the link has disconnected.
    if let Some(broker) = broker {
        broker.stop().await;
    }
    ended
}

/// Binds the listeners of the API. A process behind a gateway has only a socket.
fn listen(config: &Config, cell: Option<&CellOfHost>) -> Result<Listening, Report> {
    match cell {
        None => http::listen(&config.data, &config.http),
        Some(_) => http::listen_behind_gateway(&config.data),
    }
}

/// Opens the store. A host that shares it is a standby for as long as another one owns the cell. `None`: it was stopped
/// meanwhile.
async fn open_store(
    config: &Config,
    cell: Option<&CellOfHost>,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<Option<(Store, Saved)>> {
    let mut opened = Box::pin(store::open(&config.data, cell.cloned(), config.history));
    let mut watchdog = Watchdog::new();
    let ahead = shared_files(config, config.reader().plugin_files())?;
    let has_ahead = ahead.is_some();
    let ahead = async {
        if let Some(files) = ahead {
            files.stand_by(&config.data, config.rules.guests.compile_cpu_s).await;
        }
    };
    tokio::pin!(ahead);
    loop {
        tokio::select! {
            biased;
            opened = &mut opened => return Ok(Some(opened.map_err(|error| Report::from(&error))?)),
            () = &mut *stop => return Ok(None),
            () = watchdog.sign() => {}
            () = &mut ahead, if has_ahead => {}
        }
    }
}

/// Returns this host's copy of the files of plugins, if hosts share them.
fn shared_files(config: &Config, files: Option<PluginFiles>) -> Result<Option<SharedFiles>, Report> {
    let open = |files| {
        SharedFiles::open(files, &config.data).map_err(|error| {
            let what = format!("the copies of plugins in `{}` cannot be used", config.data.display());
            Report::new(what).chain(&error).hint(error.hint())
        })
    };
    files.map(open).transpose()
}

/// Copies the files of plugins before the first one is loaded: a plugin without a file counts as removed. `folder` is
/// the one that is not used.
fn copy_all(files: Option<&SharedFiles>, folder: &Path) -> Result<(), Report> {
    let Some(files) = files else { return Ok(()) };
    let copied = match files.copy() {
        Err(SharedError::Store(error)) => store::or_begin_anew(Err(error)).map_err(SharedError::Store),
        copied => copied.map(drop),
    };
    copied.map_err(|error| {
        Report::new("the plugins could not be copied from the database").chain(&error).hint(error.hint())
    })?;
    if !has_component(files.folder()) && has_component(folder) {
        tracing::warn!(
            "the plugins in `{0}` do not run: hosts that share a database have their plugins in it, and it has none\n\
             hint: `roost adopt {0}` puts them there",
            folder.display()
        );
    }
    Ok(())
}

fn has_component(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.path().extension().is_some_and(|extension| extension == "wasm"))
}

/// Returns how to connect to the broker. Starts the built-in one if no other one is configured.
fn broker(
    config: &Config,
    client_id: String,
    permit: SendPermit,
) -> anyhow::Result<(mqtt::Settings, Option<BuiltInBroker>)> {
    let timeouts = mqtt::Timeouts::default();
    let mut built_in = None;
    let settings = match &config.broker {
        Some(Broker { urls, user, password, ca_file, identity }) => mqtt::Settings {
            urls: urls
                .iter()
                .map(|url| url.parse::<BrokerUrl>().map_err(|error| Report::new(error.to_string())))
                .collect::<Result<_, _>>()?,
            user: user.clone(),
            password: password.clone(),
            ca_file: ca_file.clone(),
            identity: identity.clone(),
            status_topic: config.status_topic.clone(),
            client_id,
            permit,
            timeouts,
        },
        None => {
            let BuiltInPorts { devices, roost } = config.built_in;
            let (broker, url) = mqtt::start_built_in(Ports { devices, roost }, &config.data, &client_id)?;
            built_in = Some(broker);
            let status_topic = config.status_topic.clone();
            let urls = vec![url];
            mqtt::Settings {
                urls,
                user: None,
                password: None,
                ca_file: None,
                identity: None,
                status_topic,
                client_id,
                permit,
                timeouts,
            }
        }
    };
    Ok((settings, built_in))
}

/// Sets the grants of the plugins, which the store does not hold: they come from the plugins' and the operator's
/// settings (I8).
fn restore_grants(saved: &mut Saved, config: &Config) {
    for plugin in saved.plugins.iter_mut().filter(|plugin| plugin.version != Version::BUILT_IN) {
        plugin.grant = stored_grant(&config.data, &plugin.name, &plugin.version, config.rules.grants.get(&plugin.name));
    }
}

fn versions(saved: &Saved) -> Vec<(PluginName, Version)> {
    let of_files = saved.plugins.iter().filter(|plugin| plugin.version != Version::BUILT_IN);
    of_files.map(|plugin| (plugin.name.clone(), plugin.version)).collect()
}

/// Sets the umask so that no other user may write to the files, folders and sockets that the host creates.
fn forbid_writes_by_others() {
    let mask = umask(Mode::RWXG | Mode::RWXO);
    umask(mask | Mode::WGRP | Mode::WOTH);
}

/// Raises the limit of open files as far as allowed: the built-in broker may have a thousand connections.
fn raise_open_files_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Returns a future that completes on SIGINT (Ctrl-C) or SIGTERM.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
