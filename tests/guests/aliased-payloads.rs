//! A thousand jobs that share one payload of 1 MiB: little for the guest, a gigabyte for a host that copies without
//! counting.
#![allow(unsafe_code, reason = "the purpose of this guest")]

use roost_plugin_sdk::bindings::{
    exports::roost::device::schedule::{Action, Every, Guest, Job, Trigger},
    roost::device::types::{Context, Message, Step},
};

const PAYLOAD_BYTES: usize = 1 << 20;

struct AliasedPayloads;

impl Guest for AliasedPayloads {
    fn schedule_jobs(ctx: Context) -> Result<Vec<Job>, String> {
        let shared = Vec::leak(vec![b'x'; PAYLOAD_BYTES]).as_mut_ptr();
        let job = |number| {
            // SAFETY: none: freeing it twice is what this guest would do. It is lowered as it is, and never gets there.
            let payload = unsafe { Vec::from_raw_parts(shared, PAYLOAD_BYTES, PAYLOAD_BYTES) };
            let message =
                Message { topic: format!("{}/x", ctx.plugin), payload, qos: 1, retain: false, properties: None };
            Job {
                id: format!("job-{number}"),
                label: None,
                trigger: Trigger::Every(Every { period_ms: 60_000, anchor: None }),
                action: Action::Steps(vec![Step { after_ms: 0, message, once: false, confirm: None }]),
                policy: None,
            }
        };
        Ok((0..1_000).map(job).collect())
    }
}

roost_plugin_sdk::bindings::export_component!(AliasedPayloads with_types_in roost_plugin_sdk::bindings);
