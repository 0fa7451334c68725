//! Where the broker is reached, and what is known of each of these places.

use super::{Settings, negotiation::BrokerProfile, transport::Transport, url::BrokerUrl};
use crate::report::Report;

/// All addresses, and the one that it is the turn of.
pub(super) struct Addresses {
    all: Vec<Address>,
    current: usize,
    /// How many failed since the last connection.
    failed: usize,
    /// Which one that connection was to.
    last: Option<usize>,
}

pub(super) struct Address {
    transport: Transport,
    pub(super) manners: BrokerProfile,
}

impl Addresses {
    /// Reads the certificates.
    pub(super) fn new(settings: &Settings) -> Result<Self, Report> {
        let address = |url: &BrokerUrl| {
            Ok(Address { transport: Transport::new(url, settings)?, manners: BrokerProfile::default() })
        };
        let all = settings.urls.iter().map(address).collect::<Result<Vec<_>, Report>>()?;
        if all.is_empty() {
            return Err(Report::new("there is no address of a broker"));
        }
        if settings.identity.is_some() && settings.urls.iter().all(|url| !url.tls) {
            let what = "`cert_file` is for brokers with TLS, and no address in `url` has that";
            return Err(Report::new(what).hint("with TLS the address starts with `mqtts://`"));
        }
        Ok(Self { all, current: 0, failed: 0, last: None })
    }

    pub(super) fn current(&mut self) -> &mut Address {
        &mut self.all[self.current]
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.all[self.current].transport
    }

    pub(super) fn url(&self) -> &BrokerUrl {
        self.transport().url()
    }

    /// Whether all others have failed in this round.
    pub(super) fn is_last(&self) -> bool {
        (self.failed + 1).is_multiple_of(self.all.len())
    }

    /// The current one failed: the next has its turn.
    pub(super) fn turn(&mut self) {
        self.failed = self.failed.wrapping_add(1);
        self.current = (self.current + 1) % self.all.len();
    }

    /// The current one has a broker; when that is lost, it is the first to be tried again. Whether the connection before
    /// this one was to another.
    pub(super) fn succeeded(&mut self) -> bool {
        self.failed = 0;
        self.last.replace(self.current).is_some_and(|last| last != self.current)
    }
}
