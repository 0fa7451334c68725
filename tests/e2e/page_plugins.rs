//! The pages of plugins, in a real browser: a file is checked before it is installed, and settings before they are saved.

use std::{fs, path::Path};

use roost_tests::{
    Broker, Chromium, Roost, Site, guest,
    http::{ask, get},
};

use crate::job;

/// Starts a host, and a browser the size of a phone at one of its pages.
fn opened(path: &str, site: &Site) -> (Broker, Roost, Chromium) {
    let broker = Broker::new();
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let mut browser = Chromium::start(site.path());
    browser.resize(360, 740);
    browser.open(&format!("http://{}{path}", host.address()));
    (broker, host, browser)
}

fn close_at(cron: &str) -> String {
    job("close", &format!("cron = \"{cron}\""), "declared/set")
}

/// Returns the number of buttons that would change what is in the folder.
fn changing_buttons(browser: &mut Chromium) -> i64 {
    browser.eval("document.querySelectorAll('main button[data-method=PUT]').length").as_i64().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_dropped_file_shows_its_times_before_it_is_installed_and_can_be_rolled_back() {
    let site = Site::new();
    site.settings("declared", &close_at("30 22 * * *"));
    let first = fs::read(guest("declared")).unwrap();
    // The same with an empty custom section.
    let second = [&first[..], &[0, 2, 1, b'x']].concat();
    let (_broker, host, mut browser) = opened("/plugins", &site);
    browser.wait_for("There are no plugins.");

    browser.drop(&guest("declared"));
    browser.wait_for("What declared would change");
    browser.wait_for("1 job new, 0 changed, 0 gone, 0 unchanged.");
    for text in ["declared/set ← close", "not sent", "22:30", "⊕ new", "It may publish to declared/#"] {
        browser.wait_for(text);
    }
    assert_eq!(ask(&host.address(), "GET", "/api/v1/plugins/declared", "", "").0, 404);
    assert_eq!(names(&site.path().join("plugins")), ["declared.toml"], "nothing was installed");
    browser.click("button", "Install declared");
    browser.wait_for("declared is installed, and is being loaded.");
    browser.wait_for("● runs");
    assert_eq!(fs::read(site.plugin("declared.wasm")).unwrap(), first);

    fs::write(site.path().join("declared.wasm"), &second).unwrap();
    browser.choose("Plugin file", &site.path().join("declared.wasm"));
    browser.wait_for("The same messages would be sent until");
    assert_eq!(fs::read(site.plugin("declared.wasm")).unwrap(), first);
    browser.click("button", "Replace declared");
    browser.click("button", "Roll back declared");
    browser.wait_for("declared is rolled back, and is being loaded.");
    assert_eq!(fs::read(site.plugin("declared.wasm")).unwrap(), first);
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 360, "nothing is wider than the screen");
    assert!(host.stop().success());
}

#[test]
fn a_file_that_would_be_refused_cannot_be_installed() {
    let site = Site::new();
    site.settings("declared", &close_at("30 22 * * *"));
    site.drop_in(&guest("declared"), "declared");
    let (_broker, host, mut browser) = opened("/plugins", &site);
    browser.wait_for("● runs");
    let before = get(&host.address(), "/api/v1/plugins/declared")["component"].clone();
    let [text, empty, garbage, trap] =
        ["notes.txt", "empty.wasm", "garbage.wasm", "declared.wasm"].map(|name| site.path().join(name));
    fs::write(&text, "a").unwrap();
    fs::write(&empty, "").unwrap();
    fs::write(&garbage, "not a plugin").unwrap();
    fs::copy(guest("traps"), &trap).unwrap();
    for (file, says) in [
        (&text, "notes.txt is not a plugin: choose a file that ends in .wasm."),
        (&empty, "empty.wasm is empty: build or copy it again."),
        (&garbage, "it is not a WebAssembly component"),
        (&trap, "declared cannot be installed"),
    ] {
        browser.choose("Plugin file", file);
        browser.wait_for(says);
        assert_eq!(changing_buttons(&mut browser), 0, "{says}");
    }
    browser.wait_for("the door is jammed");
    assert_eq!(get(&host.address(), "/api/v1/plugins/declared")["component"], before);
    assert_eq!(fs::read(site.plugin("declared.wasm")).unwrap(), fs::read(guest("declared")).unwrap());
    assert!(host.stop().success());
}

