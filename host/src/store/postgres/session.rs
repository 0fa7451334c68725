//! A connection to the database, used from threads that may wait.

use std::{future::Future, io, thread, time::Duration};

use tokio::{
    runtime::{self, Handle, Runtime},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{Client, NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Address, Fault};
use crate::store::limits;

/// A connection, with the runtime that serves it while it is waited for.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    /// The cell that it is used for.
    pub(super) cell: i64,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    /// The task that serves the connection, which ends with it.
    connection: JoinHandle<()>,
}

/// What came first.
pub(super) enum Waited<T> {
    Value(T),
    Disconnected,
    Nothing,
}

impl Session {
    /// Connects.
    pub(super) fn open(address: &Address, cell: i64) -> Result<Self, Fault> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Fault::Io)?;
        let (client, connection) = wait(&runtime, limits::CONNECT, connect(address))??;
        Ok(Self { client, connection, cell, runtime: Some(runtime) })
    }

    /// Waits for what `query` does with the connection.
    pub(super) fn run<'s, T: Send, F>(
        &'s self,
        within: Duration,
        query: impl FnOnce(&'s Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let runtime = self.runtime.as_ref().ok_or_else(|| Fault::Io(io::ErrorKind::NotConnected.into()))?;
        wait(runtime, within, query(&self.client))?
    }

    /// Waits for what comes first: a value, the end of the connection, or nothing within some time.
    pub(super) fn wait_for<T>(&mut self, within: Duration, value: impl Future<Output = T>) -> Waited<T> {
        let Some(runtime) = &self.runtime else { return Waited::Disconnected };
        runtime.block_on(async {
            tokio::select! {
                biased;
                value = value => Waited::Value(value),
                _ = &mut self.connection => Waited::Disconnected,
                () = sleep(within) => Waited::Nothing,
            }
        })
    }

    /// Checks whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A runtime must not wait for its end where another one runs.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits on this thread or, if a runtime uses it, on another one meanwhile.
fn wait<T: Send>(runtime: &Runtime, within: Duration, future: impl Future<Output = T> + Send) -> Result<T, Fault> {
    let bounded = async { timeout(within, future).await.map_err(|_| Fault::NoAnswer(within)) };
    if Handle::try_current().is_err() {
        return runtime.block_on(bounded);
    }
    thread::scope(|scope| {
        let waiting = scope.spawn(|| runtime.block_on(bounded));
        waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

async fn connect(address: &Address) -> Result<(Client, JoinHandle<()>), Fault> {
    let config = &address.config;
    // The connection ends with the client.
    if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await?;
        return Ok((client, tokio::spawn(async { drop(connection.await) })));
    }
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls())).await?;
    Ok((client, tokio::spawn(async { drop(connection.await) })))
}

/// Trusts the system's certificate authorities.
fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}
