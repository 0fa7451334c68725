//! The tasks of a plugin at one of its devices: a form for each, made from the JSON Schema of its arguments.

use axum::extract::{Path, State};
use maud::{Markup, html};
use roost_scheduler::names::{DeviceName, PluginName};
use serde_json::{Map, Value};

use super::{
    Failed, Html,
    frame::{Current, frame},
    plugin::parse,
    text,
};
use crate::http::{ApiState, Problem, TaskDescriptionRecord, find_device, plugin_tasks};

/// Returns the link to the tasks of a device. The host's own have none.
pub(super) fn link(plugin: &str, device: &str) -> Markup {
    html! {
        @if plugin != PluginName::host().as_str() {
            p { a href={ "/devices/" (plugin) "/" (device) "/tasks" } { "Tasks of " (plugin) "/" (device) } }
        }
    }
}

pub(super) async fn tasks(
    State(state): State<ApiState>,
    Path((plugin, device)): Path<(String, String)>,
) -> Result<Html, Failed> {
    let name = parse(&plugin)?;
    let of = DeviceName::parse(&device).map_err(|error| Problem::not_found(error.to_string()))?;
    find_device(&state, (name.clone(), of)).await?;
    let tasks = plugin_tasks(&state, name).await;
    let title = format!("Tasks of {plugin}/{device}");
    let page = html! {
        h1 { (title) }
        @match &tasks {
            None => p { "The plugin does not list its tasks now. Load this page again in a moment." },
            Some(tasks) if tasks.is_empty() => p { "This plugin has no tasks." },
            Some(tasks) => div #tasks data-keep { @for task in tasks { (form(&plugin, &device, task)) } },
        }
    };
    Ok(Html(frame(&title, Current::None, &page)))
}

/// Shows the form of a task. Its button makes a job that calls the task at once.
fn form(plugin: &str, device: &str, task: &TaskDescriptionRecord) -> Markup {
    let TaskDescriptionRecord { task: name, summary, args_schema } = task;
    let whole = format!("{plugin}/{device}/{name}");
    html! {
        form.fields.task data-plugin=(plugin) data-device=(device) data-task=(name) aria-labelledby={ "task-" (name) } {
            h2 id={ "task-" (name) } { (name) }
            p { (text::line(summary)) }
            p.soft { (need(args_schema.as_ref())) }
            (fields(name, args_schema.as_ref()))
            p.result role="status" {}
            div.actions {
                button.main type="button" data-method="POST" data-path="/api/v1/jobs" data-done={ (whole) " is called." }
                    aria-label={ "Call " (whole) } { "Call" }
            }
        }
    }
}

/// Says which arguments a task needs, as far as its schema does.
fn need(schema: Option<&Value>) -> String {
    let required = schema.and_then(|schema| schema.get("required")?.as_array());
    let names: Vec<String> = required.into_iter().flatten().filter_map(Value::as_str).map(text::line).collect();
    let has_properties =
        |schema: &Value| schema.get("properties").and_then(Value::as_object).is_some_and(|all| !all.is_empty());
    match schema {
        Some(_) if !names.is_empty() => format!("It needs {}.", names.join(", ")),
        Some(schema) if takes_none(schema) => "It needs no arguments.".to_owned(),
        Some(schema) if has_properties(schema) => "It needs no arguments: all are optional.".to_owned(),
        _ => "Its plugin does not say whether it needs arguments.".to_owned(),
    }
}

/// Checks whether a schema allows no argument.
fn takes_none(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.is_none_or(Map::is_empty) && schema.get("additionalProperties") == Some(&Value::Bool(false))
}

/// Shows a field for each argument, or one for all of them if the schema does not name them.
fn fields(task: &str, schema: Option<&Value>) -> Markup {
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object()).filter(|all| !all.is_empty());
    let required = schema.and_then(|schema| schema.get("required")?.as_array());
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
    html! {
        @match properties {
            Some(properties) => @for (name, schema) in properties {
                (field(&Field { id: format!("{task}-{name}"), name, schema, is_required: is_required(name) }))
            },
            None if schema.is_some_and(takes_none) => {}
            None => p {
                label for={ (task) "-args" } { "Arguments, as JSON (may be empty)" }
                textarea id={ (task) "-args" } data-kind="json" rows="3" spellcheck="false" {}
            },
        }
    }
}

/// An argument of a task.
struct Field<'a> {
    id: String,
    name: &'a str,
    schema: &'a Value,
    is_required: bool,
}

/// How an argument is typed in, and what becomes of the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Number {
        is_whole: bool,
    },
    Text,
    /// A text, unless it reads as one of the other types that are allowed.
    TextOrJson,
    Json,
}

impl Kind {
    fn of(schema: &Value) -> Self {
        match schema.get("type") {
            Some(Value::String(one)) => match one.as_str() {
                "boolean" => Self::Boolean,
                "integer" => Self::Number { is_whole: true },
                "number" => Self::Number { is_whole: false },
                "string" => Self::Text,
                _ => Self::Json,
            },
            Some(Value::Array(several)) if several.iter().any(|one| one == "string") => Self::TextOrJson,
            _ => Self::Json,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Number { .. } => "number",
            Self::Text => "text",
            Self::TextOrJson => "text-or-json",
            Self::Json => "json",
        }
    }
}

