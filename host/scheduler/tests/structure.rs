//! The structure of the source: what a module may know of the others.
#![allow(clippy::unwrap_used, reason = "a failed check of the source may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The modules that own state, each its own.
const MACHINES: [&str; 6] = ["agenda", "catalog", "commits", "delivery", "work_queue", "runs"];
/// The fields of the scheduler: its machines, and what concerns all of them.
const FIELDS: usize = 12;

/// The edges of a graph between modules.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the code of all modules by path (`runs::order`), without comments and tests.
fn modules() -> BTreeMap<String, String> {
    let (mut folders, mut modules) = (vec![src()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(src()).unwrap().with_extension("");
            let name = name.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("::");
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            if name != "lib" && !name.ends_with("tests") {
                modules.insert(name, code);
            }
        }
    }
    modules
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Returns the paths of a `use` tree, such as `a::{b, c::{d}}`.
fn paths_of(tree: &str, prefix: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((before, rest)) = tree.split_once('{') else { return paths.push(format!("{prefix}{tree}")) };
    let prefix = format!("{prefix}{before}");
    let (mut depth, mut branch) = (0, String::new());
    for letter in rest.strip_suffix('}').unwrap().chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if letter == ',' && depth == 0 {
            paths_of(&std::mem::take(&mut branch), &prefix, paths);
        } else {
            branch.push(letter);
        }
    }
    if !branch.trim().is_empty() {
        paths_of(&branch, &prefix, paths);
    }
}

/// Returns the modules that each module imports from.
fn imports(modules: &BTreeMap<String, String>) -> Graph {
    let mut graph = Graph::new();
    for (module, code) in modules {
        let parent = module.rsplit_once("::").map_or(String::new(), |(parent, _)| format!("{parent}::"));
        let mut paths = Vec::new();
        for (at, _) in code.match_indices("use ") {
            let visibility = code[..at].rsplit('\n').next().unwrap();
            if ["", "pub ", "pub(crate) ", "pub(super) "].contains(&visibility) {
                paths_of(code[at + 4..].split(';').next().unwrap(), "", &mut paths);
            }
        }
        for path in paths {
            let path = match path.split_once("::") {
                Some(("crate", rest)) => rest.to_owned(),
                Some(("super", rest)) => format!("{parent}{rest}"),
                Some(("self", rest)) => format!("{module}::{rest}"),
                _ => continue,
            };
            let parts: Vec<&str> = path.split("::").collect();
            let known = (1..=parts.len()).rev().map(|length| parts[..length].join("::"));
            let imported = known.into_iter().find(|path| modules.contains_key(path));
            graph.entry(module.clone()).or_default().extend(imported.filter(|imported| imported != module));
        }
    }
    graph
}

/// Returns the modules of the scheduler whose methods each of them calls.
fn calls(modules: &BTreeMap<String, String>) -> Graph {
    let layers: Vec<_> = modules.iter().filter(|(module, _)| module.starts_with("scheduler::")).collect();
    let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, code) in &layers {
        for (at, _) in code.match_indices("fn ") {
            let name = code[at + 3..].split(|letter| !is_word(letter)).next().unwrap();
            homes.entry(name).or_default().insert(module);
        }
    }
    let mut graph = Graph::new();
    for (module, code) in &layers {
        let called = code.match_indices("self.").map(|(at, _)| &code[at + 5..]).filter_map(|rest| {
            let (name, _) = rest.split_once('(')?;
            name.chars().all(is_word).then_some(name)
        });
        let homes = called.filter_map(|name| homes.get(name)).filter(|homes| !homes.contains(module.as_str()));
        graph.entry((*module).clone()).or_default().extend(homes.flatten().map(|home| (*home).to_owned()));
    }
    graph
}

/// Returns a circle in a graph, if there is one: removes the modules that depend on nothing until none is left.
fn circle(mut graph: Graph) -> Option<Graph> {
    loop {
        let leaves: BTreeSet<String> = graph
            .iter()
            .flat_map(|(module, on)| on.iter().chain([module]))
            .filter(|module| graph.get(*module).is_none_or(BTreeSet::is_empty))
            .cloned()
            .collect();
        if leaves.is_empty() {
            return Some(graph).filter(|graph| !graph.is_empty());
        }
        graph.retain(|module, _| !leaves.contains(module));
        graph.values_mut().for_each(|on| on.retain(|module| !leaves.contains(module)));
    }
}

#[test]
fn no_machine_names_another_one_or_the_scheduler() {
    let imports = imports(&modules());
    let machine = |module: &str| module.split("::").next().unwrap().to_owned();
    for (module, on) in imports.iter().filter(|(module, _)| MACHINES.contains(&machine(module).as_str())) {
        for other in on.iter().filter(|other| machine(other) != machine(module)) {
            let is_known = MACHINES.contains(&machine(other).as_str()) || machine(other) == "scheduler";
            assert!(!is_known, "`{module}` names `{other}`: let it return a value, and `scheduler` pass that on");
        }
    }
}

#[test]
fn no_modules_import_one_another() {
    let circle = circle(imports(&modules()));
    assert_eq!(circle, None, "move what two of them share into a module of its own");
}

#[test]
fn no_files_of_the_scheduler_call_one_another() {
    let circle = circle(calls(&modules()));
    assert_eq!(circle, None, "move the methods that two of them share into a file below both");
}

#[test]
fn circles_are_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).into()).or_default().insert((*to).into());
        }
        graph
    };
    assert_eq!(circle(graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(circle(graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")])).unwrap().len(), 3);
    let modules = modules();
    assert!(imports(&modules)["scheduler::step"].contains("work_queue"));
    assert!(calls(&modules)["scheduler::step"].contains("scheduler::running::attempts"));
}

#[test]
fn the_scheduler_is_made_of_machines() {
    let code = &modules()["scheduler::state"];
    let (_, rest) = code.split_once("pub struct Scheduler {").unwrap();
    let (fields, _) = rest.split_once("\n}").unwrap();
    let count = fields.lines().filter(|line| line.contains(": ")).count();
    assert!((MACHINES.len()..=FIELDS).contains(&count), "{count} fields: does one of them belong to a machine?");
}
