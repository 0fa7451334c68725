//! What goes on where a new plan is refused, and the way to mend it.

use maud::{Markup, html};

use super::text;

/// Says what goes on where new ones of a thing, plans or versions, were refused; `without` of them have no earlier one.
pub(super) fn goes_on(thing: &str, count: usize, without: usize) -> String {
    match (count, without) {
        (1, 0) => format!("Its earlier {thing} goes on."),
        (1, _) => format!("It has no earlier {thing}: nothing is sent for it."),
        (_, 0) => format!("Their earlier {thing}s go on."),
        _ if without == count => format!("They have no earlier {thing}s: nothing is sent for them."),
        _ => {
            let (have, them) = if without == 1 { ("has", "it") } else { ("have", "them") };
            let without = text::grouped(without);
            format!(
                "Of these, {without} {have} no earlier {thing}: nothing is sent for {them}. The earlier {thing}s of the \
                 others go on."
            )
        }
    }
}

/// Says what goes on of a device whose newest plan was refused; of an earlier plan there are jobs.
pub(super) fn of_device(jobs: usize) -> String {
    goes_on("plan", 1, usize::from(jobs == 0))
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
            (2, 1, "Of these, 1 has no earlier plan: nothing is sent for it. The earlier plans of the others go on."),
            (
                5_000,
                1_200,
                "Of these, 1,200 have no earlier plan: nothing is sent for them. The earlier plans of the others go on.",
            ),
        ] {
            assert_eq!(goes_on("plan", count, without), expected);
        }
    }
}
