//! `roost check` of each guest; and a check that there is no guest without a test.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use roost_tests::{Site, binary, guest, root};

/// Checks a guest, with or without settings. Returns whether it passed, and the output.
fn check(site: &Site, name: &str, settings: Option<&str>) -> (bool, String) {
    site.drop_in(&guest(name), name);
    if let Some(settings) = settings {
        site.settings(name, settings);
    }
    let output = site.command(&["check", &format!("plugins/{name}.wasm")]).output().unwrap();
    let report = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), report)
}

/// Guests that are refused, with texts of the output.
pub(crate) const REFUSED: [(&str, &[&str]); 29] = [
    ("aliased-payloads", &["more than 16 MiB", "lift_mib"]),
    ("bad-case", &["invalid expected discriminant", "the fault is in the plugin"]),
    ("bad-tasks", &["its tasks cannot be listed", "another task of the plugin has it already"]),
    ("bad-text", &["invalid utf-8", "the fault is in the plugin"]),
    ("core-module", &["core module", "wasm32-wasip2"]),
    ("data-bomb", &["compil", "unless you trust its author"]),
    ("deep-components", &["compil", "unless you trust its author"]),
    ("deep-types", &["type nesting is too deep", "build it again"]),
    ("eats-memory", &["256 MiB", "memory_mib"]),
    ("errors", &["no tide table", "put one into"]),
    ("exits", &["exit code", "the fault is in the plugin"]),
    ("future-world", &["`roost:device/schedule@2.0.0`", "install a newer Roost"]),
    ("giant-memory", &["256 MiB", "memory_mib"]),
    ("grows-tables", &["unreachable", "the fault is in the plugin"]),
    ("log-spam", &["longer than 500 ms", "cpu_ms"]),
    ("loops", &["longer than 500 ms", "cpu_ms"]),
    ("lying-pointer", &["out of bounds", "the fault is in the plugin"]),
    ("memory-bomb", &["compil"]),
    ("million-steps", &["256 MiB", "memory_mib"]),
    ("no-schedule", &["does not export", "roost:device/schedule"]),
    ("other-world", &["kitchen:timer/egg", "device-plugin"]),
    ("realloc-lies", &["realloc return: beyond end of memory", "the fault is in the plugin"]),
    ("realloc-loops", &["longer than 500 ms", "cpu_ms"]),
    ("recurses", &["call stack exhausted", "the fault is in the plugin"]),
    ("sleeps", &["10000 ms", "wall_ms"]),
    ("start-loops", &["longer than 500 ms", "cpu_ms"]),
    ("too-many-jobs", &["10001", "10000"]),
    ("traps", &["trapped", "the door is jammed"]),
    ("wants-forecast", &["weather:client/forecast"]),
];

#[test]
fn a_check_reports_the_fault_and_a_hint() {
    let site = Site::new();
    for (name, texts) in REFUSED {
        let (fine, report) = check(&site, name, None);
        assert!(!fine, "{name}: {report}");
        for text in texts {
            assert!(report.contains(text), "{name}: no `{text}` in\n{report}");
        }
        assert!(report.contains("hint: "), "{name}: what to do?\n{report}");
    }
}

#[test]
fn a_compile_bomb_is_given_up() {
    let (fine, report) = check(&Site::new(), "compile-bomb", None);
    assert!(!fine && report.contains("compiling it took more than"), "{report}");
}

#[test]
fn a_guest_gets_no_files_and_no_sockets() {
    let site = Site::new();
    for (name, denied) in [("wants-files", "NotFound"), ("wants-sockets", "PermissionDenied")] {
        let (fine, report) = check(&site, name, None);
        assert!(fine && report.contains(denied), "{name}: {report}");
    }
}

#[test]
fn a_good_guest_is_shown_with_its_jobs_and_next_runs() {
    let site = Site::new();
    let job = crate::job("tick", "every_ms = 60000", "declared/tick");
    let (fine, report) = check(&site, "declared", Some(&job));
    assert!(fine && report.contains("tick: every 1m") && report.contains("next "), "{report}");
    let burst = "[config]\nfirst = 0\njobs = 3\ntotal = 3\nt0_ms = 4000000000000\nspread_ms = 0\ntopic = \"burst/x\"\n";
    let (fine, report) = check(&site, "burst", Some(burst));
    assert!(fine && report.contains("3 jobs"), "{report}");
    let (fine, report) = check(&site, "each-second", None);
    assert!(fine && report.contains("10000 jobs"), "{report}");
    let (fine, report) = check(&site, "hoards", Some("[config]\nmib = 100\nfor = \"0s\"\n"));
    assert!(fine && report.contains("1 job"), "{report}");
    let (fine, report) = check(&site, "at-once", None);
    assert!(fine && report.contains("1 job"), "{report}");
}

