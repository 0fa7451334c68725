//! What all pages have in common: the head, the menu, and the places for reports.

use maud::{DOCTYPE, Markup, html};

use super::assets;

/// The entry of the menu that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Current {
    Tonight,
    History,
    Devices,
    Plugins,
    None,
}

/// The menu, at the bottom of a phone and at the top of a desktop: addresses and names. There is room for four.
const MENU: &[(Current, &str, &str)] = &[
    (Current::Tonight, "/", "Tonight"),
    (Current::History, "/runs", "History"),
    (Current::Devices, "/devices", "Devices"),
    (Current::Plugins, "/plugins", "Plugins"),
];

/// Returns a whole page.
pub(super) fn frame(title: &str, current: Current, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, &html! { script type="module" src=(assets::address("page.js")) {} }))
            body {
                a.skip-link href="#main" { "Skip to the content" }
                (menu(current))
                div #away .banner.bad hidden {
                    "The host does not answer. What you see is as of " span #as-of {} "; buttons and links work again when it is back."
                }
                p #report .banner role="status" {}
                noscript { p.banner { "Buttons and live updates need JavaScript. Everything can be read without it." } }
                main #main tabindex="-1" { (main) }
                dialog #ask aria-labelledby="question" {
                    form method="dialog" {
                        p #question {}
                        div.actions { button value="yes" {} button.main value="" autofocus { "Cancel" } }
                    }
                }
                dialog #why aria-labelledby="why-title" {
                    div.content {}
                    div.actions { button type="button" { "Close" } }
                }
            }
        }
    }
}

/// Returns the head of a page, with its scripts.
pub(super) fn head(title: &str, scripts: &Markup) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
            title { (title) " – Roost" }
            link rel="icon" href="data:,";
            link rel="stylesheet" href=(assets::address("page.css"));
            (scripts)
        }
    }
}

fn menu(current: Current) -> Markup {
    html! {
        nav.menu aria-label="Pages" {
            @for (entry, address, name) in MENU {
                a href=(address) aria-current=[(*entry == current).then_some("page")] { (name) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_marks_the_page_that_is_shown() {
        let page = frame("Tonight", Current::Tonight, &html! {}).into_string();
        assert_eq!(page.matches("aria-current").count(), 1, "{page}");
        assert!(page.contains("<a href=\"/\" aria-current=\"page\">Tonight</a>"), "{page}");
        assert!(!frame("Why?", Current::None, &html! {}).into_string().contains("aria-current"));
    }
}
