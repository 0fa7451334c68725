//! The broker's addresses, and what is known about the broker at each of them.

use super::{Settings, negotiation::BrokerProfile, transport::Transport, url::BrokerUrl};
use crate::report::Report;

/// All addresses, and the one to try now.
pub(super) struct Addresses {
    all: Vec<Address>,
    current: usize,
    /// Failed tries since the last connection.
    failed: usize,
    /// The address of the last connection.
    last: Option<usize>,
}

pub(super) struct Address {
    transport: Transport,
    pub(super) profile: BrokerProfile,
}

impl Addresses {
    /// Reads the certificates for all addresses.
    ///
    /// # Errors
    /// Returns an error if there is no address, a certificate cannot be read, or a client certificate is configured
    /// without an address that uses TLS.
    pub(super) fn new(settings: &Settings) -> Result<Self, Report> {
        let address = |url: &BrokerUrl| {
            Ok(Address { transport: Transport::new(url, settings)?, profile: BrokerProfile::default() })
        };
        let all = settings.urls.iter().map(address).collect::<Result<Vec<_>, Report>>()?;
        if all.is_empty() {
            return Err(Report::new("no broker address is configured"));
        }
        if settings.identity.is_some() && settings.urls.iter().all(|url| !url.tls) {
            let what = "`cert_file` requires TLS, but no address in `url` uses it";
            return Err(Report::new(what).hint("an address with TLS starts with `mqtts://`"));
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

    /// Checks whether all other addresses have failed in this round.
    pub(super) fn is_last(&self) -> bool {
        (self.failed + 1).is_multiple_of(self.all.len())
    }

    /// Switches to the next address after the current one failed.
    pub(super) fn advance(&mut self) {
        self.failed = self.failed.wrapping_add(1);
        self.current = (self.current + 1) % self.all.len();
    }

    /// Records a connection to the current address, which is tried first when that is lost. Returns whether the
    /// previous connection was to another address.
    pub(super) fn succeeded(&mut self) -> bool {
        self.failed = 0;
        self.last.replace(self.current).is_some_and(|last| last != self.current)
    }
}
