//! The operator's requests.

mod pauses;
mod requests;
