//! Hosts that share a database: how soon another one works when the owner ends, and how fast the owner is.

use std::fs;

use roost_tests::{Broker, Postgres, Roost, Site, figure::Figure, guest};

use crate::{
    clock::{in_ms, ms_between, now_ns, sleep_until},
    end_to_end::late_figures,
    subscriber::{Subscriber, assert_complete, lateness, rate},
    ticks::{first_and_on_time, ticks},
    work::Work,
};

/// The server keeps what it commits, and has the space that an administrator would give it.
const SERVER: &str = "fsync = on\nshared_buffers = '256MB'\nmax_wal_size = '4GB'";
/// They are due during the day after tomorrow.
const FAR_MS: i64 = 48 * 3_600_000;
const DAY_MS: u32 = 86_400_000;
/// How long ticks are due, so that they are whenever another host takes over.
const TICKS_S: u32 = 60;
/// The plugins of the ticks, one for each takeover: by a kill and by a stop, in turns.
const TICKS: [&str; 6] = ["tick", "tick-2", "tick-3", "tick-4", "tick-5", "tick-6"];

/// Measures how long it takes from the end of the owner until another host works.
pub(crate) fn takeover() -> Vec<Figure> {
    [(1_000, "1,000"), (100_000, "100,000"), (1_000_000, "1,000,000")]
        .into_iter()
        .flat_map(|(jobs, named)| takeovers(jobs, named))
        .collect()
}

/// The seconds from the end of the owner.
#[derive(Default)]
struct Takeovers {
    owned: Vec<f64>,
    connected: Vec<f64>,
    on_time: Vec<f64>,
}

fn takeovers(jobs: u32, named: &str) -> Vec<Figure> {
    let (broker, server) = (Broker::new(), Postgres::start_with(SERVER));
    let database = server.database("roost");
    let [mut site, mut other] = [(); 2].map(|()| shared_site(&database, jobs));
    let mut owner = site.start(&broker);
    owner.wait_for_log("connected to the broker");
    let far = Work { plugin: "far", jobs, spread_ms: DAY_MS, per_device: 10_000, then_ms: None };
    adopt(&far, &site, FAR_MS);
    far.planned(&owner);

    let (mut killed, mut stopped) = (Takeovers::default(), Takeovers::default());
    for (number, plugin) in TICKS.into_iter().enumerate() {
        let standby = other.start(&broker);
        standby.wait_for_log("another host owns the cell");
        let ticks = ticks(plugin, TICKS_S);
        let t0_ns = adopt(&ticks, &site, 2_000);
        ticks.planned(&owner);
        sleep_until(t0_ns + 500_000_000);
        let subscriber = Subscriber::new(broker.port, &ticks.filter());
        let ended = now_ns();
        let takeovers = if number % 2 == 0 {
            owner.kill();
            &mut killed
        } else {
            assert!(owner.stop().success());
            &mut stopped
        };
        let since = |line: &str| {
            standby.wait_for_log(line);
            ms_between(ended, now_ns()) / 1e3
        };
        takeovers.owned.push(since("this host owns the cell"));
        takeovers.connected.push(since("connected to the broker"));
        takeovers.on_time.push(first_and_on_time(&subscriber, ended).1 / 1e3);
        owner = standby;
        (site, other) = (other, site);
    }
    let figures = |how, Takeovers { owned, connected, on_time }: Takeovers| {
        [("it owns the cell", owned), ("it is connected", connected), ("its first message on time", on_time)]
            .map(|(what, samples)| Figure::lower(format!("{named} jobs, the owner is {how}: {what}"), "s", samples))
    };
    [figures("killed", killed), figures("stopped", stopped)].into_iter().flatten().collect()
}

/// Measures the owner, with a standby beside it.
pub(crate) fn owner() -> Vec<Figure> {
    let (broker, server) = (Broker::new(), Postgres::start_with(SERVER));
    let burst = Work { plugin: "burst", jobs: 100_000, spread_ms: 0, per_device: 10_000, then_ms: None };
    let spread = Work { jobs: 5_000, spread_ms: 10_000, ..burst };
    let rates: Vec<f64> = ["one", "two", "three"]
        .into_iter()
        .map(|database| published(&broker, &server.database(database), &burst))
        .map(|(arrivals, t0_ns)| rate(&arrivals, t0_ns))
        .collect();
    let late: Vec<_> = ["four", "five"]
        .into_iter()
        .map(|database| lateness(&published(&broker, &server.database(database), &spread).0))
        .collect();
    let mut figures = vec![Figure::higher("100,000 due at once", "/s", rates)];
    figures.extend(late_figures("500/s", &late));
    figures
}

/// Lets the owner of a new database publish. Returns the arrivals, and when the first was due.
fn published(broker: &Broker, database: &str, work: &Work) -> (Vec<crate::subscriber::Arrival>, i64) {
    let [site, other] = [(); 2].map(|()| shared_site(database, work.jobs));
    let host = site.start(broker);
    host.wait_for_log("connected to the broker");
    let _standby: Roost = other.start(broker);
    let subscriber = Subscriber::new(broker.port, &work.filter());
    // Until they are planned: in a trial, and in earnest.
    let mut lead_ms = 3_000 + i64::from(work.jobs) / 10;
    loop {
        let t0_ns = adopt(work, &site, lead_ms);
        work.planned(&host);
        if now_ns() < t0_ns {
            let arrivals = subscriber.take(work.jobs as usize);
            assert_complete(&arrivals, work.jobs as usize);
            return (arrivals, t0_ns);
        }
        subscriber.take(work.jobs as usize);
        lead_ms *= 2;
    }
}

/// Makes a site of a host that shares a database, as an operator with so many devices would.
fn shared_site(database: &str, jobs: u32) -> Site {
    let site = Site::new();
    let settings = format!("[rates]\nburst = {}\n[store]\nurl = \"{database}\"\n", jobs.max(10_000));
    fs::write(site.path().join("roost.toml"), settings).expect("a file");
    site
}

/// Installs work, due `lead_ms` from now, by the host of a site, which owns the cell. Returns when the first job is due.
fn adopt(work: &Work, site: &Site, lead_ms: i64) -> i64 {
    let t0_ns = in_ms(lead_ms);
    let folder = site.path().join(work.plugin);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{}.toml", work.plugin)), work.settings(t0_ns)).expect("a file");
    fs::copy(guest("burst"), folder.join(format!("{}.wasm", work.plugin))).expect("a copy");
    site.roost(&["adopt", work.plugin]);
    t0_ns
}