fn field(field: &Field<'_>) -> Markup {
    let Field { id, name, schema, is_required } = field;
    let word = |key: &str| schema.get(key).and_then(Value::as_str);
    let help = word("description").map(|_| format!("{id}-help"));
    let label = html! {
        (text::line(word("title").unwrap_or(name))) @if !is_required && Kind::of(schema) != Kind::Boolean { " (optional)" }
    };
    html! {
        p {
            @if Kind::of(schema) == Kind::Boolean { label { (control(field, help.as_deref())) " " (label) } }
            @else { label for=(id) { (label) } (control(field, help.as_deref())) }
            @if let Some(description) = word("description") { span.soft id=[help.as_deref()] { (text::line(description)) } }
        }
    }
}

fn control(Field { id, name, schema, is_required }: &Field<'_>, help: Option<&str>) -> Markup {
    let kind = Kind::of(schema);
    let bound = |key: &str| schema.get(key).filter(|bound| bound.is_number()).map(ToString::to_string);
    let default = schema.get("default");
    let written = default.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let (word, required) = (kind.word(), *is_required);
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return html! {
            select id=(id) data-name=(name) data-kind="json" required[required] aria-describedby=[help] {
                @if !required && default.is_none() { option value="" { "" } }
                @for value in values {
                    option value=(value) selected[default == Some(value)] {
                        (text::line(value.as_str().unwrap_or(&value.to_string())))
                    }
                }
            }
        };
    }
    match kind {
        Kind::Boolean => html! {
            input type="checkbox" id=(id) data-name=(name) data-kind=(word) checked[default == Some(&Value::Bool(true))]
                aria-describedby=[help];
        },
        Kind::Number { is_whole } => html! {
            input type="number" id=(id) data-name=(name) data-kind=(word) step=(if is_whole { "1" } else { "any" })
                min=[bound("minimum")] max=[bound("maximum")] value=[written] required[required] aria-describedby=[help];
        },
        Kind::Text | Kind::TextOrJson => html! {
            input id=(id) data-name=(name) data-kind=(word) minlength=[bound("minLength")] maxlength=[bound("maxLength")]
                value=[written] required[required] autocapitalize="none" autocomplete="off" aria-describedby=[help];
        },
        Kind::Json => html! {
            textarea id=(id) data-name=(name) data-kind=(word) rows="3" spellcheck="false" required[required]
                aria-describedby=[help] { (default.map(ToString::to_string).unwrap_or_default()) }
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(schema: Value) -> String {
        let task =
            TaskDescriptionRecord { task: "water".into(), summary: "Water <b>".into(), args_schema: Some(schema) };
        form("sprinkler", "garden", &task).into_string()
    }

    #[test]
    fn each_type_has_its_field_with_its_bounds() {
        let page = shown(json!({
            "type": "object",
            "properties": {
                "zone": { "type": ["integer", "string"], "title": "Zone <i>", "description": "its \u{202e}name" },
                "minutes": { "type": "number", "minimum": 0.1, "maximum": 240, "default": 5 },
                "times": { "type": "integer" },
                "quietly": { "type": "boolean", "default": true },
                "where": { "enum": ["lawn", 2], "default": 2 },
                "note": { "type": "string", "maxLength": 40 },
                "points": { "type": "array", "default": [1] },
            },
            "required": ["zone", "minutes"],
        }));
        for part in [
            "Water &lt;b&gt;",
            "<label for=\"water-zone\">Zone &lt;i&gt;</label><input id=\"water-zone\" data-name=\"zone\" data-kind=\"text-or-json\" required",
            "<span class=\"soft\" id=\"water-zone-help\">its \\u{202e}name</span>",
            "type=\"number\" id=\"water-minutes\" data-name=\"minutes\" data-kind=\"number\" step=\"any\" min=\"0.1\" max=\"240\" value=\"5\" required",
            "step=\"1\"",
            "<input type=\"checkbox\" id=\"water-quietly\" data-name=\"quietly\" data-kind=\"boolean\" checked> quietly</label>",
            "<option value=\"&quot;lawn&quot;\">lawn</option><option value=\"2\" selected>2</option>",
            "maxlength=\"40\"",
            ">[1]</textarea>",
            "aria-label=\"Call sprinkler/garden/water\"",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert_eq!(page.matches("(optional)").count(), 4, "{page}");
    }

    #[test]
    fn each_form_says_whether_arguments_are_needed() {
        let optional = json!({ "properties": { "minutes": { "type": "number" } } });
        let none = json!({ "type": "object", "additionalProperties": false });
        for (schema, expected) in [
            (json!({ "properties": { "zone": {} }, "required": ["zone"] }), "It needs zone."),
            (optional, "It needs no arguments: all are optional."),
            (none.clone(), "It needs no arguments."),
            (json!(true), "Its plugin does not say whether it needs arguments."),
        ] {
            assert!(shown(schema).contains(expected), "{expected}");
        }
        assert!(!shown(none).contains("textarea"));
        assert!(need(None).starts_with("Its plugin does not say"));
    }

    #[test]
    fn arguments_without_names_are_one_text() {
        for schema in [json!(true), json!({ "type": "object" }), json!({ "properties": {} })] {
            let page = shown(schema);
            assert!(
                page.contains("<textarea id=\"water-args\" data-kind=\"json\"") && !page.contains("data-name"),
                "{page}"
            );
        }
    }
}
