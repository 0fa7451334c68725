//! How a connection ends, and how that is reported.

use roost_tests::redact;

use crate::mqtt::{End, LinkInfo, Links, Settings, dialer::Dialer, failure::Failure};

/// Runs one link and returns how it ends.
pub(super) async fn end_of_first(settings: Settings) -> End {
    let dialer = Dialer::new(settings, None).expect("good settings");
    let (_orders, orders) = tokio::sync::mpsc::unbounded_channel();
    let (events, _kept) = tokio::sync::mpsc::channel(64);
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    Links::new(dialer, (orders, events, stopped), LinkInfo::default()).next().await
}

/// Returns why the first connection fails.
pub(super) async fn failure(settings: Settings) -> Failure {
    match end_of_first(settings).await {
        End::Failed(failure) => failure,
        End::Lost(failure, _) => panic!("it was connected, and then {failure}"),
        End::Stopped => panic!("it was stopped"),
    }
}

/// Returns a failure as it is reported, with its hint for an address with or without TLS.
pub(super) fn in_full(failure: &Failure, tls: bool) -> String {
    redact(&format!("{failure}\nhint: {}", failure.hint(tls).unwrap_or("none")))
}
