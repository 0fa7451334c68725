//! Every command and every settings block of the README and of `docs/` works as written.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use expect_test::expect;
use roost_tests::{Broker, Roost, Site, binary, redact, root, sample};

/// The pages, with the beginnings of the commands that end with an error in this test.
const PAGES: [(&str, &[&str]); 9] = [
    ("README.md", &[]),
    ("docs/commands.md", &["roost replay coop-door/north/open", "roost abandon sprinkler/garden/water"]),
    ("docs/devices.md", &[]),
    ("docs/home-assistant.md", &[]),
    ("docs/http.md", &["roost login"]),
    ("docs/moving.md", &[]),
    ("docs/operate.md", &[]),
    ("docs/plugins.md", &[]),
    ("docs/promises.md", &[]),
];

const SAMPLES: [&str; 4] = ["coop-door", "greenhouse", "sprinkler", "timers"];

/// Commands in `sh` blocks that this test does not run, and where they are tested instead.
const ELSEWHERE: [(&str, &str); 15] = [
    ("roost new ", "`make templates` builds what it makes, and `makers.rs` looks at it"),
    ("make run", "it runs until it is stopped: each end-to-end test runs the same program"),
    ("make test", "it runs this test"),
    ("make deb", "it takes minutes: `make deb-check` runs it"),
    ("make cross", "it takes minutes, and needs a compiler and an emulator of another processor"),
    ("docker ", "it needs a container engine; what runs inside is the program of the other tests"),
    ("mosquitto_sub -h 127.0.0.1", "it runs until it is stopped: the listener of the tests is this program"),
    ("sudo ", "it changes the system: `make deb-check` installs the package in a root of its own"),
    ("ROOST_URL=https://roost.example.org", "there is no such host: `steering.rs` has the same with a host of its own"),
    ("curl -N", "it follows events until it is stopped: `stream.rs`"),
    ("curl -H \"Authorization", "there is no such host: `api.rs` sends the same header to a host of its own"),
    ("(umask 077; openssl rand", "a random token: `api.rs` makes its own"),
    ("rabbitmqctl ", "it sets up another broker: `make conformance` has one that needs no permissions"),
    ("cargo ", "the plugin of `docs/plugins.md` is built by a test below"),
    ("printf ", "the plugin of `docs/plugins.md` is built by a test below"),
];

/// Returns the code blocks of a page: their languages and their texts.
pub(crate) fn blocks(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(page)).expect("a page");
    let mut parts = text.split("```").skip(1);
    let mut blocks = Vec::new();
    while let (Some(block), _) = (parts.next(), parts.next()) {
        let (language, code) = block.split_once('\n').expect("a language");
        blocks.push((language.to_owned(), code.to_owned()));
    }
    blocks
}

fn lines<'b>(blocks: &'b [(String, String)], language: &str) -> Vec<&'b str> {
    let of_language = blocks.iter().filter(|(other, _)| other == language);
    of_language.flat_map(|(_, code)| code.lines()).filter(|line| !line.trim().is_empty()).collect()
}

/// Starts a host with the samples and their settings, as `make run` does, and makes a new version of a sample.
fn world() -> (Broker, Site, Roost) {
    let (broker, site) = (Broker::new(), Site::new());
    for name in SAMPLES {
        site.drop_in(&sample(name), name);
        let settings = fs::read_to_string(root().join(format!("plugins/{name}.toml"))).expect("settings");
        site.settings(name, &settings);
    }
    let own = fs::read_to_string(root().join("roost.toml")).expect("settings");
    // The pages name it.
    let calendar = "\n[[calendar]]\nname = \"holidays\"\ndates = [\"2027-12-25\"]\n";
    fs::write(site.path().join("roost.toml"), own + calendar).expect("a file");
    // The same component with an empty custom section at its end counts as another version.
    let mut component = fs::read(sample("coop-door")).expect("a component");
    component.extend_from_slice(&[0, 2, 1, b'n']);
    fs::create_dir(site.path().join("new")).expect("a folder");
    fs::write(site.path().join("new/coop-door.wasm"), component).expect("a file");
    let roost = site.start(&broker);
    for name in SAMPLES {
        roost.wait_for_log(&format!("jobs of `{name}`"));
    }
    (broker, site, roost)
}

