//! The bindings that `wit-bindgen` generates from the contract in `wit/`. Not for plugin authors: the other modules
//! wrap them.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    clippy::uninlined_format_args,
    clippy::semicolon_if_nothing_returned,
    reason = "generated"
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "device-plugin",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "roost_plugin_sdk::bindings",
    additional_derives: [Clone, PartialEq],
});

/// The optional world for tasks, with the same types.
pub mod with_tasks {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-tasks",
        with: { "roost:device/types@1.0.0": crate::bindings::roost::device::types },
        pub_export_macro: true,
        export_macro_name: "export_tasks",
        default_bindings_module: "roost_plugin_sdk::bindings::with_tasks",
        additional_derives: [Clone, PartialEq],
    });
}
