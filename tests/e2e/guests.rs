//! `roost check` of each guest; and a check that there is no guest without a test.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use expect_test::expect;
use roost_tests::{Ran, Site, binary, guest, redact_in, root};

/// Checks a guest, with or without settings.
fn check(site: &Site, name: &str, settings: Option<&str>) -> Ran {
    site.drop_in(&guest(name), name);
    if let Some(settings) = settings {
        site.settings(name, settings);
    }
    site.tried(&["check", &format!("plugins/{name}.wasm")])
}

/// Checks a guest that passes, and returns what is shown of it.
fn passes(site: &Site, name: &str, settings: Option<&str>) -> String {
    let Ran { code, out, errors } = check(site, name, settings);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{name}");
    redact_in(site.path(), &out)
}

/// Checks guests that are refused, and returns the error of each.
fn refusals(names: &[&str]) -> String {
    refusals_with(None, names)
}

fn refusals_with(settings: Option<&str>, names: &[&str]) -> String {
    let site = Site::new();
    names.iter().map(|name| redact_in(site.path(), &check(&site, name, settings).refused()) + "\n").collect()
}

#[test]
fn a_component_of_another_kind_is_refused_with_what_to_build() {
    expect![[r#"
        error: plugin `core-module` was not loaded
          caused by: it is a core module, but must be a component
        hint: make it a component with `wasm-tools component new`; `roost new` makes a plugin that is one, in several languages

        error: plugin `deep-types` was not loaded
          caused by: failed to parse WebAssembly module: type nesting is too deep (at offset [N])
        hint: the file is damaged: build it again or copy it again

        error: plugin `future-world` was not loaded
          caused by: it was built for `roost:device/schedule@2.0.0`, but this Roost supports `roost:device/schedule@1.0.0`
        hint: install a newer Roost, or build the plugin against the `wit/` of this one

        error: plugin `no-schedule` was not loaded
          caused by: it does not export `roost:device/schedule@1.0.0`, which every plugin must export; it exports nothing
        hint: build it for the world `device-plugin` of `wit/`, or with the plugin SDK

        error: plugin `other-world` was not loaded
          caused by: it does not export `roost:device/schedule@1.0.0`, which every plugin must export; it exports `kitchen:timer/egg@0.1.0`
        hint: build it for the world `device-plugin` of `wit/`, or with the plugin SDK

        error: plugin `wants-forecast` was not loaded
          caused by: it imports `weather:client/forecast@0.1.0`, which plugins may not use
        hint: plugins have no access to the network or the system; remove the code that uses these interfaces

    "#]].assert_eq(&refusals(&[
        "core-module", "deep-types", "future-world", "no-schedule", "other-world", "wants-forecast",
    ]));
}