fn shell(site: &Site, address: &str, line: &str) -> (bool, String) {
    // A year takes an unoptimised build a minute.
    let line = line.replace("--days 365", "--days 30").replace("localhost:8080", address);
    let mut command = Command::new("sh");
    let path = std::env::var("PATH").expect("there is one");
    let folder = binary().parent().expect("a file is in a folder").display().to_string();
    command.args(["-c", &line]).current_dir(site.path()).env("PATH", format!("{folder}:{path}"));
    for name in ["ROOST_MQTT", "ROOST_CONFIG", "ROOST_HTTP", "ROOST_URL", "ROOST_TOKEN"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } = command.output().expect("a shell");
    let output = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    // A problem document is an error as well.
    let refused = line.starts_with("curl") && output.contains("\"status\":4");
    (status.success() && !refused, output)
}

#[test]
fn every_command_of_the_pages_works() {
    let mut shown = String::new();
    for (page, errors) in PAGES {
        let blocks = blocks(page);
        let commands: Vec<&str> =
            lines(&blocks, "console").into_iter().map(|line| line.strip_prefix("$ ").expect(line)).collect();
        if commands.is_empty() {
            continue;
        }
        let (_broker, site, roost) = world();
        let address = roost.address();
        for command in commands {
            if errors.iter().any(|start| command.starts_with(start)) {
                let (ok, output) = shell(&site, &address, command);
                assert!(!ok, "{page}: {command}\n{output}");
                shown += &format!("$ {command}\n{output}\n");
                continue;
            }
            // An uploaded plugin runs a moment later.
            let mut last = String::new();
            let worked = (0..100).any(|_| {
                let (ok, output) = shell(&site, &address, command);
                last = output;
                ok || (!command.contains("rollback") && !command.contains("replan"))
                    .then(|| panic!("{page}: {command}\n{last}"))
                    .is_some()
            });
            assert!(worked, "{page}: {command}\n{last}");
        }
        assert!(roost.stop().success(), "{page}");
    }
    expect![[r#"
        $ roost replay coop-door/north/open/2027-03-01T06:30:00Z
        error: there is no run `coop-door/north/open/2027-03-01T06:30:00Z`
        hint: `roost runs --failed` shows those that can be replayed

        $ roost abandon sprinkler/garden/water/[TIME]
        error: there is no run sprinkler/garden/water/[TIME] that has not ended
        hint: `roost runs --state running` lists the runs that can be abandoned

        $ roost login
        error: the host has no token, so that only this machine can reach it
        hint: browsers on this machine need no login: open `http://127.0.0.1:[PORT]/`. For a phone, make a token with `(umask 077; openssl rand -hex 32 > token)`, set `listen = "0.0.0.0:[PORT]"` and `token_file = "token"` below `[http]` in `roost.toml`, and start Roost again

    "#]]
    .assert_eq(&redact(&shown));
}

#[test]
fn every_command_that_this_test_cannot_run_is_run_elsewhere() {
    for (page, _) in PAGES {
        let blocks = blocks(page);
        for line in lines(&blocks, "sh") {
            let is_known = ELSEWHERE.iter().any(|(start, _)| line.starts_with(start));
            assert!(is_known || page == "docs/plugins.md", "{page}: nothing runs this command: {line}");
        }
    }
}

#[test]
fn every_settings_block_of_the_pages_is_accepted() {
    let site = Site::new();
    SAMPLES.iter().for_each(|name| site.drop_in(&sample(name), name));
    fs::write(site.path().join("password"), "secret").expect("a file");
    fs::write(site.path().join("token"), "0123456789abcdef0123456789abcdef").expect("a file");
    fs::write(site.path().join("holidays.ics"), "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n").expect("a file");
    let close = |file: &str| {
        let path = site.path().join(file);
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    };
    close("password");
    close("token");
    for (page, _) in PAGES {
        for (language, code) in blocks(page) {
            if language != "toml" {
                continue;
            }
            let (first, _) = code.split_once('\n').expect("a first line");
            let file = first.strip_prefix("# ").unwrap_or_else(|| panic!("{page}: which file is this?\n{code}"));
            fs::write(site.path().join(file), &code).expect("a file");
            let component =
                file.strip_prefix("plugins/").map_or("coop-door.wasm".into(), |name| name.replace("toml", "wasm"));
            let mut check = site.command(&["check", &format!("plugins/{component}")]);
            check.env("ROOST_LATITUDE", "51.4779").env("ROOST_LONGITUDE", "-0.0015");
            let output = check.output().expect("the binary starts");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && errors.is_empty(), "{page}: {errors}\n{code}");
            fs::remove_file(site.path().join(file)).expect("it was written");
        }
    }
}

#[test]
fn every_link_of_the_pages_has_a_target() {
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
    };
    for (page, _) in PAGES {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().expect("an end")) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, to) = link.split_once('#').map_or((link, None), |(file, to)| (file, Some(to)));
            let folder = root().join(page);
            let folder = folder.parent().expect("a page is in a folder");
            let path = if file.is_empty() { root().join(page) } else { folder.join(file) };
            assert!(path.exists(), "{page}: {link}");
            if let Some(to) = to {
                let there = fs::read_to_string(&path).expect("a page");
                let found = there.lines().any(|line| line.starts_with('#') && anchor(line) == to);
                assert!(found, "{page}: {link}");
            }
        }
    }
}

