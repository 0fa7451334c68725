//! A plugin that publishes 20 times a second, alone and beside all hostile guests and files.

use roost_tests::{Broker, Site, figure::Figure, hostile};

use crate::{
    clock::sleep_until,
    end_to_end::late_figures,
    process::Process,
    subscriber::{Subscriber, assert_complete, lateness},
    work::Work,
};

/// The time that a host may take to start and to plan.
const LEAD_MS: i64 = 5_000;

/// Measures the plugin alone, and beside the hostile ones, which are installed when the first message is due.
pub(crate) fn beside_hostile() -> Vec<Figure> {
    let broker = Broker::new();
    let work = Work { plugin: "burst", jobs: 1_200, spread_ms: 60_000, per_device: 60, then_ms: None };
    let (mut alone, mut beside, mut peak) = (Vec::new(), Vec::new(), Vec::new());
    for is_beside in [false, true] {
        let site = Site::new();
        let host = site.start_with(&["--mqtt", &broker.url()]);
        host.wait_for_log("connected to the broker");
        let t0_ns = work.drop_into(&site, LEAD_MS);
        work.planned(&host);
        let subscriber = Subscriber::new(broker.port, &work.filter());
        sleep_until(t0_ns);
        if is_beside {
            hostile::drop_all(&site);
        }
        let arrivals = subscriber.take(work.jobs as usize);
        assert_complete(&arrivals, work.jobs as usize);
        if is_beside {
            beside.push(lateness(&arrivals));
            peak.push(Process(host.id()).peak_bytes() / f64::from(1 << 20));
        } else {
            alone.push(lateness(&arrivals));
        }
    }
    let mut figures = late_figures("20/s alone", &alone);
    figures.extend(late_figures("20/s beside everything hostile", &beside));
    figures.push(Figure::lower("the most memory that the host had", "MiB", peak));
    figures
}