#[test]
fn a_plugin_is_paused_where_its_log_is_shown_and_an_unknown_one_is_a_page() {
    let site = Site::new();
    site.settings("declared", &close_at("30 22 * * *"));
    site.drop_in(&guest("declared"), "declared");
    let (_broker, host, mut browser) = opened("/plugins", &site);
    browser.click("link", "declared");
    for text in ["It may publish to declared/#", "of 256 MiB", "declared loaded"] {
        browser.wait_for(text);
    }
    browser.click("button", "Pause declared");
    browser.wait_for("◌ paused");
    browser.wait_for_role("button", "Resume declared");
    browser.click("link", "The whole log of declared");
    browser.wait_for("Log of declared");
    browser.wait_for("declared loaded");
    // A new line comes by itself.
    site.drop_in(&guest("traps"), "declared");
    browser.wait_for("the door is jammed");
    assert_eq!(browser.complaints(), [] as [String; 0]);
    browser.open(&format!("http://{}/plugins/unknown", host.address()));
    browser.wait_for("there is no plugin `unknown`");
    assert!(host.stop().success());
}

#[test]
fn settings_are_checked_then_saved_as_they_are_and_a_change_on_disk_is_noticed() {
    let site = Site::new();
    site.settings("declared", &close_at("30 22 * * *"));
    site.drop_in(&guest("declared"), "declared");
    let (_broker, host, mut browser) = opened("/plugins", &site);
    browser.wait_for("● runs");
    browser.open(&format!("http://{}/plugins/declared/settings", host.address()));
    let label = "plugins/declared.toml";

    browser.fill(label, "\n[confg]\n");
    browser.click("button", "Check");
    browser.wait_for("Line 2: ");
    browser.wait_for("did you mean `config`?");
    assert_eq!(changing_buttons(&mut browser), 0);
    assert_eq!(browser.eval("document.activeElement.id"), "text", "the focus is at the error");

    let later = format!("# Ten minutes later.\n{}", close_at("40 22 * * *"));
    browser.fill(label, &later);
    browser.click("button", "Check");
    browser.wait_for("What the settings would change");
    browser.wait_for("0 jobs new, 1 changed, 0 gone, 0 unchanged.");
    let row = browser.eval("document.querySelector('table.changes tbody tr').innerText");
    let row = row.as_str().unwrap();
    assert!(row.find("22:30") < row.find("→ 22:40") && row.contains("22:30"), "{row}");
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), close_at("30 22 * * *"));
    browser.click("button", "Save the settings of declared");
    browser.wait_for("The settings of declared are saved, and are being loaded.");
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), later);

    // By another hand.
    let other = format!("{later}# mine\n");
    site.settings("declared", &other);
    browser.fill(label, &format!("{later}# yours\n"));
    browser.click("button", "Check");
    browser.wait_for("The file was changed on disk");
    assert_eq!(changing_buttons(&mut browser), 0);
    browser.click("link", "Load the file");
    browser.until("the file to be loaded", |browser| {
        (browser.eval("document.getElementById('text')?.value") == other.as_str()).then_some(())
    });
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), other);
    assert!(host.stop().success());
}

/// Returns a device with one job, as TOML.
fn device(name: &str, topic: &str) -> String {
    format!(
        "[[device]]\nname = \"{name}\"\n[[device.config.jobs]]\nid = \"close\"\ntrigger = {{ cron = \"30 22 * * *\" }}\n\
         steps = [{{ topic = \"{topic}\", payload = \"close\" }}]\n"
    )
}

#[test]
fn settings_that_spoil_a_plan_are_saved_only_by_a_button_that_says_what_goes_on() {
    let site = Site::new();
    let good = [device("north", "declared/north"), device("south", "declared/south")].concat();
    site.settings("declared", &good);
    site.drop_in(&guest("declared"), "declared");
    let (_broker, host, mut browser) = opened("/plugins", &site);
    browser.wait_for("● runs");
    browser.open(&format!("http://{}/plugins/declared/settings", host.address()));
    let spoilt = [device("north", "declared/north"), device("south", "elsewhere"), device("west", "other")].concat();
    browser.fill("plugins/declared.toml", &spoilt);
    browser.click("button", "Check");
    browser.wait_for("The plan of south is refused: job `close`, step 1: `topic` `elsewhere`");
    browser.wait_for("Its earlier plan goes on.");
    browser.wait_for("It has no earlier plan: nothing is sent for it.");
    browser.click("button", "Show line 8, of south");
    let selected = "(() => { const { value, selectionStart, selectionEnd } = document.getElementById('text'); \
                    return value.slice(selectionStart, selectionEnd); })()";
    assert_eq!(browser.eval(selected), "name = \"south\"");
    assert_eq!(changing_buttons(&mut browser), 1, "there is no button that saves without naming what goes on");
    browser.click(
        "button",
        "Save all the same: south keeps its earlier plan, west has no plan (the settings of declared)",
    );
    browser.wait_for("The settings of declared are saved, and are being loaded.");
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), spoilt);

    browser.open(&format!("http://{}/", host.address()));
    browser.wait_for("Of these, 1 has no earlier plan: nothing is sent for it. The earlier plans of the others go on.");
    browser.click("link", "declared/west");
    browser.wait_for("It has no earlier plan: nothing is sent for it.");
    browser.click("link", "Settings of declared");
    browser.wait_for_role("textbox", "plugins/declared.toml");
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert!(host.stop().success());
}
