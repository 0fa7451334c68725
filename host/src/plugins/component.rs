//! Checks a component against the contract, and links it.

use wasmtime::component::{Component, Linker, types::ComponentItem};

use super::{
    complete,
    contract::bindings::{DevicePluginPre, WithTasksPre},
    guest::Guest,
    limits,
};

/// The served interfaces of WASI 0.2. Toolchains import files and sockets even if a plugin does not use them, so these
/// are served as well, but give no access.
const WASI: [&str; 6] = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
const SERVED: [&str; 4] =
    ["roost:device/types@1.", "roost:device/log@1.", "roost:device/calendar@1.", "roost:device/sun@1."];
const SCHEDULE: &str = "roost:device/schedule";
const TASKS: &str = "roost:device/tasks";

/// Why a file is not a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ComponentError {
    #[error("the file is empty")]
    Empty,
    #[error("it is WebAssembly in text form, but must be in binary form")]
    Text,
    #[error("it is not a WebAssembly component{}", but(*.looks_like))]
    NotWasm { looks_like: Option<&'static str> },
    #[error("it is a core module, but must be a component")]
    CoreModule { made_by: Option<Maker> },
    #[error("it does not export `{SCHEDULE}@1.0.0`, which every plugin must export; it exports {}", listed(.exports))]
    NoSchedule { exports: Vec<String> },
    #[error("it was built for `{export}`, but this Roost supports `{supported}@1.0.0`")]
    OtherVersion { export: String, supported: &'static str },
    #[error("it imports {}, which this Roost does not provide", listed(.0))]
    NewerContract(Vec<String>),
    #[error("it imports {}, which plugins may not use", listed(.0))]
    NotGranted(Vec<String>),
    #[error("it does not match the contract: {0}")]
    Unfitting(String),
}

impl ComponentError {
    /// Returns what the author or the operator can do about the error.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("copy it again"),
            Self::Text => Some("convert it with `wasm-tools parse PLUGIN.wat -o PLUGIN.wasm`"),
            Self::NotWasm { .. } => Some(
                "a plugin is a WebAssembly component; build it with `cargo build --release --target wasm32-wasip2`",
            ),
            Self::CoreModule { made_by: Some(Maker::Rust) } => {
                Some("build it with `cargo build --release --target wasm32-wasip2`")
            }
            Self::CoreModule { made_by } => Some(match made_by {
                Some(Maker::Go) => {
                    "Go makes core modules: build it with `-buildmode=c-shared`, with the bindings of `wit-bindgen go`, and \
                     then make it a component: `npx @bytecodealliance/jco new PLUGIN.wasm --wasi-reactor -o OUT.wasm`, or \
                     `wasm-tools component new` with WASI's adapter for reactors"
                }
                Some(Maker::C) => {
                    "C compilers make core modules: build it with `-mexec-model=reactor`, with the bindings of `wit-bindgen \
                     c`, and then make it a component: `npx @bytecodealliance/jco new PLUGIN.wasm --wasi-reactor -o \
                     OUT.wasm`, or `wasm-tools component new` with WASI's adapter for reactors"
                }
                _ => {
                    "make it a component with `wasm-tools component new`; `roost new` makes a plugin that is one, in \
                     several languages"
                }
            }),
            Self::NoSchedule { .. } => Some("build it for the world `device-plugin` of `wit/`, or with the plugin SDK"),
            Self::OtherVersion { .. } | Self::NewerContract(_) => {
                Some("install a newer Roost, or build the plugin against the `wit/` of this one")
            }
            Self::NotGranted(imports) if imports.iter().all(|name| name.starts_with("wasi:http/")) => Some(
                "plugins have no access to the network. componentize-js and jco import it even if it is not used: build it \
                 with `-d http -d fetch-event`, or by componentize-qjs",
            ),
            Self::NotGranted(_) => {
                Some("plugins have no access to the network or the system; remove the code that uses these interfaces")
            }
            Self::Unfitting(_) => Some("build it against the `wit/` of this Roost"),
        }
    }
}

/// The language of a core module, as its sections name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    Rust,
    Go,
    C,
}

