//! The choice of a pause that ends by itself, and the button for a rain delay. The script `pause.js` puts the fields of a form
//! into the request of its button.

use maud::{Markup, html};

use super::text::WallTime;

/// How long a pause lasts that begins in the evening and is to be over on the next morning.
const UNTIL_MORNING_MS: i64 = 24 * 3_600_000;

/// Returns the choice of a pause of something: for 24 hours, or until a date and time, with a reason. `path` is its address
/// in the API, `name` its name for users.
pub(super) fn choice(name: &str, path: &str, now: &WallTime) -> Markup {
    let done = format!("{name} is paused.");
    html! {
        details.pause.by-script #pause-for {
            summary.button aria-label={ "Pause " (name) " for a while" } { "Pause for…" }
            form.fields.pause {
                (reason("")) (until(now))
                div.actions {
                    (button(path, &done, ("24 hours", &format!("Pause {name} for 24 hours")), Some("24h")))
                    (button(path, &done, ("Until then", &format!("Pause {name} until that date and time")), None))
                }
            }
        }
    }
}

/// Returns the choice of a rain delay: of which plugin, and for how long.
pub(super) fn rain_delay(plugins: &[String]) -> Markup {
    let path = "/api/v1";
    html! {
        details.pause.by-script #rain-delay {
            summary.button { "Rain delay…" }
            form.fields.pause {
                p { label {
                    "What is paused "
                    select name="plugin" {
                        option value="" { "Everything" }
                        @for plugin in plugins { option { (plugin) } }
                    }
                } }
                (reason("rain"))
                div.actions {
                    @for hours in ["24", "48"] {
                        @let text = format!("{hours} hours");
                        (button(path, &format!("It is paused for {text}."), (&text, &format!("Pause it for {text}")), Some(&format!("{hours}h"))))
                    }
                }
            }
        }
    }
}

fn reason(value: &str) -> Markup {
    html! { p { label { "Why (optional) " input name="reason" value=(value) maxlength="200" autocomplete="off"; } } }
}

/// Returns the field for the end of a pause, by the clock of what is paused: at first a day from now.
fn until(now: &WallTime) -> Markup {
    let later = now.later(UNTIL_MORNING_MS).minute();
    html! {
        p { label {
            "Until, by the clock in " (now.zone()) " "
            input type="datetime-local" name="until" value=(later);
        } }
    }
}

/// Returns a button of a form. `lasts` is how long the pause lasts; without it, the form has its end.
fn button(path: &str, done: &str, (text, name): (&str, &str), lasts: Option<&str>) -> Markup {
    html! {
        button type="button" data-method="POST" data-path={ (path) "/pause" } data-lasts=[lasts] data-done=(done)
            data-undo-method="POST" data-undo-path={ (path) "/resume" } aria-label=(name) { (text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::text::WallTime;

    fn now() -> WallTime {
        WallTime::parse("2027-03-01T18:30:20+00:00", "Europe/London").unwrap()
    }

    #[test]
    fn each_button_names_what_it_pauses_and_how_long() {
        let shown = choice("coop-door/north", "/api/v1/devices/coop-door/north", &now()).into_string();
        assert!(
            shown.contains("aria-label=\"Pause coop-door/north for 24 hours\"") && shown.contains("data-lasts=\"24h\"")
        );
        assert!(shown.contains("data-path=\"/api/v1/devices/coop-door/north/pause\""), "{shown}");
        assert!(
            shown.contains("value=\"2027-03-02T18:30\"") && shown.contains("by the clock in Europe/London"),
            "{shown}"
        );
    }

    #[test]
    fn a_rain_delay_is_of_everything_or_of_a_plugin() {
        let shown = rain_delay(&["sprinkler".to_owned()]).into_string();
        assert!(shown.contains("<option value=\"\">Everything</option><option>sprinkler</option>"), "{shown}");
        assert!(shown.contains("value=\"rain\"") && shown.contains("data-path=\"/api/v1/pause\""), "{shown}");
        assert!(shown.contains("data-lasts=\"24h\"") && shown.contains("data-lasts=\"48h\""), "{shown}");
    }
}
