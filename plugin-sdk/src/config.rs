//! From a device's settings, the JSON text that the host hands over, to its jobs.

use serde::de::DeserializeOwned;

use crate::{Context, Device, Error, Job, Result, bindings::exports::roost::device::schedule as wit};

/// Settings in, jobs out: what an exported plugin does when it is asked.
pub(crate) fn plan<D: Device>(ctx: &Context) -> Result<Vec<wit::Job>> {
    let device: D = read(ctx.config())?;
    device.schedule_jobs(ctx)?.into_iter().map(Job::finish).collect()
}

/// Reads the settings. What is wrong is told with the key where it is wrong.
fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| Error::new(format!("config is not JSON: {error}")))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let reason = plain(&error.inner().to_string());
        match path.as_str() {
            "." => Error::new(format!("config: {reason}")),
            _ => Error::new(format!("config `{path}`: {reason}")),
        }
    })
}

/// Numbers by what they are, not by how Rust stores them.
fn plain(reason: &str) -> String {
    let (said, expected) = match reason.rsplit_once(", expected ") {
        Some((said, "u8" | "u16" | "u32" | "u64" | "usize")) => (said, "a whole number, not negative"),
        Some((said, "i8" | "i16" | "i32" | "i64" | "isize")) => (said, "a whole number"),
        Some((said, "f32" | "f64")) => (said, "a number"),
        Some((said, "a boolean")) => (said, "true or false"),
        _ => return reason.into(),
    };
    let said = said.replace("invalid type: ", "").replace("invalid value: ", "");
    format!("{said} is not {expected}")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{Span, Time};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sprinkler {
        #[allow(dead_code, reason = "only read here")]
        zones: Vec<Zone>,
    }

    #[derive(Debug, Deserialize)]
    struct Zone {
        #[allow(dead_code, reason = "only read here")]
        minutes: u32,
        #[allow(dead_code, reason = "only read here")]
        start: Option<Time>,
        #[allow(dead_code, reason = "only read here")]
        pause: Option<Span>,
    }

    #[test]
    fn a_mistake_is_told_with_its_key() {
        let cases = [
            ("{}", "config: missing field `zones`"),
            (r#"{"zones":[], "zone":1}"#, "config `zone`: unknown field `zone`, expected `zones`"),
            (
                r#"{"zones":[{"minutes":1},{"minutes":"ten"}]}"#,
                "config `zones[1].minutes`: string \"ten\" is not a whole number, not negative",
            ),
            (
                r#"{"zones":[{"minutes":-1}]}"#,
                "config `zones[0].minutes`: integer `-1` is not a whole number, not negative",
            ),
            (
                r#"{"zones":[{"minutes":1,"start":"25:00"}]}"#,
                "config `zones[0].start`: `25:00` is not a time of day, write it like `06:30` or `06:30:15`",
            ),
            (
                r#"{"zones":[{"minutes":1,"pause":5}]}"#,
                "config `zones[0].pause`: invalid type: integer `5`, expected a length of time, such as `\"90s\"` or `\"1h30m\"`",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read::<Sprinkler>(text).unwrap_err().to_string(), expected);
        }
    }
}
