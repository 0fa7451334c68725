//! Each kind of file that is not a plugin is refused with its own error and hint.

use super::{candidate, guests, load};

async fn message(component: Vec<u8>) -> String {
    let error = load(component).await.err().expect("refused");
    error.report(&candidate(Vec::new(), None).plugin, None).to_string()
}

fn import(instance: &str) -> Vec<u8> {
    guests::changed("  (component $schedule", &format!("  (import {instance})\n  (component $schedule"))
}

/// Checks that a component is refused with the given parts of the error and of the hint.
async fn is_refused(component: Vec<u8>, why: &str, hint: &str) {
    let message = message(component).await;
    let (causes, hinted) = message.split_once("\nhint: ").unwrap_or_else(|| panic!("no hint: {message}"));
    assert!(causes.contains(why) && hinted.contains(hint), "{message}");
}

#[tokio::test]
async fn files_that_are_not_components() {
    is_refused(Vec::new(), "the file is empty", "copy it again").await;
    is_refused(b"(component)".to_vec(), "in text form", "wasm-tools parse").await;
    is_refused(b"#!/bin/sh".to_vec(), "not a WebAssembly component, but looks like a script", "wasm32-wasip2").await;
    is_refused(wat::parse_str("(module)").unwrap(), "a core module", "wasm-tools component new").await;
    is_refused(b"\0asm\x0d\0\x01\0\x01\x01\x00".to_vec(), "unexpected end", "the file is damaged").await;
}

#[tokio::test]
async fn components_of_another_world_or_version() {
    is_refused(wat::parse_str("(component)").unwrap(), "it exports nothing", "device-plugin").await;
    let export = "(export \"roost:device/schedule@1.0.0\"";
    let newer = guests::changed(export, "(export \"roost:device/schedule@2.0.0\"");
    is_refused(newer, "it was built for `roost:device/schedule@2.0.0`", "install a newer Roost").await;
    let missing = guests::changed("(func (export \"schedule-jobs\")", "(func (export \"plan-jobs\")");
    is_refused(missing, "does not have export `schedule-jobs`", "`wit/` of this Roost").await;
    is_refused(import("\"roost:device/kv@1.0.0\" (instance)"), "which this Roost does not provide", "newer Roost")
        .await;
    let import = import("\"roost:device/calendar@1.0.0\" (instance (export \"no-such\" (func)))");
    is_refused(import, "instance export `no-such` has the wrong type", "`wit/` of this Roost").await;
}

#[tokio::test]
async fn components_with_imports_that_plugins_may_not_use() {
    is_refused(import("\"wasi:http/types@0.2.0\" (instance)"), "which plugins may not use", "plugins have no access")
        .await;
    is_refused(import("\"schedule\" (func)"), "it imports `schedule`", "plugins have no access").await;
}

#[tokio::test]
async fn components_with_other_types() {
    let changed = guests::changed("(result (result (list $job) (error string)))", "(result u32)");
    is_refused(
        changed,
        "`schedule-jobs` has another type than in the contract: expected `result` found `u32`",
        "`wit/`",
    )
    .await;
    let renamed = guests::changed("(field \"needs\" (option string))", "(field \"wants\" (option string))");
    is_refused(renamed, "expected record field named needs, found wants", "`wit/` of this Roost").await;
}

#[tokio::test]
async fn components_that_exceed_the_limits_of_a_call() {
    let with = |items: &str| guests::guest_with(items, guests::NOTHING);
    let why = "it requires more than one call may use: ";
    is_refused(with(&"(memory 1)".repeat(17)), why, "ordinary toolchains do not").await;
    is_refused(with("(table 2000000 funcref)"), why, "ordinary toolchains do not").await;
    is_refused(with("(memory i64 70000)"), why, "ordinary toolchains do not").await;
    is_refused(with(&"(table 1 funcref)".repeat(201)), "tables count exceeds limit", "ordinary plugins take far less")
        .await;
    is_refused(with("(memory 5000)"), "more than 256 MiB of memory", "raise `memory_mib`").await;
    let arrays = "(type $bytes (array i8)) (global (ref $bytes) (array.new_default $bytes (i32.const 1)))";
    is_refused(with(arrays), "gc types are disabled", "default features").await;
}

#[tokio::test]
async fn components_whose_calls_fail() {
    is_refused(guests::guest(guests::TRAPS), "trapped: ", "the fault is in the plugin").await;
    is_refused(guests::guest(guests::LOOPS), "ran longer than 500 ms", "raise `cpu_ms`").await;
    is_refused(guests::guest(guests::SAYS_MUCH), "returned more than 16 MiB", "raise `lift_mib`").await;
}
