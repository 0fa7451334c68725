//! The service manager (systemd): it is notified when the host has started, that it lives, and when it stops, by the
//! protocol of sd_notify(3). Without one, nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState;

/// The pause between two signs of life where the service manager expects none.
const UNWATCHED: Duration = Duration::from_secs(3_600);

/// Notifies the service manager that the host has started.
pub(crate) fn started() {
    send(&NotifyState::Ready);
}

/// Notifies the service manager that the host is stopping.
pub(crate) fn stopping() {
    send(&NotifyState::Stopping);
}

/// Signs of life for the service manager's watchdog: it ends a host whose loop hangs, and starts it again.
#[derive(Debug)]
pub(crate) struct Watchdog {
    ticks: tokio::time::Interval,
    is_enabled: bool,
}

impl Watchdog {
    /// Signs twice in the time that the service manager allows (sd_watchdog_enabled(3)).
    pub(crate) fn new() -> Self {
        let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero());
        let mut ticks = tokio::time::interval(allowed.map_or(UNWATCHED, |allowed| allowed / 2));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { ticks, is_enabled: allowed.is_some() }
    }

    /// Waits until the next sign of life is due, and sends it.
    pub(crate) async fn sign(&mut self) {
        self.ticks.tick().await;
        if self.is_enabled {
            send(&NotifyState::Watchdog);
        }
    }
}

fn send(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!("the service manager cannot be notified: {error}");
    }
}
