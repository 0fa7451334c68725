//! The real binary, a real broker, real plugins; each test is a sentence about them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commands;
mod crashes;
mod guests;
mod outages;
mod plugins;

/// A job of the guest `declared`, as TOML: one message on a topic.
fn job(id: &str, trigger: &str, topic: &str) -> String {
    format!(
        "[[config.jobs]]\nid = \"{id}\"\ntrigger = {{ {trigger} }}\n\
         steps = [{{ topic = \"{topic}\", payload = \"{id}\" }}]\n"
    )
}
