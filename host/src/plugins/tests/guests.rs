//! Guests in text form: each constant is a body of `schedule-jobs`.

/// Returns an empty plan.
pub(in crate::plugins) const NOTHING: &str = "(i32.const 1024)";
pub(super) const LOOPS: &str = "(loop (br 0)) (unreachable)";
/// Traps two calls deep.
pub(super) const TRAPS: &str = "(call $fails) (unreachable)";
pub(super) const EATS_MEMORY: &str =
    "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (i32.const 1024)";
/// Returns an error: `no seeds`.
pub(super) const SAYS_NO: &str =
    "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 16))
    (i32.store (i32.const 1032) (i32.const 8)) (i32.const 1024)";
/// Returns an error of 20 MiB.
pub(super) const SAYS_MUCH: &str = "(drop (memory.grow (i32.const 400)))
    (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 2048))
    (i32.store (i32.const 1032) (i32.const 20971520)) (i32.const 1024)";
/// Traps if an earlier call has left data in its memory, and leaves data itself.
pub(super) const LEAVES: &str = "(drop (memory.grow (i32.const 400)))
    (if (i32.or (i32.load (i32.const 2000)) (i32.load (i32.const 20000000))) (then (unreachable)))
    (if (i32.ne (i32.load8_u (i32.const 16)) (i32.const 110)) (then (unreachable)))
    (i32.store8 (i32.const 16) (i32.const 120))
    (i32.store (i32.const 2000) (i32.const 1)) (i32.store (i32.const 20000000) (i32.const 1)) (i32.const 1024)";
/// Logs 5,000 lines.
pub(super) const SPAMS: &str = "(local $n i32) (loop
    (call $log (i32.const 2) (i32.const 16) (i32.const 8))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if 0 (i32.lt_u (local.get $n) (i32.const 5000)))) (i32.const 1024)";

/// Returns a distinct component with an empty plan.
pub(super) fn numbered(number: u32) -> Vec<u8> {
    guest(&format!("(drop (i32.const {number})) {NOTHING}"))
}

/// Returns a component whose `schedule-jobs` has this body. Its memory has the text `no seeds` at 16, and zeros at
/// 1024.
pub(in crate::plugins) fn guest(body: &str) -> Vec<u8> {
    guest_with("", body)
}

/// Returns a component with further items in its module.
pub(super) fn guest_with(items: &str, body: &str) -> Vec<u8> {
    parse(items, body, "")
}

/// Returns one task, `water`.
pub(super) const ONE_TASK: &str = "(i32.const 96)";
/// Returns no steps, and the note `Water the porch`.
pub(super) const NO_STEPS: &str =
    "(i32.store8 (i32.const 1040) (i32.const 1)) (i32.store8 (i32.const 1036) (i32.const 1))
    (i32.store (i32.const 1044) (i32.const 32)) (i32.store (i32.const 1048) (i32.const 15)) (i32.const 1024)";

/// Returns a component with an empty plan whose `list-tasks` and `run-task` have these bodies.
pub(super) fn guest_with_tasks(list: &str, run: &str) -> Vec<u8> {
    parse("", NOTHING, &include_str!("tasks.wat").replace("LIST", list).replace("RUN", run))
}

/// Returns a component with an empty plan in whose text `from` is replaced.
pub(super) fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = include_str!("guest.wat").replace("ITEMS", "").replace("BODY", NOTHING).replace("TASKS", "");
    assert!(text.contains(from), "{from}");
    wat::parse_str(text.replace(from, to)).unwrap()
}

fn parse(items: &str, body: &str, tasks: &str) -> Vec<u8> {
    let text = include_str!("guest.wat").replace("ITEMS", items).replace("BODY", body).replace("TASKS", tasks);
    wat::parse_str(text).unwrap()
}