#[test]
fn the_plugin_of_the_pages_is_built_as_described() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (roost, target) = (root(), root().join("target/docs"));
    fs::create_dir_all(folder.path().join("plugins")).expect("a folder");
    let blocks = blocks("docs/plugins.md");
    // What `roost new` makes has tests of its own.
    let is_by_hand = |(language, code): &&(String, String)| language == "sh" && !code.starts_with("roost new");
    let scripts: Vec<&String> = blocks.iter().filter(is_by_hand).map(|(_, code)| code).collect();
    let source = &blocks.iter().find(|(language, _)| language == "rust").expect("a plugin").1;
    let run = |script: &str, folder: &Path| {
        let script = script
            .replace("../roost/plugin-sdk", &roost.join("plugin-sdk").display().to_string())
            .replace("../roost/plugins", "../plugins")
            .replace("cp target/", &format!("cp {}/", target.display()));
        let mut command = Command::new("sh");
        command.args(["-euc", &script]).current_dir(folder);
        // Offline: the dependencies of the workspace are there, newer ones are not.
        command.env("CARGO_TARGET_DIR", &target).env("CARGO_NET_OFFLINE", "true");
        let Output { status, stdout, stderr } = command.output().expect("a shell");
        let output = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{script}\n{output}");
    };
    run(scripts[0], folder.path());
    let project = folder.path().join("greenhouse-fan");
    fs::write(project.join("src/lib.rs"), source).expect("a file");
    run(&scripts[1].replace("rustup target add wasm32-wasip2", "true"), &project);
    let mut check = Command::new(binary());
    check.current_dir(folder.path()).args([
        "simulate",
        "plugins/greenhouse-fan.wasm",
        "--from",
        "2027-03-01",
        "--days",
        "1",
    ]);
    let Output { status, stdout, stderr } = check.output().expect("the binary starts");
    let shown = String::from_utf8_lossy(&stdout);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let count =
        |payload: &str| shown.lines().filter(|line| line.contains("fan/set") && line.ends_with(payload)).count();
    assert_eq!((count("ON"), count("OFF")), (4, 4), "{shown}");
}
