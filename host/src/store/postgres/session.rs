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
    /// The process of the server that answers: `pg_backend_pid()`.
    pub(super) backend: i32,
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
        let connected = async {
            let (client, connection) = connect(address).await?;
            let backend = configure(&client).await?;
            Ok::<_, Fault>((client, connection, backend))
        };
        let (client, connection, backend) = wait(&runtime, limits::CONNECT, connected)??;
        Ok(Self { client, connection, cell, backend, runtime: Some(runtime) })
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

/// Lets the server answer commits only once they are durable. Returns its process, which a pooler may change.
async fn configure(client: &Client) -> Result<i32, Fault> {
    let backend = "SELECT pg_backend_pid()";
    let sql = "SELECT pg_backend_pid(), current_setting('synchronous_commit') IN ('off', 'local')";
    let row = client.query_one(sql, &[]).await?;
    // I3: other values wait for the disk of this server at least, and for a synchronous replica.
    if row.try_get(1)? {
        client.batch_execute("SET synchronous_commit = on").await?;
    }
    let found = row.try_get(0)?;
    if client.query_one(backend, &[]).await?.try_get::<_, i32>(0)? == found { Ok(found) } else { Err(Fault::Pooled) }
}

/// Trusts the system's certificate authorities.
fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}
