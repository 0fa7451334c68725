//! One plugin in detail, as text.

use std::fmt::Write as _;

use super::{memory, state};
use crate::{
    cli::table::{Times, local, table},
    clock,
    http::{DeviceRecord, PluginRecord},
    report::{in_one_line, printable},
};

/// Formats a plugin, a line for each property, followed by a table of its devices that fits
/// `width`.
pub(super) fn describe(plugin: &PluginRecord, devices: &[DeviceRecord], width: Option<usize>) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<10}{}", printable(value).replace('\n', "\n            "));
    };
    line("plugin", &plugin.plugin);
    let since = plugin.since.as_deref().map(|since| format!(", since {}", local(since))).unwrap_or_default();
    let loading = if plugin.loading { ", loading another version" } else { "" };
    line("state", &format!("{}{since}{loading}", state(plugin)));
    if let Some(error) = &plugin.error {
        let causes = error.causes.iter().map(|cause| format!("\ncaused by: {cause}"));
        let hint = error.hint.as_deref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        line("error", &format!("{}, at {}{}{hint}", error.what, local(&error.at), causes.collect::<String>()));
    }
    if let Some(component) = &plugin.component {
        line("version", component);
    }
    if let Some(settings) = &plugin.settings {
        line("settings", settings);
    }
    if let Some(previous) = &plugin.previous {
        line("previous", &format!("{previous} (restore it with `roost rollback {}`)", plugin.plugin));
    }
    if let Some(grant) = &plugin.grant {
        line("publishes", &grant.publish.join(" "));
        if grant.max_qos < 2 {
            line("qos", &format!("at most {}", grant.max_qos));
        }
        if !grant.retain {
            line("retained", "not allowed");
        }
        line("reads", &grant.subscribe.join(" "));
    }
    if let Some(usage) = &plugin.used {
        line(
            "calls",
            &format!("{}, {} failed, {} of these trapped or stopped", usage.calls, usage.failed, usage.traps),
        );
        let ms = |ms: Option<u64>| ms.map_or("none".into(), |ms| format!("{ms} ms"));
        let of = plugin.limits.as_ref().map(|limits| format!(", of {} ms", limits.wall_ms)).unwrap_or_default();
        line("plan", &format!("last {}, longest {}{of}", ms(usage.plan_ms), ms(usage.longest_plan_ms)));
        let of = plugin.limits.as_ref().map(|limits| format!(", of {} MiB", limits.memory_mib)).unwrap_or_default();
        line("memory", &format!("at most {}{of}", memory(usage.memory_bytes)));
    }
    for task in plugin.tasks.iter().flatten() {
        let args = task.args_schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
        let args: Vec<_> = args.into_iter().flatten().map(|(name, _)| format!("`{name}`")).collect();
        let args = if args.is_empty() { String::new() } else { format!(" (args: {})", args.join(", ")) };
        line("task", &format!("{}: {}{args}", task.task, task.summary));
    }
    line("jobs", &plugin.jobs.to_string());
    let times = Times::new(devices.iter().filter_map(|device| device.replan_at.as_deref()), clock::now());
    let rows: Vec<_> = devices.iter().map(|device| device_row(device, &times)).collect();
    if !rows.is_empty() {
        text.push('\n');
        let head = ["DEVICE", "JOBS", "TIME ZONE", &times.heading("NEXT PLAN"), "FAULT"];
        text.push_str(&table(head, &rows, width));
    }
    for device in devices {
        // An error of several lines follows the table, so that it can be copied.
        if let Some(error) = device.error.as_deref().filter(|error| error.contains('\n')) {
            let _ = writeln!(text, "\n{}: {}", device.device, printable(error).replace('\n', "\n  "));
        }
    }
    text
}

fn device_row(device: &DeviceRecord, times: &Times) -> [String; 5] {
    let plan = match (&device.replan_at, device.planning) {
        (_, true) => "now".into(),
        (Some(at), false) => times.format(at),
        (None, false) => "none".into(),
    };
    let own = device.pause.as_ref().filter(|pause| pause.by == "device");
    let paused = own.map(|pause| format!(", {}", pause.in_words(clock::now(), |at| times.format(at)).0));
    let paused = paused.unwrap_or_else(|| if device.paused { ", paused".into() } else { String::new() });
    [
        format!("{}{paused}", device.device),
        device.jobs.to_string(),
        device.time_zone.clone(),
        plan,
        device.error.as_deref().and_then(|error| error.lines().next()).map(in_one_line).unwrap_or_default(),
    ]
}
