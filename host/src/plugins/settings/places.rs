//! The places in a settings file that the refusal of a plan concerns.

use roost_scheduler::names::{DeviceName, PluginName};

use super::{DEVICE_KEYS, TOP_KEYS};
use crate::config::document::{Document, Table, Value};

/// A line and a column of a text, counted from 1.
type Place = (usize, usize);

/// Finds where each of the devices is configured, given why its plan is refused: the key or the job that the error names,
/// or else the device's name. There is no place for a device that the file does not name, unless the error names a key.
pub(crate) fn places(text: &str, plugin: &PluginName, refused: &[(&DeviceName, &str)]) -> Vec<Option<Place>> {
    let file = format!("{plugin}.toml");
    let Ok(document) = Document::parse(&file, text) else { return vec![None; refused.len()] };
    let Ok(top) = document.table_or(&TOP_KEYS, "") else { return vec![None; refused.len()] };
    let shared = top.get("config").and_then(|config| config.any_table().ok());
    let devices: Vec<Table<'_>> = top
        .get("device")
        .and_then(|list| list.list().ok())
        .map_or_else(Vec::new, |items| items.iter().filter_map(|item| item.table(&DEVICE_KEYS).ok()).collect());
    // Counted once, because there may be many devices.
    let line_starts: Vec<usize> = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let place = |value: Value<'_>| {
        let line = line_starts.partition_point(|start| *start <= value.start());
        let column = text.get(line_starts[line - 1]..value.start()).map_or(0, |before| before.chars().count());
        (line, column + 1)
    };
    let find = |(device, error): &(&DeviceName, &str)| {
        let is_its = |name: &Value<'_>| name.text().is_ok_and(|name| name == device.as_str());
        let table = devices.iter().find(|table| table.get("name").as_ref().is_some_and(is_its));
        let own = table.and_then(|table| table.get("config")?.any_table().ok());
        named_keys(error)
            .find_map(|path| {
                let in_table = |table: &Option<Table<'_>>| at_path(table.as_ref()?, path).map(&place);
                in_table(&own).or_else(|| in_table(&shared))
            })
            .or_else(|| {
                let of_job = |table: &Option<Table<'_>>| with_id(table.as_ref()?, job_of(error)?).map(&place);
                of_job(&own).or_else(|| of_job(&shared))
            })
            .or_else(|| table?.get("name").map(&place))
    };
    refused.iter().map(find).collect()
}

/// Returns the texts in backticks of an error, which may be keys of the configuration: `zones[1].minutes`. An error about
/// a job names that first.
fn named_keys(error: &str) -> impl Iterator<Item = &str> {
    let of_job = error.starts_with("job ");
    error.split('`').skip(1).step_by(2).filter(move |_| !of_job)
}

/// Returns the id of the job that an error is about.
fn job_of(error: &str) -> Option<&str> {
    let (before, after) = error.split_once("job `")?;
    if before.is_empty() || before.ends_with("error: ") { after.split('`').next() } else { None }
}

/// Finds the `id` of an entry of a list of the configuration, such as `[[job]]`: a plugin may name its jobs in that way.
fn with_id<'d>(table: &Table<'d>, id: &str) -> Option<Value<'d>> {
    let entries = table.entries().filter_map(|(_, value)| value.list().ok()).flatten();
    let ids = entries.filter_map(|entry| entry.any_table().ok()?.get("id"));
    ids.into_iter().find(|own| own.text().is_ok_and(|own| own == id))
}

/// Finds the value at a path such as `zones[1].minutes`; the part of it that exists, if that is not all.
fn at_path<'d>(table: &Table<'d>, path: &str) -> Option<Value<'d>> {
    let mut steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']'));
    let mut found = table.get(steps.next()?)?;
    for step in steps {
        let next = match step.parse::<usize>() {
            Ok(index) => found.list().ok().and_then(|items| items.into_iter().nth(index)),
            Err(_) => found.any_table().ok().and_then(|table| table.get(step)),
        };
        let Some(next) = next else { break };
        found = next;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Doors\n[config]\nafter = \"10m\"\n\n[[device]]\nname = \"north\"\n\n[[device]]\nname = \"south\"\n\
                        config.after = \"x\"\n\n[[device.config.zones]]\nminutes = 1\n[[device.config.zones]]\nminutes = 2\n\
                        [[device.config.job]]\nid = \"dusk\"\n";

    fn place(text: &str, device: &str, error: &str) -> Option<Place> {
        let device = DeviceName::parse(device).unwrap();
        places(text, &PluginName::parse("doors").unwrap(), &[(&device, error)])[0]
    }

    #[test]
    fn an_error_has_the_place_of_the_key_that_it_names_or_of_the_device() {
        for (device, error, expected) in [
            ("north", "`schedule-jobs` returned an error: config `after`: there is no time `10m`", Some((3, 9))),
            ("south", "`schedule-jobs` returned an error: config `after`: there is no time `x`", Some((10, 16))),
            ("south", "config `zones[1].minutes`: it is too long", Some((15, 11))),
            ("south", "config `zones[1].colour`: it is missing", Some((14, 1))),
            ("north", "config `zones[1].minutes`: it is too long", Some((6, 8))),
            ("north", "`schedule-jobs` ran longer than 500 ms", Some((6, 8))),
            ("south", "job `after`, step 1: it is outside", Some((9, 8))),
            ("south", "job `dusk`: `trigger.text`: no", Some((17, 6))),
            ("south", "`schedule-jobs` returned an error: job `dusk`: it has nothing to do", Some((17, 6))),
            ("north", "job `dusk`: `trigger.text`: no", Some((6, 8))),
            ("west", "config: missing field `colour`", None),
            ("west", "config `after`: no", Some((3, 9))),
        ] {
            assert_eq!(place(TEXT, device, error), expected, "{device}: {error}");
        }
    }

    #[test]
    fn columns_are_characters_and_a_text_that_is_no_settings_has_no_places() {
        assert_eq!(place("config = { a = \"ää\", b = 1 }", "a", "config `b`: no"), Some((1, 26)));
        assert_eq!(place("config = [", "a", "config `b`: no"), None);
        assert_eq!(place("device = 7\n[config]\nb = 1", "a", "config `b`: no"), Some((3, 5)));
    }
}