#[test]
fn a_guest_that_breaks_its_contract_is_refused() {
    expect![[r#"
        error: plugin `bad-case` was not loaded
          caused by: device `bad-case` has no plan
          caused by: `schedule-jobs` trapped: invalid expected discriminant
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

        error: plugin `bad-tasks` was not loaded
          caused by: its tasks cannot be listed
          caused by: task `water`: `name`: another task of the plugin has it already
        hint: fix the plugin or its settings; `roost check` verifies the result

        error: plugin `bad-text` was not loaded
          caused by: device `bad-text` has no plan
          caused by: `schedule-jobs` trapped: invalid utf-8 sequence of 1 bytes from index 0
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

        error: plugin `errors` was not loaded
          caused by: device `errors` has no plan
          caused by: `schedule-jobs` returned an error: no tide table for [DATE], put one into `tides`
        hint: the error is the plugin's own: see the documentation of its settings

        error: plugin `lying-pointer` was not loaded
          caused by: device `lying-pointer` has no plan
          caused by: `schedule-jobs` trapped: pointer out of bounds of memory
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

        error: plugin `realloc-lies` was not loaded
          caused by: device `realloc-lies` has no plan
          caused by: `schedule-jobs` trapped: realloc return: beyond end of memory
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

        error: plugin `too-many-jobs` was not loaded
          caused by: device `too-many-jobs` has no plan
          caused by: `jobs` 10001: the plan of this device may have 10000
        hint: fix the plugin or its settings; `roost check` verifies the result

    "#]]
    .assert_eq(&refusals(&[
        "bad-case",
        "bad-tasks",
        "bad-text",
        "errors",
        "lying-pointer",
        "realloc-lies",
        "too-many-jobs",
    ]));
}

#[test]
fn a_guest_that_traps_or_exits_is_refused() {
    expect![[r#"
        error: plugin `exits` was not loaded
          caused by: device `exits` has no plan
          caused by: `schedule-jobs` ended with exit code 1
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

        error: plugin `grows-tables` was not loaded
          caused by: device `grows-tables` has no plan
          caused by: `schedule-jobs` trapped: wasm trap: wasm `unreachable` instruction executed, in `<wasm function [N]>`
        hint: the fault is in the plugin: its author can reproduce it with `roost check`. If it was built with `--stub-wasi`, build it without: Roost has WASI's clocks, random numbers and output

        error: plugin `recurses` was not loaded
          caused by: device `recurses` has no plan
          caused by: `schedule-jobs` trapped: wasm trap: call stack exhausted, in `recurses::deeper::[HASH]` < `recurses::deeper::[HASH]` < `recurses::deeper::[HASH]` < `recurses::deeper::[HASH]` < `recurses::deeper::[HASH]` < `recurses::deeper::[HASH]`
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

        error: plugin `traps` was not loaded
          caused by: device `traps` has no plan
          caused by: `schedule-jobs` trapped: wasm trap: wasm `unreachable` instruction executed
            standard error: thread '<unnamed>' (1) panicked at tests/guests/traps.rs:10:9: the door is jammed
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

    "#]].assert_eq(&refusals(&["exits", "grows-tables", "recurses", "traps"]));
}

#[test]
fn a_guest_that_exceeds_a_limit_is_refused_with_the_setting_that_raises_it() {
    expect![[r#"
        error: plugin `log-spam` was not loaded
          caused by: device `log-spam` has no plan
          caused by: `schedule-jobs` ran longer than 500 ms
        hint: if the plugin needs that much, raise `cpu_ms` in `[limits]` of its settings

        error: plugin `loops` was not loaded
          caused by: device `loops` has no plan
          caused by: `schedule-jobs` ran longer than 500 ms
        hint: if the plugin needs that much, raise `cpu_ms` in `[limits]` of its settings

        error: plugin `realloc-loops` was not loaded
          caused by: device `realloc-loops` has no plan
          caused by: `schedule-jobs` ran longer than 500 ms
        hint: if the plugin needs that much, raise `cpu_ms` in `[limits]` of its settings

        error: plugin `sleeps` was not loaded
          caused by: device `sleeps` has no plan
          caused by: `schedule-jobs` did not return within 10000 ms
        hint: if the plugin needs that much, raise `wall_ms` in `[limits]` of its settings

        error: plugin `start-loops` was not loaded
          caused by: device `start-loops` has no plan
          caused by: `schedule-jobs` ran longer than 500 ms
        hint: if the plugin needs that much, raise `cpu_ms` in `[limits]` of its settings

    "#]]
    .assert_eq(&refusals(&["log-spam", "loops", "realloc-loops", "sleeps", "start-loops"]));
    // With more time than it takes on a busy machine to exceed the others.
    let much_time = Some("[limits]\ncpu_ms = 5000\n");
    let greedy = ["aliased-payloads", "eats-memory", "giant-memory", "million-steps"];
    expect![[r#"
        error: plugin `aliased-payloads` was not loaded
          caused by: device `aliased-payloads` has no plan
          caused by: `schedule-jobs` returned more than 16 MiB to the host
        hint: if the plugin needs that much, raise `lift_mib` in `[limits]` of its settings

        error: plugin `eats-memory` was not loaded
          caused by: device `eats-memory` has no plan
          caused by: `schedule-jobs` requested more than 256 MiB of memory
        hint: if the plugin needs that much, raise `memory_mib` in `[limits]` of its settings

        error: plugin `giant-memory` was not loaded
          caused by: device `giant-memory` has no plan
          caused by: `schedule-jobs` requested more than 256 MiB of memory
        hint: if the plugin needs that much, raise `memory_mib` in `[limits]` of its settings

        error: plugin `million-steps` was not loaded
          caused by: device `million-steps` has no plan
          caused by: `schedule-jobs` requested more than 256 MiB of memory
        hint: if the plugin needs that much, raise `memory_mib` in `[limits]` of its settings

    "#]]
    .assert_eq(&refusals_with(much_time, &greedy));
}

/// Checks a guest that is given up by memory or by time, whichever is used up first on this machine.
fn is_given_up(name: &str) -> String {
    let error = check(&Site::new(), name, None).refused();
    let lines: Vec<_> = error.lines().collect();
    let [what, why, hint @ ..] = &lines[..] else { panic!("{error}") };
    assert_eq!(*what, format!("error: plugin `{name}` was not loaded"));
    assert!(why.starts_with("  caused by: compiling it took more than "), "{error}");
    hint.join("\n")
}

#[test]
fn a_guest_that_cannot_be_compiled_within_the_limits_is_refused() {
    for hint in ["data-bomb", "deep-components", "memory-bomb"].map(is_given_up) {
        expect!["hint: ordinary plugins take far less; do not use the plugin unless you trust its author"]
            .assert_eq(&hint);
    }
}

#[test]
fn a_compile_bomb_is_given_up() {
    expect![[r#"
        hint: large plugins, such as those in Python, take long on a small machine; if you trust its author, put this into `roost.toml` and start Roost again:
          [guests]
          compile_cpu_s = 240"#]]
    .assert_eq(&is_given_up("compile-bomb"));
}

#[test]
fn a_guest_gets_no_files_and_no_sockets() {
    let site = Site::new();
    let reports = ["wants-files", "wants-sockets"].map(|name| passes(&site, name, None));
    expect![[r#"
        wants-files
          exports  roost:device/schedule@1.0.0
          imports  16 of WASI 0.2
          denied   files: Roost never grants them; opening one in the plugin returns an error
          it may publish to wants-files/#, and read wants-files/#
          device wants-files (UTC), 1 job
            report: cron 0 12 * * *
              publishes wants-files/wants-files/report  read Err(Os { code: 44, kind: NotFound, message: "No such file or directory" }), written Err(Os { code: 44, kind: NotFound, message: "No such file or directory" }), listed Err(Os { code: 44, kind: N… (246 bytes)
              next [TIME]
              next [TIME]
              next [TIME]

        wants-sockets
          exports  roost:device/schedule@1.0.0
          imports  21 of WASI 0.2
          denied   sockets: Roost never grants them; opening one in the plugin returns an error
          it may publish to wants-sockets/#, and read wants-sockets/#
          device wants-sockets (UTC), 1 job
            report: cron 0 12 * * *
              publishes wants-sockets/wants-sockets/report  tcp Err(Os { code: 2, kind: PermissionDenied, message: "Permission denied" }), udp Err(Os { code: 2, kind: PermissionDenied, message: "Permission denied" }), name Err(Custom { kind: Uncategorized, e… (268 bytes)
              next [TIME]
              next [TIME]
              next [TIME]
    "#]].assert_eq(&reports.join("\n"));
}

#[test]
fn a_good_guest_is_shown_with_its_jobs_and_next_runs() {
    let site = Site::new();
    let job = crate::job("tick", "every_ms = 60000", "declared/tick");
    expect![[r#"
        declared
          exports  roost:device/schedule@1.0.0, roost:device/tasks@1.0.0
          imports  13 of WASI 0.2
          it may publish to declared/#, and read declared/#
          task reply: Publish what the arguments say
            arguments  { "type": "object" }
          device declared (UTC), 1 job
            tick: every 1m
              publishes declared/tick  tick
              next [TIME]
              next [TIME]
              next [TIME]
    "#]]
    .assert_eq(&passes(&site, "declared", Some(&job)));
    let burst = "[config]\nfirst = 0\njobs = 3\ntotal = 3\nt0_ms = 4000000000000\nspread_ms = 0\ntopic = \"burst/x\"\n";
    let devices = [
        passes(&site, "burst", Some(burst)),
        passes(&site, "each-second", None),
        passes(&site, "hoards", Some("[config]\nmib = 100\nfor = \"0s\"\n")),
        passes(&site, "at-once", None),
    ]
    .map(|report| {
        report
            .lines()
            .filter_map(|line| line.strip_prefix("  device "))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    });
    expect![[r#"
        burst (UTC), 3 jobs
        each-second (UTC), 10000 jobs
        hoards (UTC), 1 job
        at-once (UTC), 1 job
    "#]]
    .assert_eq(&devices.concat());
}

#[test]
fn a_plan_that_breaks_a_rule_is_refused_by_its_name() {
    let site = Site::new();
    let mut refusals = String::new();
    for rule in [
        "duplicate-id",
        "task",
        "group-in-a-queue",
        "put-off-for-ever",
        "unknown-resource",
        "ungranted-report",
        "ungranted-topic",
        "dollar-topic",
        "wildcard-topic",
        "nan-range",
        "at-before-1970",
        "at-after-9999",
        "never-cron",
        "many-steps",
        "bad-json",
    ] {
        let settings = format!("[config]\nbreak = \"{rule}\"\n");
        let error = check(&site, "bad-jobs", Some(&settings)).refused();
        // The first line is the same for all.
        let (what, why) = error.split_once('\n').expect("a cause");
        assert_eq!(what, "error: plugin `bad-jobs` was not loaded");
        refusals += &format!("{rule}:\n{why}\n");
    }
    expect![[r#"
        duplicate-id:
          caused by: device `bad-jobs` has no plan
          caused by: job `good`: `id`: another job of the device has it already
        hint: fix the plugin or its settings; `roost check` verifies the result

        task:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`: `task.name` `water`: the plugin has no tasks
        hint: fix the plugin or its settings; `roost check` verifies the result

        group-in-a-queue:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`: `policy.overlap` with `latest-of-group`: a newer run of a group replaces older ones, so that no run waits or runs beside another: leave `overlap` out
        hint: fix the plugin or its settings; `roost check` verifies the result

        put-off-for-ever:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`: `policy.overlap` replace: the next run, by `every 1m`, replaces each one before its step of 2m is due, so that this step is never sent: make it earlier, make the job due less often, or leave `replace` out
        hint: fix the plugin or its settings; `roost check` verifies the result

        unknown-resource:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`: `policy.needs`: there is no resource `no-such-pump`
        hint: to allow it, put this into `roost.toml`, and start Roost again:
          [[resource]]
          name = "no-such-pump"
          capacity = 1
          plugins = ["bad-jobs"]

        ungranted-report:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`, step 1: `confirm.topic` `neighbour/door`: it is outside what `bad-jobs` may read
        hint: to allow it, put this into `plugins/bad-jobs.toml`:
          [grants]
          subscribe = ["bad-jobs/#", "neighbour/door"]

        ungranted-topic:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`, step 1: `topic` `neighbour/door`: it is outside what `bad-jobs` may publish to
        hint: to allow it, put this into `plugins/bad-jobs.toml`:
          [grants]
          publish = ["bad-jobs/#", "neighbour/door"]

        dollar-topic:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`, step 1: `topic`: `$SYS/broker` is not a topic: topics that start with `$` belong to the broker
        hint: fix the plugin or its settings; `roost check` verifies the result

        wildcard-topic:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`, step 1: `topic`: `bad-jobs/bad-jobs/bad/#` is not a topic: a message goes to one topic, so `+` and `#` cannot be in it
        hint: fix the plugin or its settings; `roost check` verifies the result

        nan-range:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`, step 1: `confirm.matches.json-range` NaN to NaN: both must be finite, and `min` at most `max`
        hint: fix the plugin or its settings; `roost check` verifies the result

        at-before-1970:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`: `trigger.at` -1: it must be 0 to 253,402,300,799,999, in milliseconds since 1970
        hint: fix the plugin or its settings; `roost check` verifies the result

        at-after-9999:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`: `trigger.at` 9223372036854775807: it must be 0 to 253,402,300,799,999, in milliseconds since 1970
        hint: fix the plugin or its settings; `roost check` verifies the result

        never-cron:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`: `trigger.cron.expression`: `0 0 31 2 *` is not a cron expression: the calendar has no such day
        hint: fix the plugin or its settings; `roost check` verifies the result

        many-steps:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`: `action.steps` 101: there must be 1 to 100
        hint: fix the plugin or its settings; `roost check` verifies the result

        bad-json:
          caused by: device `bad-jobs` has no plan
          caused by: job `bad`, step 1: `confirm.matches.json.value` `open`: it is not JSON: expected value at line 1 column 1; a string must be in quotes, as in `"open"`
        hint: fix the plugin or its settings; `roost check` verifies the result

    "#]].assert_eq(&refusals);
}

#[test]
fn every_guest_has_a_test() {
    let read = |folder: &Path| -> String {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        files.map(|path| fs::read_to_string(path).unwrap()).collect()
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
    let ran = Ran::of(forbidden.current_dir(site.path()));
    if ran.code == Some(77) {
        return;
    }
    expect![[r#"
        error: plugin `at-once` was not loaded
          caused by: machine code cannot be executed: failed to load code for: /proc/self/fd/[N]: unable to make memory executable: failed to make memory executable: Permission denied (os error 13)
        hint: Roost compiles plugins to machine code, and the system forbids that: check `MemoryDenyWriteExecute` in the systemd unit, SELinux's `execmem`, and whether the data folder's disk is mounted with `noexec`
    "#]].assert_eq(&redact_in(site.path(), &ran.refused()));
}

#[test]
fn the_compiler_is_confined() {
    let out = tempfile::tempfile().unwrap();
    let mut compiler = Command::new(binary());
    let compiler =
        compiler.args(["compile", "1610612736", "60"]).stdin(Stdio::piped()).stdout(out.try_clone().unwrap());
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
