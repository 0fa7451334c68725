//! How browsers log in: with the token, or with a one-time code that the operator asks for with `roost login`.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

use super::{limits, session::Sessions};
use crate::report::Report;

/// The characters of codes, without those that are mistaken for others: each is five bits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code: 50 bits, of which an attacker can try five a minute.
const CODE_CHARS: usize = 10;

/// What lets browsers in: the token, one-time codes, and the sessions that these begin.
pub(crate) struct Login {
    token: String,
    pub(crate) sessions: Sessions,
    codes: Mutex<Vec<Code>>,
    /// When the last wrong tries were made.
    wrong: Mutex<VecDeque<Instant>>,
}

struct Code {
    text: String,
    made: Instant,
}

/// Why a try to log in was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Wrong,
    /// There were too many wrong tries: the next one is examined after this time.
    TooMany(Duration),
}

impl Login {
    /// `port` is that on which the host listens.
    pub(super) fn new(token: String, data: &Path, port: u16) -> Self {
        let sessions = Sessions::open(data, &token, port);
        Self { token, sessions, codes: Mutex::default(), wrong: Mutex::default() }
    }

    pub(super) fn is_token(&self, presented: &[u8]) -> bool {
        presented.ct_eq(self.token.as_bytes()).into()
    }

    /// Makes a code, which is valid once and for ten minutes.
    pub(super) fn make_code(&self, now: Instant) -> Result<String, Report> {
        let mut random = [0; CODE_CHARS];
        SystemRandom::new().fill(&mut random).map_err(|_| Report::new("the system has no random numbers"))?;
        let text: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() >= limits::CODES {
            codes.remove(0);
        }
        let (first, last) = text.split_at(CODE_CHARS / 2);
        let shown = format!("{first}-{last}");
        codes.push(Code { text, made: now });
        Ok(shown)
    }

    /// Checks a token or a code. A code is used up by it. The token is too long to be guessed: it is taken however many
    /// wrong tries there were, so that no other client can keep it out.
    pub(crate) fn check(&self, secret: &str, now: Instant) -> Result<(), Refused> {
        if self.is_token(secret.trim().as_bytes()) {
            return Ok(());
        }
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        while wrong.front().is_some_and(|at| now.duration_since(*at) >= limits::WRONG_TRIES_WITHIN) {
            wrong.pop_front();
        }
        if wrong.len() >= limits::WRONG_TRIES
            && let Some(oldest) = wrong.front()
        {
            return Err(Refused::TooMany(limits::WRONG_TRIES_WITHIN.saturating_sub(now.duration_since(*oldest))));
        }
        if self.take_code(secret, now) {
            return Ok(());
        }
        wrong.push_back(now);
        Err(Refused::Wrong)
    }

    fn take_code(&self, secret: &str, now: Instant) -> bool {
        let secret = normalized(secret);
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|code| now.duration_since(code.made) < limits::CODE_VALID);
        let before = codes.len();
        codes.retain(|code| !bool::from(code.text.as_bytes().ct_eq(secret.as_bytes())));
        codes.len() < before
    }
}

/// Returns a code as it was made, however it was typed.
fn normalized(secret: &str) -> String {
    let chars = secret.chars().filter(|char| !matches!(char, '-' | ' ')).take(CODE_CHARS + 1);
    chars
        .map(|char| match char.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const TOKEN: &str = "0123456789abcdef";

    fn login() -> Login {
        Login::new(TOKEN.into(), Path::new("/nonexistent"), 8080)
    }

    #[test]
    fn a_code_is_valid_once_and_for_ten_minutes_however_it_is_typed() {
        let (login, now) = (login(), clock::monotonic());
        let code = login.make_code(now).unwrap();
        assert_eq!((code.len(), code.find('-')), (11, Some(5)), "{code}");
        let typed = format!(" {} ", code.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l"));
        assert_eq!(login.check(&typed, now), Ok(()));
        assert_eq!(login.check(&code, now), Err(Refused::Wrong));
        let code = login.make_code(now).unwrap();
        assert_eq!(login.check(&code, now + limits::CODE_VALID), Err(Refused::Wrong));
        assert_eq!(login.check("", now), Err(Refused::Wrong));
    }

    #[test]
    fn only_the_newest_codes_are_kept() {
        let (login, now) = (login(), clock::monotonic());
        let codes: Vec<_> = (0..=limits::CODES).map(|_| login.make_code(now).unwrap()).collect();
        assert_eq!(login.check(&codes[0], now), Err(Refused::Wrong));
        assert!(codes[1..].iter().all(|code| login.check(code, now) == Ok(())));
    }

    #[test]
    fn after_five_wrong_tries_only_the_token_is_examined_for_the_rest_of_the_minute() {
        let (login, start) = (login(), clock::monotonic());
        let at = |seconds| start + Duration::from_secs(seconds);
        let code = login.make_code(start).unwrap();
        for second in 0..5 {
            assert_eq!(login.check("wrong", at(second)), Err(Refused::Wrong));
        }
        assert_eq!(login.check(&code, at(10)), Err(Refused::TooMany(Duration::from_secs(50))));
        assert_eq!(login.check(TOKEN, at(10)), Ok(()), "wrong tries of others do not keep the token out");
        assert_eq!(login.check(&code, at(59)), Err(Refused::TooMany(Duration::from_secs(1))));
        assert_eq!(login.check("wrong", at(60)), Err(Refused::Wrong), "the first one is a minute old");
        assert_eq!(login.check("wrong", at(60)), Err(Refused::TooMany(Duration::from_secs(1))));
        assert_eq!(login.check(&code, at(61)), Ok(()));
    }
}