#[test]
fn a_plan_that_breaks_a_rule_is_refused_by_its_name() {
    let site = Site::new();
    for (rule, text) in [
        ("duplicate-id", "job `good`: `id`: another job"),
        ("task", "`action.task.name` `water`: the plugin has no tasks"),
        ("group-in-a-queue", "`policy.overlap` with `latest-of-group`"),
        ("put-off-for-ever", "`policy.overlap` replace: the next run, by `every 1m`, replaces each one"),
        ("unknown-resource", "name = \"no-such-pump\""),
        ("ungranted-report", "subscribe = [\"bad-jobs/#\", \"neighbour/door\"]"),
        ("ungranted-topic", "publish = [\"bad-jobs/#\", \"neighbour/door\"]"),
        ("dollar-topic", "`$SYS/broker`"),
        ("wildcard-topic", "`bad-jobs/bad-jobs/bad/#`"),
        ("nan-range", "NaN"),
        ("at-before-1970", "`trigger.at` -1"),
        ("at-after-9999", "9223372036854775807"),
        ("never-cron", "`0 0 31 2 *`"),
        ("many-steps", "101"),
        ("bad-json", "`confirm.matches.json.value` `open`: it is not JSON"),
    ] {
        let (fine, report) = check(&site, "bad-jobs", Some(&format!("[config]\nbreak = \"{rule}\"\n")));
        assert!(!fine && report.contains(text), "{rule}: no `{text}` in\n{report}");
    }
}

#[test]
fn every_guest_has_a_test() {
    let read = |folder: &Path| -> String {
        let files = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        files.collect()
    };
    let tests = read(&root().join("tests/e2e")) + &read(&root().join("tests/soak"));
    for entry in fs::read_dir(root().join("target/guests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let wasm = path.extension().is_some_and(|extension| extension == "wasm");
        assert!(!wasm || tests.contains(&format!("\"{name}\"")), "no test speaks of the guest `{name}`");
    }
}

#[test]
fn if_machine_code_is_forbidden_the_hint_names_the_setting() {
    // As systemd's `MemoryDenyWriteExecute=yes` does, if the kernel has it: PR_SET_MDWE.
    let number = if cfg!(target_arch = "aarch64") { 167 } else { 157 };
    let site = Site::new();
    site.drop_in(&guest("at-once"), "at-once");
    let script = format!("exit 77 if syscall({number}, 65, 1, 0, 0, 0); exec @ARGV");
    let mut forbidden = Command::new("perl");
    let forbidden = forbidden.args(["-e", &script]).arg(binary()).args(["check", "plugins/at-once.wasm"]);
    let output = forbidden.current_dir(site.path()).output().unwrap();
    if output.status.code() == Some(77) {
        return;
    }
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(
        report.contains("machine code cannot be executed") && report.contains("MemoryDenyWriteExecute"),
        "{report}"
    );
}

#[test]
fn the_compiler_is_confined() {
    let out = tempfile::tempfile().unwrap();
    let mut compiler = Command::new(binary());
    let compiler = compiler.args(["compile", "1610612736"]).stdin(Stdio::piped()).stdout(out.try_clone().unwrap());
    let mut compiler = compiler.spawn().unwrap();
    let mut component = compiler.stdin.take().unwrap();
    // It is confined before it reads, and waits for its input.
    let folder = Path::new("/proc").join(compiler.id().to_string());
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.trim_start_matches(':').split_whitespace().next().unwrap().to_owned()
    };
    while value(&read("limits"), "Max open files") != "0" {
        assert!(compiler.try_wait().unwrap().is_none(), "it ended");
        std::thread::yield_now();
    }
    let (limits, status) = (read("limits"), read("status"));
    assert_eq!(value(&limits, "Max address space"), "1610612736");
    assert_eq!(value(&limits, "Max file size"), (512 << 20).to_string());
    assert_eq!((value(&limits, "Max cpu time"), value(&limits, "Max core file size")), ("60".into(), "0".into()));
    assert_eq!(value(&status, "NoNewPrivs"), "1");
    assert_eq!(read("oom_score_adj").trim(), "1000");
    let open = fs::read_dir(folder.join("fd")).unwrap().count();
    assert!(open <= 4, "standard input, output and error, and the file: {open}");
    component.write_all(&fs::read(guest("at-once")).unwrap()).unwrap();
    drop(component);
    assert!(compiler.wait().unwrap().success());
    assert!(out.metadata().unwrap().len() > 0);
}
