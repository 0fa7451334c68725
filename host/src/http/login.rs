//! How browsers log in: with the token, or with a one-time code that the operator asks for with `roost login`.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

use super::{limits, session::Sessions};
use crate::report::Report;

/// The characters of codes, without those that are mistaken for others: each is five bits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code: 50 bits. A stranger with 10,000 tries a second finds one of ten that are valid for ten minutes with
/// a chance of one in 18 million. So wrong tries need no limit, by which a stranger could keep the owner out.
const CODE_CHARS: usize = 10;

/// What lets browsers in: the token, one-time codes, and the sessions that these begin.
pub(crate) struct Login {
    token: String,
    pub(crate) sessions: Sessions,
    codes: Mutex<Vec<Code>>,
}

struct Code {
    text: String,
    made: Instant,
}

impl Login {
    /// `port` is that on which the host listens.
    pub(super) fn new(token: String, data: &Path, port: u16) -> Self {
        let sessions = Sessions::open(data, &token, port);
        Self { token, sessions, codes: Mutex::default() }
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

    /// Checks a token or a code. A code is used up by it.
    pub(crate) fn check(&self, secret: &str, now: Instant) -> bool {
        self.is_token(secret.trim().as_bytes()) || self.take_code(secret, now)
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
        assert!(login.check(&typed, now));
        assert!(!login.check(&code, now));
        let code = login.make_code(now).unwrap();
        assert!(!login.check(&code, now + limits::CODE_VALID));
        assert!(!login.check("", now));
    }

    #[test]
    fn only_the_newest_codes_are_kept() {
        let (login, now) = (login(), clock::monotonic());
        let codes: Vec<_> = (0..=limits::CODES).map(|_| login.make_code(now).unwrap()).collect();
        assert!(!login.check(&codes[0], now));
        assert!(codes[1..].iter().all(|code| login.check(code, now)));
    }

    #[test]
    fn wrong_tries_of_a_stranger_keep_neither_the_token_nor_a_code_out() {
        let (login, now) = (login(), clock::monotonic());
        let code = login.make_code(now).unwrap();
        assert!((0..1_000).all(|number| !login.check(&format!("{number:010}"), now)));
        assert!(login.check(&code, now) && login.check(TOKEN, now));
    }
}
