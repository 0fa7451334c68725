//! The templates of `roost new` (`make templates`): each is made, built, tested and copied as its README says, runs in a
//! host with a broker, sends a message, and answers a call of its task. It needs the languages' toolchains, and fetches
//! their packages, so it is not with the other tests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the table is its output")]

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use roost_tests::{Broker, Listener, Roost, Site, binary, root};

const LANGUAGES: [&str; 4] = ["rust", "js", "ts", "python"];

fn main() -> ExitCode {
    let only = env::var("ONLY").unwrap_or_default();
    let chosen: Vec<_> =
        LANGUAGES.into_iter().filter(|name| only.is_empty() || only.split(' ').any(|one| one == *name)).collect();
    let mut failed = 0;
    for language in &chosen {
        if let Err(error) = try_template(language) {
            println!("{language}: {error}");
            failed += 1;
        }
    }
    println!("{} passed, {failed} failed", chosen.len() - failed);
    if failed == 0 && !chosen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_template(language: &str) -> Result<(), String> {
    let name = format!("duck-{language}");
    // Not a temporary folder: what toolchains have built there stays for the next time.
    let folder = root().join("target/templates").join(language);
    fs::create_dir_all(&folder).unwrap();
    make(&folder, &name, language)?;
    let folder = folder.join(&name);
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let commands =
        readme.split("```").nth(1).and_then(|block| block.strip_prefix("sh\n")).expect("a block of commands");
    let site = Site::new();
    let mut seconds = Vec::new();
    for command in commands.lines() {
        let started = now();
        shell(&folder, &command.replace("/path/to/plugins/", &site.path().join("plugins").display().to_string()))?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let size = fs::metadata(site.plugin(&format!("{name}.wasm"))).unwrap().len();
    let check = site.command(&["check", &format!("plugins/{name}.wasm"), "--latitude", "51.5", "--longitude", "0"]);
    succeeded(check, "roost check")?;
    let started = now();
    run(&site, &name);
    println!(
        "{language}: build {:.1} s, test {:.1} s, {} KiB, loaded and called in {:.1} s",
        seconds[0],
        seconds[1],
        size / 1024,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Makes the template anew, over what was built from it before.
fn make(folder: &Path, name: &str, language: &str) -> Result<(), String> {
    let site = Site::new();
    let mut command = site.command(&["new", name, "--lang", language]);
    succeeded(command, "roost new")?;
    command = Command::new("cp");
    command.arg("-rT").arg(site.path().join(name)).arg(folder.join(name));
    succeeded(command, "cp")
}

/// Runs the plugin: a message of its plan, and the messages of its task.
fn run(site: &Site, name: &str) {
    let broker = Broker::new();
    let listener = Listener::new(broker.port);
    let roost: Roost = site.start(&broker);
    roost.wait_for_log(&format!("jobs of `{name}`"));
    site.roost(&["run-now", &format!("{name}/north/open")]);
    let topic = format!("{name}/north/door/set");
    assert_eq!(listener.wait_for(&topic).payload, "OPEN", "{name}");
    let args = r#"{"minutes": 1}"#;
    site.roost(&["schedule", "now", "--task", &format!("{name}/north/let-out"), "--args", args]);
    roost.wait_for_log("the door is open for 1 min");
    listener.wait("the message of the task", |_| listener.count(&topic) == 2);
    assert!(roost.stop().success(), "{name}");
}

fn shell(folder: &Path, line: &str) -> Result<(), String> {
    let mut command = Command::new("sh");
    let path = env::var("PATH").unwrap();
    let program = binary().parent().unwrap().display().to_string();
    command.args(["-c", line]).current_dir(folder).env("PATH", format!("{program}:{path}"));
    succeeded(command, line)
}

fn succeeded(mut command: Command, what: &str) -> Result<(), String> {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("`{what}` has failed:\n{}{}", text(&output.stdout), text(&output.stderr))),
    }
}

#[allow(clippy::disallowed_methods, reason = "a duration is printed, and nothing depends on it")]
fn now() -> Instant {
    Instant::now()
}
