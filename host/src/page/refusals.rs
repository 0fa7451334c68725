//! What goes on where a new plan is refused, and the way to mend it.

use maud::{Markup, html};

use super::text;

/// Says what goes on of a device whose newest plan was refused: of an earlier plan there are jobs.
pub(super) const fn goes_on(has_jobs: bool) -> &'static str {
    if has_jobs { "Its earlier plan goes on." } else { "It has no earlier plan: nothing is sent for it." }
}

/// Says what goes on of several devices whose newest plans were refused; `without` of them have no earlier plan.
pub(super) fn all_go_on(count: usize, without: usize) -> String {
    match without {
        0 if count == 1 => goes_on(true).to_owned(),
        0 => "Their earlier plans go on.".to_owned(),
        _ if count == 1 => goes_on(false).to_owned(),
        _ if without == count => "They have no earlier plans: nothing is sent for them.".to_owned(),
        1 => "The earlier plans go on; one of them has none: nothing is sent for it.".to_owned(),
        _ => {
            format!("The earlier plans go on; {} of them have none: nothing is sent for these.", text::grouped(without))
        }
    }
}

/// Leads to the settings of a plugin.
pub(super) fn settings(plugin: &str) -> Markup {
    html! { a.button href={ "/plugins/" (plugin) "/settings" } { "Settings of " (plugin) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_a_sentence_for_one_and_for_many() {
        for (count, without, expected) in [
            (1, 0, "Its earlier plan goes on."),
            (1, 1, "It has no earlier plan: nothing is sent for it."),
            (2, 0, "Their earlier plans go on."),
            (2, 2, "They have no earlier plans: nothing is sent for them."),
            (2, 1, "The earlier plans go on; one of them has none: nothing is sent for it."),
            (5_000, 1_200, "The earlier plans go on; 1,200 of them have none: nothing is sent for these."),
        ] {
            assert_eq!(all_go_on(count, without), expected);
        }
    }
}
