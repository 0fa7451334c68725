//! Sessions of browsers. A browser holds a random id in a cookie, and the host only its digest: the file with the
//! sessions lets no reader in. Another program on the same machine is sent the cookie as well, because cookies do not
//! depend on ports; so it is not the token, and a session can be ended.

#[cfg(test)]
mod tests;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::{HeaderMap, header};
use ring::rand::{SecureRandom as _, SystemRandom};
use roost_scheduler::{
    text::excerpt,
    time::{CLOCK_LOST_BEFORE, Instant},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{sync::watch, time::timeout};

use super::limits;
use crate::{
    files::{self, Folder},
    report::Report,
};

/// The beginning of the cookie's name.
const COOKIE: &str = "roost-session";
/// The file in the data folder.
const FILE: &str = "sessions.json";
const ID_BYTES: usize = 32;

/// A session, as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Session {
    /// The SHA-256 of its id, in hexadecimal. It names the session, and opens nothing.
    pub(crate) digest: String,
    made_ms: i64,
    used_ms: i64,
    /// The browser's description of itself.
    pub(crate) agent: String,
    /// Whether the browser reached the host by TLS, through a proxy.
    is_secure: bool,
}

/// The file with the sessions.
#[derive(Default, Deserialize, Serialize)]
struct Kept {
    /// The SHA-256 of the token: another token ends all sessions.
    token: String,
    sessions: Vec<Session>,
}

/// The session of a request.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) digest: String,
    /// The cookie with a new date of expiry, if the browser is to have it.
    pub(super) renewed: Option<String>,
}

/// All sessions. Clones refer to the same sessions.
#[derive(Clone)]
pub(crate) struct Sessions(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    /// The name of the cookie.
    cookie: String,
    kept: Mutex<Kept>,
    /// Held while the file is written.
    writing: Mutex<()>,
    /// Changes when a session may have ended.
    ends: watch::Sender<()>,
}

impl Session {
    pub(crate) fn made(&self) -> Instant {
        Instant::from_millis_clamped(self.made_ms)
    }

    /// Returns when it was used last, to an hour.
    pub(crate) fn used(&self) -> Instant {
        Instant::from_millis_clamped(self.used_ms)
    }

    /// Checks whether the clock can be right: a machine without a clock of its own boots in the past.
    fn is_known(&self, now: Instant) -> bool {
        now >= CLOCK_LOST_BEFORE && now >= self.made()
    }

    fn has_expired(&self, now: Instant) -> bool {
        self.is_known(now) && now.ms_since(self.used()) > limits::SESSION_MS
    }

    /// Records that it is used. Returns whether this is the first use in an hour.
    fn is_used_anew(&mut self, now: Instant) -> bool {
        let is_new_hour = self.is_known(now) && now.ms_since(self.used()).abs() >= limits::SESSION_USED_MS;
        if is_new_hour {
            self.used_ms = now.millis();
        }
        is_new_hour
    }
}

