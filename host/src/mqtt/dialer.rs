//! Opens connections to the broker: its addresses in turn, each with the first connect options that it accepts.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::Packet;
use tokio::time::{Instant, timeout};

use super::{
    Settings, Timeouts,
    addresses::Addresses,
    connection::{Diagnosis, handshake},
    failure::{self, Failure},
    limits,
    negotiation::{ConnectOptions, Will},
    reconnect::{Lost, Reconnect},
    transport::Stream,
    url::BrokerUrl,
    wire::{self, Limits},
};
use crate::{
    config::grant::{Access, how_broker_allows},
    report::Report,
};

/// Opens one connection after the other, and paces the tries.
pub(super) struct Dialer {
    settings: Settings,
    addresses: Addresses,
    reconnect: Reconnect,
    /// Whether it is the link's, which logs what the broker lacks.
    is_of_link: bool,
}

/// The broker's answer to CONNECT.
pub(super) struct Accepted {
    pub(super) options: ConnectOptions,
    pub(super) limits: Limits,
    /// The bytes that were read beyond CONNACK.
    pub(super) read: BytesMut,
    /// Whether the previous connection was to another address.
    pub(super) is_elsewhere: bool,
}

impl Dialer {
    /// # Errors
    /// Returns an error if a certificate or key cannot be read, or does not fit the other settings. `purpose` is what
    /// the connections are for, in the log.
    pub(super) fn new(settings: Settings, purpose: Option<&'static str>) -> Result<Self, Report> {
        let addresses = Addresses::new(&settings)?;
        Ok(Self { settings, addresses, reconnect: Reconnect::new(purpose), is_of_link: purpose.is_none() })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn url(&self) -> &BrokerUrl {
        self.addresses.url()
    }

    /// Connects to the current address, with the first connect options that the broker accepts.
    pub(super) async fn dial(&mut self) -> Result<(Stream, Accepted), Failure> {
        let mut options = self.addresses.current().profile.first(Instant::now());
        let mut first = None;
        loop {
            let failure = match self.try_with(options).await {
                Ok((stream, limits, read)) => {
                    let is_elsewhere = self.addresses.succeeded();
                    let credit = limits.receive_maximum.min(limits::CREDIT);
                    self.reconnect.record_connected(self.addresses.url(), options.version, credit);
                    self.log_profile(options);
                    return Ok((stream, Accepted { options, limits, read, is_elsewhere }));
                }
                Err(failure) => failure,
            };
            match self.addresses.current().profile.other(options, &failure) {
                Some(other) => options = other,
                // If the broker accepts no options, its first answer explains the most.
                None => return Err(first.filter(|_| !failure.is_of_login()).unwrap_or(failure)),
            }
            first.get_or_insert(failure);
        }
    }

    async fn try_with(&mut self, options: ConnectOptions) -> Result<(Stream, Limits, BytesMut), Failure> {
        let Timeouts { connect: within, .. } = self.settings.timeouts;
        let mut stream = self.addresses.transport().open(within).await?;
        let connect = self.connect_packet(options);
        let answer = match &mut stream {
            Stream::Plain(stream) => timeout(within, handshake(stream, connect, options.version)).await,
            Stream::Tls(stream) => timeout(within, handshake(&mut **stream, connect, options.version)).await,
        };
        let (limits, read) = answer.unwrap_or(Err(Failure::NoAnswer { what: failure::CONNECT, within }))?;
        Ok((stream, limits, read))
    }

    /// Records that the current address gave no connection. Returns the pause before the next try.
    pub(super) fn failed(&mut self, failure: &Failure) -> Duration {
        let lost = Lost::Never { is_round_over: self.addresses.is_last() };
        let pause = self.reconnect.record_failure(&self.settings, self.addresses.url(), failure, lost);
        self.addresses.advance();
        pause
    }

    /// Records that a connection was lost, and whether it `was_steady`. Returns the pause before the next try.
    pub(super) fn lost(&mut self, failure: &Failure, diagnosis: Diagnosis) -> Duration {
        let lost = Lost::Now(diagnosis);
        let pause = self.reconnect.record_failure(&self.settings, self.addresses.url(), failure, lost);
        if diagnosis == Diagnosis::Rejected {
            self.addresses.advance();
        }
        pause
    }

    /// Begins with the shortest pause again, because a connection was steady.
    pub(super) const fn reset_pause(&mut self) {
        self.reconnect.reset_pause();
    }

    /// Logs which features the connection lacks.
    fn log_profile(&mut self, options: ConnectOptions) {
        let is_downgrade = self.addresses.current().profile.succeeded(options, Instant::now());
        let url = self.addresses.url();
        if !self.is_of_link {
            return;
        }
        if is_downgrade {
            let hours = limits::TRY_5_AGAIN.as_secs() / 3_600;
            tracing::warn!(
                "the broker `{url}` speaks MQTT 3.1.1, and not 5: messages do not carry the id of their run, do not \
                 expire at the broker while a device is away, and count as delivered even if the broker denies them \
                 or no client has subscribed; MQTT 5 is tried again at the first new connection after {hours} h"
            );
        }
        let Some(topic) = &self.settings.status_topic else { return };
        if options.will == Will::Live {
            tracing::warn!(
                "the broker `{url}` keeps no retained messages: a client that subscribes later does not know whether \
                 this host runs, and messages that are to be retained are not sent\nhint: in Mosquitto's configuration, \
                 remove the line `retain_available false`"
            );
        }
        if options.will == Will::LeftOut {
            let what = format!("the broker `{url}` accepts the connection only without a last will on `{topic}`");
            let hint = format!(
                "{}; or set `status_topic = \"off\"` in `[mqtt]`",
                how_broker_allows(topic.as_str(), Access::Publish)
            );
            tracing::warn!("{}", Report::new(what).hint(hint));
        }
    }

    fn connect_packet(&self, options: ConnectOptions) -> Packet {
        let (settings, url) = (&self.settings, self.addresses.url());
        let user = settings.user.as_deref().or(url.user.as_deref());
        let password = settings.password.as_deref().or(url.password.as_deref());
        let login = (user.is_some() || password.is_some()).then(|| (user.unwrap_or(""), password.unwrap_or("")));
        let keep_alive_s = settings.timeouts.keep_alive.as_secs().clamp(1, u16::MAX.into()) as u16;
        let topic = settings.status_topic.as_ref().filter(|_| options.will != Will::LeftOut);
        let will = topic.map(|topic| (topic, options.will == Will::Retained));
        wire::connect(&settings.client_id, login, keep_alive_s, will)
    }
}
