use std::{
    fs,
    sync::atomic::{AtomicI64, Ordering},
};

use axum::http::HeaderValue;

use super::*;

const TOKEN: &str = "0123456789abcdef";
const HOUR_MS: i64 = 60 * 60 * 1_000;

const NAME: &str = "roost-session-8080";

fn open(data: &Path) -> Sessions {
    Sessions::open(data, TOKEN, 8080)
}

fn at(millis: i64) -> Instant {
    Instant::from_millis_clamped(1_800_000_000_000 + millis)
}

/// Returns the headers with which a browser that has got a cookie sends it.
fn sent(cookie: &str) -> HeaderMap {
    let pair = cookie.split(';').next().unwrap();
    let value = format!("theme=dark; {pair}; roost-session-8080=other; roost-session=x");
    HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(&value).unwrap())])
}

#[tokio::test]
async fn a_session_outlives_a_restart_and_its_file_lets_no_reader_in() {
    let data = tempfile::tempdir().unwrap();
    let sessions = open(data.path());
    let cookie = sessions.begin("Firefox\u{202e}", true, at(0)).await.unwrap();
    let id = cookie[NAME.len() + 1..].split_once(';').unwrap().0;
    assert_eq!(cookie, format!("{NAME}={id}; Path=/; Max-Age=7776000; HttpOnly; SameSite=Strict; Secure"));
    let kept = fs::read_to_string(data.path().join(FILE)).unwrap();
    assert!(!kept.contains(id) && !kept.contains(TOKEN), "{kept}");

    let again = open(data.path());
    let found = again.find(&sent(&cookie), at(1)).unwrap();
    assert_eq!((found.digest, found.renewed), (sha256(id.as_bytes()), None));
    assert_eq!(again.list(at(1))[0].agent, "Firefox\\u{202e}");
    // The digest, which the file and the page show, is no id.
    assert!(again.find(&sent(&format!("{NAME}={}", sha256(id.as_bytes()))), at(1)).is_none());
    assert!(again.find(&HeaderMap::new(), at(1)).is_none());

    again.end(&sha256(id.as_bytes())).await.unwrap();
    assert!(again.find(&sent(&cookie), at(1)).is_none());
    assert!(open(data.path()).find(&sent(&cookie), at(1)).is_none());
}

