//! Long lists, a page at a time.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

use super::{limits, problem::Problem};
use crate::hex;

/// A part of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// What to ask with as `cursor` for those that come next; `null` where these were the last.
    #[schema(required)]
    pub(crate) next: Option<String>,
}

/// How many items a page has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) usize);

impl Default for Limit {
    fn default() -> Self {
        Self(limits::DEFAULT_PAGE as usize)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(from)?;
        if (1..=limits::PAGE).contains(&number) {
            Ok(Self(number as usize))
        } else {
            Err(D::Error::custom(format!("it must be 1 to {}", limits::PAGE)))
        }
    }
}

/// The first `limit` of what was found when one more than that was looked for, and the cursor for those that come next: `place`
/// says where one stands.
pub(super) fn cut<T>(mut found: Vec<T>, limit: usize, place: impl FnOnce(&T) -> String) -> (Vec<T>, Option<String>) {
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|last| cursor(&place(last)));
    (found, next)
}

/// Text that whoever asks hands back as it is: what it means is nobody's business, and may change.
pub(super) fn cursor(text: &str) -> String {
    hex::encode(text.as_bytes())
}

/// What a cursor stood for.
pub(super) fn resume<T>(cursor: Option<&str>, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let text = hex::decode(cursor).and_then(|bytes| String::from_utf8(bytes).ok());
    let place = text.and_then(|text| parse(&text));
    let none =
        || Problem::not_found("there is no such page: `cursor` is none that Roost has given").hint("begin without it");
    place.map(Some).ok_or_else(none)
}
