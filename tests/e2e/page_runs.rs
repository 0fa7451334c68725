//! The pages of the history, of one run and of one job, in a real browser.

use std::fs;

use roost_tests::{Broker, Chromium, Listener, Roost, Site, guest, http::text, root, sample};

const JOB: &str = "valve/valve/water";

/// Starts a host with a valve that is opened once a day and closed an hour later, and a browser the size of a phone.
fn valve() -> (Broker, Site, Roost, Listener, Chromium, String) {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let job = "[[config.jobs]]\nid = \"water\"\nlabel = \"Water the <lawn>\"\ntrigger = { cron = \"30 22 * * *\" }\n\
               steps = [{ topic = \"valve/set\", payload = \"ON\" }, { topic = \"valve/set\", payload = \"OFF\", after_ms = 3600000 }]\n";
    site.settings("valve", job);
    site.drop_in(&guest("declared"), "valve");
    let host = site.start(&broker);
    host.wait_for_log("jobs of `valve`: ");
    let mut browser = Chromium::start(site.path());
    browser.resize(360, 740);
    let address = format!("http://{}", host.address());
    (broker, site, host, listener, browser, address)
}

/// Runs the job, waits until its first message has been sent, and returns the name of the run.
fn run(site: &Site, listener: &Listener) -> String {
    site.roost(&["run-now", JOB]);
    listener.wait_for("valve/set");
    text(&site.runs(&["--state", "running"])[0], "run").to_owned()
}

#[test]
fn a_run_shows_what_it_owes_and_is_abandoned_after_a_question() {
    let (_broker, site, host, listener, mut browser, address) = valve();
    let name = run(&site, &listener);
    browser.open(&format!("{address}/runs"));
    let link = browser.eval("document.querySelector('main ul.rows a').getAttribute('aria-label')");
    browser.click("link", link.as_str().unwrap());
    browser.wait_for("● sent");
    browser.wait_for("◐ owed");
    browser.wait_for("Made by\nhand");
    browser.click("button", &format!("Abandon {name}"));
    browser.wait_for_role("dialog", &format!("Abandon {name}? It would never send: valve/set ← OFF"));
    browser.click("button", "Cancel");
    browser.click("button", &format!("Abandon {name}"));
    browser.click("button", "Abandon");
    browser.wait_for("⊘ cancelled");
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 360, "nothing is wider than the screen");

    browser.open(&format!("{address}/runs/{JOB}/2027-03-01T06:30:00Z"));
    browser.wait_for("Not found");
    browser.wait_for(&format!("there is no run `{JOB}/2027-03-01T06:30:00Z`"));
    assert!(host.stop().success());
}

#[test]
fn the_history_is_filtered_and_a_wrong_filter_is_put_right_in_its_form() {
    let (_broker, site, host, listener, mut browser, address) = valve();
    run(&site, &listener);
    browser.open(&format!("{address}/runs?state=running&state=failed&plugin=valve"));
    browser.wait_for("◐ running");
    browser.click("link", "state: running, remove");
    browser.wait_for("There are no such runs.");
    browser.click("link", "state: failed, remove");
    browser.wait_for("Water the <lawn>");

    browser.open(&format!("{address}/runs?state=finished&plugin=valve"));
    browser.wait_for("the query is not understood: state: unknown variant `finished`");
    browser.open(&format!("{address}/runs?plugin=valve&since=tomorrow"));
    browser.wait_for("`since`: `tomorrow` is no time");
    assert_eq!(browser.eval("document.getElementById('since').value"), "tomorrow");
    browser.eval("document.getElementById('since').value = '2027-03-01T06:30'");
    browser.click("button", "Show");
    browser.wait_for("since: 2027-03-01T06:30");
    browser.wait_for("Water the <lawn>");
    assert!(host.stop().success());
}

#[test]
fn a_job_is_shown_in_words_and_a_skip_is_undone() {
    let (_broker, _site, host, _listener, mut browser, address) = valve();
    browser.open(&format!("{address}/"));
    browser.eval(&format!("document.querySelector('main a[href=\"/jobs/{JOB}\"]').click()"));
    browser.wait_for("every day at 22:30 cron 30 22 * * *");
    browser.wait_for("valve/set ← ON");
    assert_eq!(browser.eval("document.querySelectorAll('ol.rows > li').length"), 5);
    browser.click("button", &format!("Skip the next run of {JOB}"));
    browser.wait_for("⊘ will be skipped");
    let done = format!("Undo: The next run of {JOB} is skipped.");
    browser.click("button", &done);
    browser.wait_for_role("button", &format!("Skip the next run of {JOB}"));
    browser.click("button", &format!("Pause {JOB}"));
    browser.wait_for("◌ paused (this job alone)");
    browser.click("button", &format!("Undo: {JOB} is paused."));
    browser.wait_for_role("button", &format!("Pause {JOB}"));
    browser.click("button", &format!("Run {JOB} now"));
    browser.wait_for("step 2 of 2 is owed");

    browser.open(&format!("{address}/jobs/valve/valve/watr"));
    browser.wait_for("did you mean `valve/valve/water`?");
    browser.click("link", "Its past runs");
    browser.wait_for("There are no such runs.");
    let is_known = |complaint: &String| complaint.contains("404") && complaint.contains("/jobs/valve/valve/watr");
    assert!(browser.complaints().iter().all(is_known), "{:?}", browser.complaints());
    assert!(host.stop().success());
}

#[test]
fn a_task_is_called_with_the_arguments_of_its_form() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    site.settings("sprinkler", &fs::read_to_string(root().join("plugins/sprinkler.toml")).unwrap());
    site.drop_in(&sample("sprinkler"), "sprinkler");
    let host = site.start(&broker);
    host.wait_for_log("jobs of `sprinkler`: ");
    let mut browser = Chromium::start(site.path());
    browser.open(&format!("http://{}/jobs/sprinkler/garden/water", host.address()));
    browser.click("link", "Tasks of sprinkler/garden");
    browser.wait_for("its number, counted from 1, or its name");
    let invalid = "document.querySelectorAll('form.task :invalid').length";
    browser.click("button", "Call sprinkler/garden/water");
    assert_eq!(browser.eval(invalid), 2, "it is not called without what it needs");
    browser.eval("document.getElementById('water-zone').value = 'lawn'");
    browser.eval("document.getElementById('water-minutes').value = '0.1'");
    browser.click("button", "Call sprinkler/garden/water");
    browser.wait_for("It is called.");
    listener.wait_for("sprinkler/garden/lawn/set");
    assert_eq!(browser.eval("document.getElementById('water-zone').value"), "lawn", "the form stays");
    browser.click("link", "See how it goes");
    browser.wait_for(r#"its plugin, task water {"minutes":0.1,"zone":"lawn"}"#);
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert!(host.stop().success());
}
