//! What a write requires of the file that it replaces: `If-Match` and `If-None-Match`, RFC 9110, section 13.1. The tag of
//! a file is the SHA-256 of its bytes.

use std::fmt::Display;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use roost_scheduler::event::Digest;

use super::problem::Problem;
use crate::plugins::Expected;

/// Reads the headers of a request.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let (matching, other) = (texts(headers, &header::IF_MATCH)?, texts(headers, &header::IF_NONE_MATCH)?);
    match (matching, other) {
        (None, None) => Ok(Expected::Anything),
        (Some(tags), None) if tags.trim() == "*" => Ok(Expected::Something),
        (Some(tags), None) => Ok(Expected::OneOf(tags.split(',').filter_map(digest).collect())),
        (None, Some(tags)) if tags.trim() == "*" => Ok(Expected::Nothing),
        (None, Some(_)) => Err(Problem::bad_request("`If-None-Match` of a write must be `*`")
            .hint("send `If-Match` with the tag of the file that is replaced")),
        (Some(_), Some(_)) => Err(Problem::bad_request("the request has both `If-Match` and `If-None-Match`")
            .hint("send `If-Match` to replace a file, or `If-None-Match: *` to make a new one")),
    }
}

/// Returns the values of a header as one list.
fn texts(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let values: Result<Vec<_>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
    let values = values.map_err(|_| Problem::bad_request(format!("`{name}` is not text")))?;
    Ok((!values.is_empty()).then(|| values.join(",")))
}

/// Parses a strong tag. A tag that is no digest is that of no file, and a weak one matches nothing.
fn digest(tag: &str) -> Option<Digest> {
    let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    hex::decode(digits).ok()?.try_into().ok().map(Digest)
}

/// Writes the tag of a file.
pub(crate) fn tag(digest: impl Display) -> String {
    format!("\"{digest}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(HeaderName, &'static str)]) -> Result<Expected, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        expected(&headers).map_err(|problem| problem.status)
    }

    #[test]
    fn the_headers_say_what_is_replaced() {
        const ONE: &str = "\"0101010101010101010101010101010101010101010101010101010101010101\"";
        let one = Digest([1; 32]);
        assert_eq!(tag(one), ONE);
        let (if_match, if_none_match) = (header::IF_MATCH, header::IF_NONE_MATCH);
        for (values, result) in [
            (vec![], Ok(Expected::Anything)),
            (vec![(if_match.clone(), "*")], Ok(Expected::Something)),
            (vec![(if_match.clone(), ONE)], Ok(Expected::OneOf(vec![one]))),
            (vec![(if_match.clone(), "\"x\""), (if_match.clone(), ONE)], Ok(Expected::OneOf(vec![one]))),
            (vec![(if_match.clone(), "W/\"01\", 01")], Ok(Expected::OneOf(vec![]))),
            (vec![(if_none_match.clone(), " *")], Ok(Expected::Nothing)),
            (vec![(if_none_match.clone(), ONE)], Err(400)),
            (vec![(if_match, ONE), (if_none_match, "*")], Err(400)),
        ] {
            assert_eq!(read(&values), result, "{values:?}");
        }
    }
}