impl Sessions {
    /// Reads the sessions in the data folder that were begun with this token. `port` is that on which the host listens.
    pub(super) fn open(data: &Path, token: &str, port: u16) -> Self {
        let digest = sha256(token.as_bytes());
        let mut kept = read(data).unwrap_or_else(|error| {
            let report = Report::new(format!("the sessions in `{}` cannot be read", data.join(FILE).display()));
            tracing::warn!("{}", report.cause(error).hint("browsers have to log in again"));
            Kept::default()
        });
        if kept.token != digest {
            if !kept.sessions.is_empty() {
                tracing::info!("the token has changed: all {} sessions have ended", kept.sessions.len());
            }
            kept = Kept { token: digest, sessions: Vec::new() };
        }
        let inner = Inner {
            folder: data.to_owned(),
            cookie: cookie_name(port),
            kept: Mutex::new(kept),
            writing: Mutex::default(),
            ends: watch::channel(()).0,
        };
        Self(Arc::new(inner))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session, and returns its cookie. If there are too many, the one that was not used for the longest time
    /// ends.
    pub(crate) async fn begin(&self, agent: &str, is_secure: bool, now: Instant) -> Result<String, Report> {
        let mut id = [0; ID_BYTES];
        SystemRandom::new().fill(&mut id).map_err(|_| Report::new("the system has no random numbers"))?;
        let id = hex::encode(id);
        let (made_ms, digest) = (now.millis(), sha256(id.as_bytes()));
        let session = Session { digest, made_ms, used_ms: made_ms, agent: excerpt(agent), is_secure };
        let cookie = self.cookie(&id, is_secure);
        {
            let sessions = &mut self.kept().sessions;
            // Those that have expired are kept, because the clock may be ahead.
            sessions.sort_by_key(|session| std::cmp::Reverse(session.used_ms));
            sessions.truncate(limits::SESSIONS - 1);
            sessions.push(session);
        }
        self.0.ends.send_replace(());
        self.save().await?;
        Ok(cookie)
    }

    /// Returns the value of the header that gives a session to a browser.
    fn cookie(&self, id: &str, is_secure: bool) -> String {
        let (age, secure) = (limits::SESSION_MS / 1_000, if is_secure { "; Secure" } else { "" });
        format!("{}={id}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}", self.0.cookie)
    }

    /// Returns the value of the header that takes its session from a browser.
    pub(crate) fn no_cookie(&self) -> String {
        format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", self.0.cookie)
    }

    /// Returns the session of a request, if it has one, and records that it is used.
    pub(super) fn find(&self, headers: &HeaderMap, now: Instant) -> Option<Found> {
        let (found, is_new_hour) = {
            let sessions = &mut self.kept().sessions;
            ids(headers, &self.0.cookie).find_map(|id| {
                // A digest tells a client nothing about those that it does not match.
                let digest = sha256(id.as_bytes());
                let session = sessions.iter_mut().find(|session| session.digest == digest)?;
                if session.has_expired(now) {
                    return None;
                }
                let is_new_hour = session.is_used_anew(now);
                let renewed = is_new_hour.then(|| self.cookie(id, session.is_secure));
                Some((Found { digest, renewed }, is_new_hour))
            })?
        };
        if is_new_hour {
            let sessions = self.clone();
            tokio::spawn(async move {
                if let Err(report) = sessions.save().await {
                    tracing::warn!("{report}");
                }
            });
        }
        Some(found)
    }

    /// Returns the sessions, the one that was used last first.
    pub(crate) fn list(&self, now: Instant) -> Vec<Session> {
        let mut sessions: Vec<_> =
            self.kept().sessions.iter().filter(|session| !session.has_expired(now)).cloned().collect();
        sessions.sort_by_key(|session| std::cmp::Reverse((session.used_ms, session.made_ms)));
        sessions
    }

    /// Ends a session. Its requests are refused and its event streams end, also if the file cannot be written.
    pub(crate) async fn end(&self, digest: &str) -> Result<(), Report> {
        self.kept().sessions.retain(|session| session.digest != digest);
        self.0.ends.send_replace(());
        self.save().await
    }

    /// Waits until a session has ended or expired.
    pub(super) async fn ended(&self, digest: &str, now: impl Fn() -> Instant) {
        let mut ends = self.0.ends.subscribe();
        let is_open = |session: &Session| session.digest == digest && !session.has_expired(now());
        while self.kept().sessions.iter().any(is_open) {
            let _ = timeout(limits::SESSION_CHECK, ends.changed()).await;
        }
    }

    /// Writes the file, on a thread for blocking work.
    async fn save(&self) -> Result<(), Report> {
        let sessions = self.clone();
        let written = tokio::task::spawn_blocking(move || sessions.write()).await;
        written.map_err(io::Error::other).flatten().map_err(|error| {
            let path = self.0.folder.join(FILE);
            Report::new(format!("the sessions cannot be written to `{}`", path.display())).cause(error)
        })
    }

    fn write(&self) -> io::Result<()> {
        let _one_at_a_time = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // Read when it is this thread's turn, so that no older state is written after a newer one.
        let bytes = serde_json::to_vec(&*self.kept())?;
        Folder::open(&self.0.folder)?.replace(FILE, "sessions.new", &bytes, files::PRIVATE)
    }
}

fn read(data: &Path) -> io::Result<Kept> {
    let file = match Folder::open(data).and_then(|folder| folder.open_file(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(limits::SESSIONS_BYTES).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Returns the name of the cookie of a host that listens on a port. Cookies do not depend on ports: without it, two hosts
/// on one machine would take each other's place.
pub(super) fn cookie_name(port: u16) -> String {
    format!("{COOKIE}-{port}")
}

/// Returns the ids of sessions in the cookies of a request: a browser that has several of the same name sends all.
fn ids<'h>(headers: &'h HeaderMap, cookie: &'h str) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(name, _)| *name == cookie).map(|(_, id)| id).take(limits::SESSION_COOKIES)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
