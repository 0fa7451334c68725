//! Pagination.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{limits, params::whole_number, problem::Problem};

/// A page of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// The value of `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub(crate) next: Option<String>,
}

/// The maximum number of items of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) usize);

impl Default for Limit {
    fn default() -> Self {
        Self(limits::DEFAULT_PAGE as usize)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        whole_number(from, limits::PAGE).map(|number| Self(number as usize))
    }
}

/// Truncates a list, which was searched for up to `limit + 1` items, to a page. Returns its items and the cursor of the
/// next page, if there is one. `position` returns the text of the cursor after an item.
pub(super) fn cut<T>(mut found: Vec<T>, limit: usize, position: impl FnOnce(&T) -> String) -> (Vec<T>, Option<String>) {
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|last| cursor(&position(last)));
    (found, next)
}

/// Encodes a position as an opaque cursor: clients pass it back unchanged, and its content may change.
pub(super) fn cursor(text: &str) -> String {
    hex::encode(text)
}

/// Decodes a cursor. Fails if it is not valid.
pub(super) fn resume<T>(cursor: Option<&str>, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let text = hex::decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let position = text.and_then(|text| parse(&text));
    let invalid = || Problem::not_found("there is no such page: `cursor` is not valid").hint("start without a cursor");
    position.map(Some).ok_or_else(invalid)
}
