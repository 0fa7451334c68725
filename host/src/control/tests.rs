//! The socket, with somebody who answers behind it.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream as Client,
};

use roost_scheduler::model::Policy;

use super::*;

const RUN: &str = "coop/north/open/2027-03-01T06:30:00Z";

/// A host that abandons everything, and replays what ran in the year 2027.
fn host(data: &Path) -> Listening {
    let (events_in, mut events) = mpsc::channel(1);
    let answers = Answers::default();
    let given = answers.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let Event::Asked { request, what } = event else { continue };
            match what {
                Request::Replay { run, .. } => given.give(request, Ok(Done::Run(run))),
                Request::Abandon(run) => given.give(request, Err(Refusal::Unknown(format!("there is no run {run}")))),
                _ => {}
            }
        }
    });
    listen(data, events_in, answers, |run| {
        if run.occurrence.to_string().starts_with("2027") {
            Ok(Body::new(&run.job, None, &Policy::default(), &[]))
        } else {
            Err(Report::new("there is no such run").cause("it is long ago").hint("look"))
        }
    })
    .expect("it listens")
}

async fn asked(data: &Path, question: Question) -> Result<String, Report> {
    let data = data.to_owned();
    tokio::task::spawn_blocking(move || ask(&data, &question, |data| data.join("lock").exists())).await.unwrap()
}

/// What is answered to these bytes.
async fn said(data: &Path, bytes: Vec<u8>) -> String {
    let path = socket(data);
    let talk = move || {
        let mut client = Client::connect(path).unwrap();
        client.write_all(&bytes).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

#[tokio::test]
async fn a_question_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let _host = host(data.path());
    assert_eq!(asked(data.path(), Question::Replay(RUN.into())).await.as_deref(), Ok(RUN));
    let told = asked(data.path(), Question::Abandon(RUN.into())).await.unwrap_err();
    let shown = "`roost runs --state running` shows those that can be abandoned";
    assert_eq!(told.to_string(), format!("there is no run {RUN}\nhint: {shown}"));
    let told = asked(data.path(), Question::Replay(RUN.replace("2027", "2026"))).await.unwrap_err();
    assert_eq!(told.to_string(), "there is no such run: it is long ago\nhint: look");
    let told = asked(data.path(), Question::Replay("x".into())).await.unwrap_err();
    assert!(told.to_string().starts_with("`x` is not a run: it must be like `coop-door/"), "{told}");
    assert!(told.to_string().contains("\nhint: `roost runs --failed` shows those"), "{told}");
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let _host = host(data.path());
    for bytes in ["\n", "[]\n", "{\"replay\": 1}\n", "{\"replay\": \"a\", \"abandon\": \"b\"}\n", "\u{0}\n"] {
        let answer = said(data.path(), bytes.into()).await;
        assert!(answer.starts_with(r#"{"error":"that is not a request: "#), "{bytes}: {answer}");
        assert_eq!(answer.matches('\n').count(), 1);
    }
    let long = vec![b'a'; limits::REQUEST_BYTES as usize + 1];
    assert_eq!(said(data.path(), long).await, "{\"error\":\"a request has at most 65536 bytes\"}\n");
}

#[tokio::test]
async fn those_who_say_nothing_keep_no_place_for_ever() {
    let data = tempfile::tempdir().unwrap();
    let _host = host(data.path());
    let path = socket(data.path());
    let silent: Vec<Client> = (0..2 * limits::CONNECTIONS).map(|_| Client::connect(&path).unwrap()).collect();
    // Whoever comes behind them is attended to when they have had their time.
    assert_eq!(asked(data.path(), Question::Replay(RUN.into())).await.as_deref(), Ok(RUN));
    drop(silent);
}

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_goes_with_the_host() {
    let data = tempfile::tempdir().unwrap();
    let path = socket(data.path());
    let told = asked(data.path(), Question::Abandon(RUN.into())).await.unwrap_err().to_string();
    assert!(told.starts_with("no Roost is running on `"), "{told}");
    // What a crash left.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let told = asked(data.path(), Question::Abandon(RUN.into())).await.unwrap_err().to_string();
    assert!(told.starts_with("no Roost is running on `"), "{told}");
    let first = host(data.path());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // The next one is there before the first one is gone.
    let second = host(data.path());
    drop(first);
    assert!(asked(data.path(), Question::Replay(RUN.into())).await.is_ok());
    drop(second);
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_host_that_could_not_listen_is_not_said_not_to_run() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(socket(data.path())).unwrap();
    let (events, _events) = mpsc::channel(1);
    assert!(listen(data.path(), events, Answers::default(), |_| Err(Report::new("no"))).is_none());
    let told = asked(data.path(), Question::Abandon(RUN.into())).await.unwrap_err().to_string();
    assert!(told.starts_with("no Roost is running on `"), "{told}");
    fs::write(data.path().join("lock"), "").unwrap();
    let told = asked(data.path(), Question::Abandon(RUN.into())).await.unwrap_err().to_string();
    assert!(told.contains("cannot be asked\n  caused by: it does not listen at `"), "{told}");
}

#[tokio::test]
async fn whoever_gets_no_answer_is_told_how_long_that_took() {
    let data = tempfile::tempdir().unwrap();
    let _silent = std::os::unix::net::UnixListener::bind(socket(data.path())).unwrap();
    let told = asked(data.path(), Question::Abandon(RUN.into())).await.unwrap_err().to_string();
    assert!(told.contains("did not answer within "), "{told}");
}

#[tokio::test]
async fn a_folder_with_a_long_path_has_no_socket() {
    let data = tempfile::tempdir().unwrap();
    let deep = data.path().join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    let (events, _events) = mpsc::channel(1);
    assert!(listen(&deep, events, Answers::default(), |_| Err(Report::new("no"))).is_none());
    let told = asked(&deep, Question::Abandon(RUN.into())).await.unwrap_err().to_string();
    assert!(told.contains("name a data folder with a shorter path"), "{told}");
}
