//! The pages of plugins, in a real browser: a file is checked before it is installed, and settings before they are saved.

use std::{fs, path::Path};

use roost_tests::{
    Broker, Chromium, Roost, Site, guest,
    http::{ask, get},
};

use crate::{hour_ahead, job};

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
    let (site, hour) = (Site::new(), hour_ahead());
    let (half_past, later) = (format!("30 {hour} * * *"), format!("40 {hour} * * *"));
    site.settings("declared", &close_at(&half_past));
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

    let later = format!("# Ten minutes later.\n{}", close_at(&later));
    browser.fill(label, &later);
    browser.click("button", "Check");
    browser.wait_for("What the settings would change");
    browser.wait_for("0 jobs new, 1 changed, 0 gone, 0 unchanged.");
    let row = browser.eval("document.querySelector('table.changes tbody tr').innerText");
    let row = row.as_str().unwrap();
    let (before, after) = (row.find(&format!("{hour:02}:30")), row.find(&format!("→ {hour:02}:40")));
    assert!(before.is_some() && before < after, "{row}");
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), close_at(&half_past));
    browser.click("button", "Save the settings of declared");
    browser.wait_for("The settings of declared are saved, and are being loaded.");
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), later);

    assert_eq!(browser.dialogs(), [] as [String; 0]);
    assert!(host.stop().success());
}

/// Starts a host with one job, and a browser at the settings of its plugin.
fn at_settings(site: &Site, text: &str) -> (Broker, Roost, Chromium) {
    site.settings("declared", text);
    site.drop_in(&guest("declared"), "declared");
    let (broker, host, mut browser) = opened("/plugins", site);
    browser.wait_for("● runs");
    browser.open(&format!("http://{}/plugins/declared/settings", host.address()));
    (broker, host, browser)
}

const SETTINGS: &str = "plugins/declared.toml";
const CHECK_WHILE_THE_PAGE_IS_SWAPPED: &str = "document.querySelector('#settings form').requestSubmit();
    document.getElementById('file').dataset.tag = 'changed';
    document.dispatchEvent(new Event('swapped'))";
const TEXT: &str = "document.getElementById('text')?.value";

#[test]
fn a_change_by_another_hand_is_shown_and_ones_own_text_can_be_kept() {
    let site = Site::new();
    let text = close_at("30 22 * * *");
    let (_broker, host, mut browser) = at_settings(&site, &text);
    let mine = format!("# yours\n{}", close_at("40 22 * * *"));
    browser.fill(SETTINGS, &mine);
    let theirs = format!("# mine\n{}", close_at("50 22 * * *"));
    site.settings("declared", &theirs);
    // It is loaded, which the page follows.
    browser.wait_for("The file was changed meanwhile. Check shows how it differs from your text.");
    assert_eq!(browser.eval(TEXT), mine.as_str());

    browser.click("button", "Check");
    for line in ["− # mine", "+ # yours", "another program has changed it. Nothing was written."] {
        browser.wait_for(line);
    }
    assert_eq!((changing_buttons(&mut browser), browser.eval(TEXT)), (0, mine.as_str().into()));
    browser.click("button", "Keep my text of the settings of declared");
    browser.wait_for("What the settings would change");
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), theirs);
    browser.click("button", "Save the settings of declared");
    browser.wait_for("The settings of declared are saved, and are being loaded.");
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), mine);

    // Without a change of the version, nothing is reported before the check; and none hides the answer of a check that
    // is under way.
    let other = format!("{mine}# theirs\n");
    site.settings("declared", &other);
    browser.eval(CHECK_WHILE_THE_PAGE_IS_SWAPPED);
    browser.wait_for("− # theirs");
    browser.click("link", "Load the file of declared");
    browser.until("the file to be loaded", |browser| (browser.eval(TEXT) == other.as_str()).then_some(()));
    assert_eq!(browser.dialogs(), [] as [String; 0], "the text was that of the file as it was loaded");
    assert!(host.stop().success());
}

#[test]
fn a_text_that_is_not_saved_is_left_only_after_a_question() {
    let site = Site::new();
    let (_broker, host, mut browser) = at_settings(&site, &close_at("30 22 * * *"));
    browser.click("link", "declared");
    browser.wait_for("Limits of a call");
    browser.click("link", "Settings of declared");
    browser.wait_for_role("textbox", SETTINGS);
    assert_eq!(browser.dialogs(), [] as [String; 0], "nothing was changed");

    let text = close_at("40 22 * * *");
    browser.fill(SETTINGS, &text);
    browser.accept_dialogs(false);
    browser.click("link", "Tonight");
    browser.until("a question", |browser| (browser.eval("1") == 1 && !browser.dialogs().is_empty()).then_some(()));
    assert_eq!((browser.eval(TEXT), browser.dialogs().len()), (text.as_str().into(), 1), "the page was not left");
    browser.click("button", "Check");
    browser.click("button", "Save the settings of declared");
    browser.wait_for("The settings of declared are saved, and are being loaded.");
    browser.click("link", "Tonight");
    browser.wait_for("What will be sent");
    assert_eq!(browser.dialogs(), ["beforeunload"]);
    assert!(host.stop().success());
}

#[test]
fn settings_are_fetched_again_when_their_plugin_changes_and_not_with_each_run() {
    let site = Site::new();
    let often = job("often", "every_ms = 1000", "declared/set");
    let (_broker, host, mut browser) = at_settings(&site, &often);
    let requests = |browser: &mut Chromium| {
        let own = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/settings')).length";
        browser.eval(own).as_i64().unwrap()
    };
    // Once when the stream is open.
    browser.until("the stream", |browser| (requests(browser) == 1).then_some(()));
    let typed = format!("# typed\n{often}");
    browser.fill(SETTINGS, &typed);
    let runs = |host: &Roost| get(&host.address(), "/api/v1/runs?limit=100")["items"].as_array().unwrap().len();
    let begun = runs(&host);
    browser.until("three runs", |_| (runs(&host) > begun + 2).then_some(()));
    assert_eq!(requests(&mut browser), 1);
    site.settings("declared", &job("often", "every_ms = 2000", "declared/set"));
    browser.wait_for("The file was changed meanwhile.");
    assert!(requests(&mut browser) > 1);
    assert_eq!(browser.eval(TEXT), typed.as_str(), "what was typed is still there");
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
    browser.click("button", "Show line 10, of south");
    let selected = "(() => { const { value, selectionStart, selectionEnd } = document.getElementById('text'); \
                    return value.slice(selectionStart, selectionEnd); })()";
    assert_eq!(browser.eval(selected), "id = \"close\"", "the line of the job");
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