impl Maker {
    /// Finds the name of the compiler. Rust's own libraries are partly in C, so it comes first.
    fn of(module: &[u8]) -> Option<Self> {
        let names: [(&[u8], Self); 4] =
            [(b"rustc", Self::Rust), (b"cmd/compile", Self::Go), (b"go:buildid", Self::Go), (b"clang", Self::C)];
        let names_it = |name: &[u8]| module.windows(name.len()).any(|bytes| bytes == name);
        names.into_iter().find(|(name, _)| names_it(name)).map(|(_, maker)| maker)
    }
}

fn but(looks_like: Option<&str>) -> String {
    looks_like.map(|what| format!(", but looks like {what}")).unwrap_or_default()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".into();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The first bytes of other kinds of files. The bytes of such a file are never shown, because a link may lead to a
/// secret.
const LOOKS: [(&[u8], &str); 5] = [
    (b"\x7fELF", "a native program"),
    (b"<", "a web page"),
    (b"\x1f\x8b", "an archive"),
    (b"PK\x03\x04", "an archive"),
    (b"#!", "a script"),
];

/// Checks the first bytes of a file, before anything is compiled.
pub(super) fn recognise(bytes: &[u8]) -> Result<(), ComponentError> {
    if bytes.is_empty() {
        return Err(ComponentError::Empty);
    }
    if !bytes.starts_with(complete::MAGIC) {
        let text = bytes.trim_ascii_start();
        if text.starts_with(b"(component") || text.starts_with(b"(module") || text.starts_with(b";;") {
            return Err(ComponentError::Text);
        }
        let known = LOOKS.iter().find(|(start, _)| bytes.starts_with(start));
        return Err(ComponentError::NotWasm { looks_like: known.map(|(_, what)| *what) });
    }
    // The preamble's last two bytes are the layer: 0 is a core module, 1 a component.
    if bytes.get(6..8) == Some(&[0, 0]) {
        return Err(ComponentError::CoreModule { made_by: Maker::of(bytes) });
    }
    Ok(())
}

/// A linked component, ready to be instantiated for a call.
pub(super) struct Linked {
    pub(super) plugin: DevicePluginPre<Guest>,
    /// The same component in the world with tasks, if it exports them.
    pub(super) tasks: Option<WithTasksPre<Guest>>,
    /// Whether it has one memory and few tables, so that many calls may be under way at the same time.
    pub(super) is_ordinary: bool,
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

impl Linked {
    pub(super) fn new(
        engine: &wasmtime::Engine,
        linker: &Linker<Guest>,
        component: &Component,
    ) -> Result<Self, ComponentError> {
        let kind = component.component_type();
        let imports: Vec<_> = kind
            .imports(engine)
            .filter(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
            .map(|(name, _)| name.to_owned())
            .collect();
        let mut exports: Vec<_> = kind.exports(engine).map(|(name, _)| name.to_owned()).collect();
        // Linkers order them as they like.
        exports.sort_unstable();
        check_exports(&exports)?;
        let has_tasks = exported(&exports, TASKS)?.is_some();
        check_imports(&imports)?;
        let unfitting = |error: wasmtime::Error| ComponentError::Unfitting(format!("{error:#}"));
        let instance = linker.instantiate_pre(component).map_err(unfitting)?;
        let tasks = has_tasks.then(|| WithTasksPre::new(instance.clone())).transpose().map_err(unfitting)?;
        let plugin = DevicePluginPre::new(instance).map_err(unfitting)?;
        let is_ordinary = component
            .resources_required()
            .is_some_and(|required| required.num_memories <= 1 && required.num_tables <= limits::ORDINARY_TABLES);
        Ok(Self { plugin, tasks, is_ordinary, imports, exports })
    }
}

fn check_exports(exports: &[String]) -> Result<(), ComponentError> {
    match exported(exports, SCHEDULE)? {
        None => Err(ComponentError::NoSchedule { exports: exports.to_vec() }),
        Some(_) => Ok(()),
    }
}

/// Finds the export of an interface of the contract.
///
/// # Errors
/// Returns an error if it is exported in a version that this Roost does not support.
fn exported<'a>(exports: &'a [String], interface: &'static str) -> Result<Option<&'a String>, ComponentError> {
    let export = exports.iter().find(|name| name.split('@').next() == Some(interface));
    match export {
        Some(export) if !export[interface.len()..].starts_with("@1.") => {
            Err(ComponentError::OtherVersion { export: export.clone(), supported: interface })
        }
        export => Ok(export),
    }
}

fn check_imports(imports: &[String]) -> Result<(), ComponentError> {
    let served = |name: &&String| SERVED.iter().any(|start| name.starts_with(start));
    let wasi = |name: &&String| WASI.iter().any(|start| name.starts_with(start)) && name.contains("@0.2.");
    let refused: Vec<_> = imports.iter().filter(|name| !served(name) && !wasi(name)).cloned().collect();
    let (newer, other): (Vec<_>, Vec<_>) = refused.into_iter().partition(|name| name.starts_with("roost:"));
    if !other.is_empty() {
        return Err(ComponentError::NotGranted(other));
    }
    if newer.is_empty() { Ok(()) } else { Err(ComponentError::NewerContract(newer)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_recognised_by_their_first_bytes() {
        let text = |bytes: &[u8]| recognise(bytes).expect_err("no component").to_string();
        assert_eq!(text(b""), "the file is empty");
        assert_eq!(text(b"\n (component)"), "it is WebAssembly in text form, but must be in binary form");
        assert_eq!(
            text(b"\x7fELF\x02\x01\x01\0\0"),
            "it is not a WebAssembly component, but looks like a native program"
        );
        assert_eq!(text(b"hunter2"), "it is not a WebAssembly component");
        assert_eq!(text(b"\0asm\x01\0\0\0"), "it is a core module, but must be a component");
        assert_eq!(recognise(b"\0asm\x0d\0\x01\0"), Ok(()));
    }

    #[test]
    fn a_core_module_gets_the_hint_of_its_language() {
        let hint = |section: &str| {
            let module = [b"\0asm\x01\0\0\0", section.as_bytes()].concat();
            recognise(&module).expect_err("no component").hint().expect("a hint")
        };
        assert!(hint("clang 21 rustc 1.95.0").contains("cargo build --release --target wasm32-wasip2"));
        assert!(hint("go:buildid").starts_with("Go makes core modules: build it with `-buildmode=c-shared`"));
        assert!(
            hint("Debian clang").starts_with("C compilers make core modules: build it with `-mexec-model=reactor`")
        );
        assert!(hint("").contains("`roost new`"));
    }

    #[test]
    fn an_import_of_http_alone_is_a_mistake_of_the_build() {
        let hint = |names: &[&str]| {
            let imports: Vec<_> = names.iter().map(ToString::to_string).collect();
            check_imports(&imports).expect_err("it is not granted").hint().expect("a hint")
        };
        let http = ["wasi:http/types@0.2.10", "wasi:http/outgoing-handler@0.2.10", "wasi:io/poll@0.2.10"];
        assert!(hint(&http).contains("`-d http -d fetch-event`"));
        assert!(!hint(&["wasi:http/types@0.2.10", "wasi:nn/graph@0.2.0"]).contains("fetch-event"));
    }

    #[test]
    fn errors_name_the_imports_that_are_not_provided() {
        let imports = |names: &[&str]| check_imports(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(imports(&["wasi:io/poll@0.2.6", "roost:device/sun@1.3.0"]), Ok(()));
        assert_eq!(
            imports(&["roost:device/kv@1.0.0"]).map_err(|error| error.to_string()),
            Err("it imports `roost:device/kv@1.0.0`, which this Roost does not provide".into())
        );
        assert_eq!(
            imports(&["wasi:http/types@0.2.0", "wasi:sockets/tcp@0.3.0", "roost:device/kv@1.0.0"]),
            Err(ComponentError::NotGranted(vec!["wasi:http/types@0.2.0".into(), "wasi:sockets/tcp@0.3.0".into()]))
        );
    }
}
