//! The other end of the socket: a command that asks.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use super::{Question, Reply, limits, socket};
use crate::report::Report;

/// Asks the host that runs on a data folder; the run that it was done to. `is_running` says whether one does.
pub(crate) fn ask(data: &Path, question: &Question, is_running: fn(&Path) -> bool) -> Result<String, Report> {
    let mut stream = UnixStream::connect(socket(data)).map_err(|error| not_there(data, &error, is_running))?;
    // It takes as long as it may for what came before, for the answer, and to send it.
    let patience = 3 * limits::REQUEST + limits::ANSWER;
    let gone = |error: io::Error| {
        let did_not = format!("the Roost on `{}` did not answer", data.display());
        let report = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Report::new(format!("{did_not} within {} s", patience.as_secs()))
                    .cause("it is busy, or others that are connected to it say nothing and have to be waited for")
            }
            _ => Report::new(did_not).cause(error),
        };
        report.hint("`roost runs` shows what became of the run; the host's log says what is wrong")
    };
    stream.set_read_timeout(Some(patience)).map_err(gone)?;
    stream.set_write_timeout(Some(patience)).map_err(gone)?;
    let line = serde_json::to_string(question).map_err(|error| gone(error.into()))?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(gone)?;
    let mut answer = String::new();
    BufReader::new(stream.take(limits::REQUEST_BYTES)).read_line(&mut answer).map_err(gone)?;
    match serde_json::from_str(&answer).map_err(|error| gone(error.into()))? {
        Reply { done: Some(run), .. } => Ok(run),
        Reply { error, hint, .. } => {
            let report = Report::new(error.unwrap_or_else(|| "the host gave an empty answer".into()));
            Err(match hint {
                Some(hint) => report.hint(hint),
                None => report,
            })
        }
    }
}

fn not_there(data: &Path, error: &io::Error, is_running: fn(&Path) -> bool) -> Report {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused if is_running(data) => {
            let report = Report::new(format!("the Roost on `{}` cannot be asked", data.display()));
            let cause = format!("it does not listen at `{}`", socket(data).display());
            report.cause(cause).hint("if it has just started, try again; else its log says why it does not")
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let report = Report::new(format!("no Roost is running on `{}`", data.display()));
            report.hint("start it with `roost run`, or name the data folder of the one that runs with `--data DIR`")
        }
        io::ErrorKind::PermissionDenied => {
            let report = Report::new(format!("the Roost on `{}` may not be asked", data.display())).cause(error);
            report.hint("only the user that runs it may")
        }
        _ => Report::new(format!("the Roost on `{}` cannot be asked", data.display())).cause(error).hint(
            "if its log says that it cannot be listened on, name a data folder with a shorter path by `--data DIR`",
        ),
    }
}
