//! A guest can only use up its own budget (I7), and the error names what it did.

use std::io::Write as _;

use expect_test::expect;
use roost_scheduler::event::Digest;
use roost_tests::redact;

use super::{candidate, causes, guests, load, loader};
use crate::{
    clock,
    plugins::{
        folder::{Candidate, SettingsText},
        limits,
        linked_cache::LinkedCache,
    },
};

#[tokio::test]
async fn an_ordinary_plugin_loads() {
    let accepted = load(guests::guest(guests::NOTHING)).await.map_err(|error| error.to_string());
    let loaded = accepted.unwrap().loaded;
    assert_eq!(loaded.devices.len(), 1);
    assert_eq!(loaded.devices[0].plan.as_ref().unwrap().jobs, []);
}

#[tokio::test]
async fn the_plugins_own_error_is_reported() {
    assert_eq!(
        causes(guests::guest(guests::SAYS_NO)).await,
        "device `porch` has no plan; `schedule-jobs` returned an error: no seeds"
    );
}

#[tokio::test]
async fn a_loop_is_interrupted_in_any_function() {
    let ran_long = "device `porch` has no plan; `schedule-jobs` ran longer than 500 ms";
    assert_eq!(causes(guests::guest(guests::LOOPS)).await, ran_long);
    let looping_start = guests::guest_with("(func $start (loop (br 0))) (start $start)", guests::NOTHING);
    assert_eq!(causes(looping_start).await, ran_long);
}

#[tokio::test]
async fn memory_is_limited_and_the_limit_is_named() {
    let error = causes(guests::guest(guests::EATS_MEMORY)).await;
    assert_eq!(error, "device `porch` has no plan; `schedule-jobs` requested more than 256 MiB of memory");
}

#[tokio::test]
async fn the_number_of_memories_is_limited() {
    let with = |memories: usize| guests::guest_with(&"(memory 1)".repeat(memories - 1), guests::NOTHING);
    assert!(load(with(limits::MEMORIES)).await.is_ok());
    let error = causes(with(limits::MEMORIES + 1)).await;
    expect!["it requires more than one call may use: The component transitively contains 17 Wasm linear memories, which exceeds the configured maximum of 16 in the pooling allocator"].assert_eq(&error);
}

#[tokio::test]
async fn a_call_finds_no_data_of_earlier_calls() {
    let data = tempfile::tempdir().unwrap();
    let loader = loader(data.path());
    for body in [guests::LEAVES, &format!("(drop (i32.const 0)) {}", guests::LEAVES)] {
        let program = loader.propose(candidate(guests::guest(body), None)).unwrap();
        let program = loader.program(program).await.map_err(|error| error.to_string()).unwrap();
        for _ in 0..4 {
            let plan = loader.plan(&program, &program.settings.devices[0], clock::now).await;
            assert!(plan.is_ok(), "{:?}", plan.err().map(|error| error.to_string()));
        }
    }
}

#[tokio::test]
async fn the_size_of_answers_is_limited() {
    let error = causes(guests::guest(guests::SAYS_MUCH)).await;
    assert_eq!(error, "device `porch` has no plan; `schedule-jobs` returned more than 16 MiB to the host");
}

#[tokio::test]
async fn a_trap_names_its_functions() {
    let error = causes(guests::guest(guests::TRAPS)).await;
    let expected = "`schedule-jobs` trapped: wasm trap: wasm `unreachable` instruction executed, in `fails` < `plan`";
    assert_eq!(error, format!("device `porch` has no plan; {expected}"));
}

#[tokio::test]
async fn a_flood_of_lines_does_not_fail_the_load() {
    assert!(load(guests::guest(guests::SPAMS)).await.is_ok());
}

#[tokio::test]
async fn files_that_are_not_plugins_have_their_own_errors() {
    let module = wat::parse_str("(module)").unwrap();
    let other = wat::parse_str("(component)").unwrap();
    assert_eq!(causes(b"hello".to_vec()).await, "it is not a WebAssembly component");
    assert_eq!(causes(module).await, "it is a core module, but must be a component");
    assert_eq!(
        causes(other).await,
        "it does not export `roost:device/schedule@1.0.0`, which every plugin must export; it exports nothing"
    );
    let mut damaged = guests::guest(guests::NOTHING);
    let middle = damaged.len() / 2;
    (&mut damaged[middle..]).write_all(&[0xff; 16]).unwrap();
    assert!(load(damaged).await.is_err());
}

#[tokio::test]
async fn a_plugin_with_many_devices_does_not_delay_the_plans_of_others() {
    let data = tempfile::tempdir().unwrap();
    let loader = loader(data.path());
    let settings = Some("[limits]\ncpu_ms = 60000");
    let greedy = loader.propose(candidate(guests::guest(guests::LOOPS), settings)).unwrap();
    let greedy = loader.program(greedy).await.map_err(|error| error.to_string()).unwrap();
    let modest = loader.propose(candidate(guests::guest(guests::NOTHING), None)).unwrap();
    let modest = loader.program(modest).await.map_err(|error| error.to_string()).unwrap();
    let plan_greedy = || loader.plan(&greedy, &greedy.settings.devices[0], clock::now);
    tokio::select! {
        biased;
        _ = async { tokio::join!(plan_greedy(), plan_greedy(), plan_greedy()) } => panic!("the greedy one was first"),
        plan = loader.plan(&modest, &modest.settings.devices[0], clock::now) => assert!(plan.is_ok()),
    }
}

#[tokio::test]
async fn recently_called_components_stay_linked() {
    let data = tempfile::tempdir().unwrap();
    let loader = loader(data.path());
    let program = loader.propose(candidate(guests::guest(guests::NOTHING), None)).unwrap();
    let program = loader.program(program).await.map_err(|error| error.to_string()).unwrap();
    let linked = loader.linked(&program).await.map_err(|error| error.to_string()).unwrap();

    let ready = LinkedCache::default();
    let digest = |number| Digest([number; 32]);
    let most = limits::COMPONENTS_READY as u8;
    (0..most).for_each(|number| ready.put(digest(number), linked.clone()));
    assert!(ready.get(digest(0)).is_some(), "used again");
    ready.put(digest(most), linked);
    assert!(ready.get(digest(0)).is_some());
    assert!(ready.get(digest(1)).is_none(), "the least recently used one is evicted");
}

#[tokio::test]
async fn settings_behind_a_link_out_of_the_folder_are_not_quoted() {
    let data = tempfile::tempdir().unwrap();
    let loader = loader(data.path());
    let message = |may_quote| {
        let settings = Some(SettingsText { text: "[config]\n[hunter2]\n".into(), may_quote });
        let candidate = Candidate { settings, ..candidate(guests::guest(guests::NOTHING), None) };
        let name = candidate.plugin.clone();
        loader.propose(candidate).err().unwrap().report(&name, None).to_string()
    };
    expect![[r#"
        plugin `porch` was not loaded
          caused by: porch.toml:2:2: unknown key `hunter2`
        hint: known here: `config`, `device`, `grants`, `limits`; the plugin's own settings belong below `[config]`, and a device's location below `[[device]]`"#]].assert_eq(&redact(&message(true)));
    expect![[r#"
        plugin `porch` was not loaded
          caused by: porch.toml:2:2: the settings are invalid
          caused by: the error is not shown, because a link leads to a file outside of the plugin folder
        hint: replace the link by the file, or run `roost check PLUGIN.wasm` as a user that may read that file"#]]
    .assert_eq(&redact(&message(false)));
}
