//! What people ask a running host for: a socket in the data folder takes a line of JSON, and answers with one.
//!
//! ```text
//! {"replay": "coop-door/north/open/2027-03-01T06:30:00Z"}
//! {"done": "coop-door/north/open/2027-03-01T06:30:00Z/replay-2027-03-02T10:00:00Z"}
//! {"abandon": "coop-door/north/open/2027-03-01T06:30:00Z"}
//! {"error": "there is no run …", "hint": "…"}
//! ```

mod client;
mod limits;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use roost_scheduler::{
    body::Body,
    event::{Done, Event, Refusal, Request, RequestId},
    names::RunId,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

pub(crate) use self::client::ask;
use crate::report::Report;

/// What a question is answered with: the run that it was done to, or a sentence.
pub(crate) type Answer = Result<Done, Refusal>;

/// Who waits for answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last: RequestId,
    senders: HashMap<RequestId, oneshot::Sender<Answer>>,
}

impl Answers {
    /// A new question's number, and where its answer comes.
    pub(crate) fn expect(&self) -> (RequestId, oneshot::Receiver<Answer>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.last += 1;
        let (request, (sender, answer)) = (waiting.last, oneshot::channel());
        waiting.senders.insert(request, sender);
        (request, answer)
    }

    /// Hands on an answer. Whoever has gone meanwhile does not hear it.
    pub(crate) fn give(&self, request: RequestId, answer: Answer) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.senders.remove(&request) {
            let _ = sender.send(answer);
        }
    }

    /// Nobody waits for it any more.
    fn forget(&self, request: RequestId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).senders.remove(&request);
    }
}

/// What somebody wants of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    Replay(String),
    Abandon(String),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Reply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// What a run did that failed.
type DeadLetter = dyn Fn(&RunId) -> Result<Body, Report> + Send + Sync;

/// What an answer is made with.
#[derive(Clone)]
struct Desk {
    events: mpsc::Sender<Event>,
    answers: Answers,
    dead_letter: Arc<DeadLetter>,
}

/// As long as it is there, the host can be asked.
pub(crate) struct Listening {
    path: PathBuf,
    /// The socket's device and number: a host that has started since has a socket of its own at that place.
    file: (u64, u64),
    task: JoinHandle<()>,
}

/// Where a host listens. The folder's lock is the host's: what lies there is from one that has crashed.
fn socket(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Listens on the tokio runtime that this is called on. A host that cannot runs all the same.
pub(crate) fn listen(
    data: &Path,
    events: mpsc::Sender<Event>,
    answers: Answers,
    dead_letter: impl Fn(&RunId) -> Result<Body, Report> + Send + Sync + 'static,
) -> Option<Listening> {
    let path = socket(data);
    match bind(data, &path) {
        Ok((listener, file)) => {
            let desk = Desk { events, answers, dead_letter: Arc::new(dead_letter) };
            Some(Listening { path, file, task: tokio::spawn(serve(listener, desk)) })
        }
        Err(error) => {
            let what = format!(
                "`{}` cannot be listened on, so `roost replay` and `roost abandon` do not work",
                path.display()
            );
            let report = Report::new(what).cause(&error);
            tracing::warn!(
                "{}",
                match error.kind() {
                    // The kernel takes 107 bytes.
                    io::ErrorKind::InvalidInput =>
                        report.hint("name a data folder with a shorter path by `--data DIR`"),
                    _ => report.hint(
                        "`control.sock` and `control.new` in the data folder are Roost's own: move away what has these names \
                         there, and start Roost again"
                    ),
                }
            );
            None
        }
    }
}

/// For the owner alone, and all of it or nothing: it gets its name when it is ready.
fn bind(data: &Path, path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let unfinished = data.join("control.new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))?;
    let file = fs::symlink_metadata(&unfinished)?;
    fs::rename(&unfinished, path)?;
    Ok((listener, (file.dev(), file.ino())))
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn serve(listener: UnixListener, desk: Desk) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    // I10: who comes when all places are taken waits in the kernel.
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    if let Err(error) = attend(stream, &desk).await {
                        tracing::debug!("somebody who asked has gone: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("the control socket could not take a connection: {error}");
                tokio::time::sleep(limits::PAUSE).await;
            }
        }
    }
}

async fn attend(stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let reply = match timeout(limits::REQUEST, line(from)).await {
        Ok(Ok(line)) => desk.reply(&line).await,
        Ok(Err(report)) => Reply::from(report),
        Err(_) => Reply::from(Report::new(format!("no request came within {} s", limits::REQUEST.as_secs()))),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    timeout(limits::REQUEST, to.write_all(&text)).await?
}

async fn line(from: impl tokio::io::AsyncRead + Unpin) -> Result<Vec<u8>, Report> {
    let mut line = Vec::new();
    let mut from = BufReader::new(from.take(limits::REQUEST_BYTES + 1));
    from.read_until(b'\n', &mut line).await.map_err(|error| Report::new("the request did not come").cause(error))?;
    if line.len() as u64 > limits::REQUEST_BYTES {
        return Err(Report::new(format!("a request has at most {} bytes", limits::REQUEST_BYTES)));
    }
    Ok(line)
}

impl Desk {
    async fn reply(&self, line: &[u8]) -> Reply {
        match self.ask(line).await {
            Ok(Done::Run(run)) => Reply { done: Some(run.to_string()), ..Reply::default() },
            Ok(Done::Job { .. } | Done::Nothing) => Reply { done: Some(String::new()), ..Reply::default() },
            Err(report) => report.into(),
        }
    }

    async fn ask(&self, line: &[u8]) -> Result<Done, Report> {
        let question: Question = serde_json::from_slice(line).map_err(|error| {
            let report = Report::new("that is not a request").cause(error);
            report.hint(r#"write `{"replay": "RUN"}` or `{"abandon": "RUN"}`, and end the line"#)
        })?;
        let shown = match question {
            Question::Abandon(_) => "`roost runs --state running` shows those that can be abandoned",
            Question::Replay(_) => {
                "`roost runs --failed` shows those that can be replayed, as long as their plugin is there, and `roost runs --state \
                 running` those that are on their way"
            }
        };
        let run = |text: &str| text.parse::<RunId>().map_err(|error| Report::new(error.to_string()).hint(shown));
        let what = match question {
            Question::Abandon(text) => Request::Abandon(run(&text)?),
            Question::Replay(text) => {
                let (run, dead_letter) = (run(&text)?, self.dead_letter.clone());
                let found = tokio::task::spawn_blocking(move || dead_letter(&run).map(|body| (run, body))).await;
                let (run, body) = found.map_err(|error| Report::new("the database was not read").cause(error))??;
                Request::Replay { run, body }
            }
        };
        let (request, answer) = self.answers.expect();
        let gone = || Report::new("the host is stopping");
        let answered = timeout(limits::ANSWER, async {
            self.events.send(Event::Asked { request, what }).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?.map_err(|why| Report::new(why.to_string()).hint(shown))
        });
        answered.await.unwrap_or_else(|_| {
            self.answers.forget(request);
            let report = Report::new(format!("the host gave no answer within {} s", limits::ANSWER.as_secs()));
            Err(report.hint("it may be done all the same: `roost runs` shows it; the host's log says what holds it up"))
        })
    }
}

impl From<Report> for Reply {
    fn from(Report { what, causes, hint }: Report) -> Self {
        let error = [vec![what], causes].concat().join(": ");
        Self { error: Some(error), hint, done: None }
    }
}