#[tokio::test]
async fn cookies_of_other_services_do_not_hide_the_session() {
    let data = tempfile::tempdir().unwrap();
    let sessions = open(data.path());
    let cookie = sessions.begin("a", false, at(0)).await.unwrap();
    let mut headers = HeaderMap::new();
    for number in 0..180 {
        headers.append(header::COOKIE, HeaderValue::from_str(&format!("{NAME}={number}")).unwrap());
    }
    assert!(sessions.find(&headers, at(1)).is_none());
    headers.append(header::COOKIE, HeaderValue::from_str(cookie.split(';').next().unwrap()).unwrap());
    assert!(sessions.find(&headers, at(1)).is_some());
    // Another host on this machine gives its own name to its cookie.
    assert!(Sessions::open(data.path(), TOKEN, 8081).find(&headers, at(1)).is_none());
    assert_eq!(sessions.no_cookie(), format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"));
}

#[tokio::test]
async fn another_token_ends_all_sessions() {
    let data = tempfile::tempdir().unwrap();
    let cookie = open(data.path()).begin("a", false, at(0)).await.unwrap();
    assert!(Sessions::open(data.path(), "another token ...", 8080).find(&sent(&cookie), at(0)).is_none());
}

#[tokio::test]
async fn a_session_ends_when_it_was_not_used_for_ninety_days() {
    let data = tempfile::tempdir().unwrap();
    let sessions = open(data.path());
    let cookie = sessions.begin("a", false, at(0)).await.unwrap();
    assert_eq!(sessions.find(&sent(&cookie), at(HOUR_MS - 1)).unwrap().renewed, None);
    // Each use in a new hour puts off its end, and that of the browser's cookie.
    let later = limits::SESSION_MS;
    assert_eq!(sessions.find(&sent(&cookie), at(later)).unwrap().renewed, Some(cookie.clone()));
    assert_eq!(sessions.find(&sent(&cookie), at(later + 1)).unwrap().renewed, None);
    assert!(sessions.find(&sent(&cookie), at(2 * later)).is_some());
    assert!(sessions.find(&sent(&cookie), at(3 * later + 1)).is_none());
    assert_eq!(sessions.list(at(3 * later + 1)), []);
}

#[tokio::test]
async fn a_clock_that_is_wrong_for_a_while_ends_no_session() {
    let data = tempfile::tempdir().unwrap();
    let sessions = open(data.path());
    let cookie = sessions.begin("a", false, at(0)).await.unwrap();
    // Without the time, and with that of a year ago, which is before the session was made.
    for wrong in [Instant::from_millis_clamped(0), at(-365 * 24 * HOUR_MS)] {
        assert_eq!(sessions.find(&sent(&cookie), wrong).unwrap().renewed, None);
        assert_eq!(sessions.list(wrong)[0].used(), at(0));
    }
    assert!(sessions.find(&sent(&cookie), at(1)).is_some());
    // A year ahead it has expired, and a new one does not remove it.
    let ahead = at(365 * 24 * HOUR_MS);
    assert!(sessions.find(&sent(&cookie), ahead).is_none());
    let of_ahead = sessions.begin("b", false, ahead).await.unwrap();
    let again = open(data.path());
    for cookie in [cookie, of_ahead] {
        assert!(again.find(&sent(&cookie), at(2)).is_some());
    }
}

#[tokio::test]
async fn a_session_too_many_ends_the_one_that_was_not_used_for_the_longest_time() {
    let data = tempfile::tempdir().unwrap();
    let sessions = open(data.path());
    let mut cookies = Vec::new();
    for number in 0..limits::SESSIONS {
        cookies.push(sessions.begin("a", false, at(number as i64)).await.unwrap());
    }
    assert!(sessions.find(&sent(&cookies[0]), at(2 * HOUR_MS)).is_some());
    let last = sessions.begin("a", false, at(2 * HOUR_MS)).await.unwrap();
    let is_there = |cookie: &String| sessions.find(&sent(cookie), at(2 * HOUR_MS)).is_some();
    assert!(!is_there(&cookies[1]) && is_there(&cookies[0]) && is_there(&cookies[2]) && is_there(&last));
    assert_eq!(sessions.list(at(2 * HOUR_MS)).len(), limits::SESSIONS);
}

#[tokio::test]
async fn a_file_that_is_not_understood_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join(FILE), "{").unwrap();
    let sessions = open(data.path());
    let cookie = sessions.begin("a", false, at(0)).await.unwrap();
    assert!(open(data.path()).find(&sent(&cookie), at(0)).is_some());
}

#[tokio::test]
async fn the_end_of_a_session_is_announced_whatever_ends_it() {
    let data = tempfile::tempdir().unwrap();
    let sessions = open(data.path());
    let clock = Arc::new(AtomicI64::new(0));
    for number in 0..3 {
        let now = at(number);
        let cookie = sessions.begin("a", false, now).await.unwrap();
        let digest = sessions.find(&sent(&cookie), now).unwrap().digest;
        let (watched, clock_of_stream, watched_digest) = (sessions.clone(), clock.clone(), digest.clone());
        let stream = tokio::spawn(async move {
            watched.ended(&watched_digest, || at(clock_of_stream.load(Ordering::Relaxed))).await;
        });
        tokio::task::yield_now().await;
        assert!(!stream.is_finished());
        match number {
            0 => sessions.end(&digest).await.unwrap(),
            1 => {
                for _ in 0..limits::SESSIONS {
                    sessions.begin("b", false, at(HOUR_MS)).await.unwrap();
                }
            }
            _ => clock.store(limits::SESSION_MS + number + 1, Ordering::Relaxed),
        }
        stream.await.unwrap();
    }
}
