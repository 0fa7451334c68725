//! Takes `mib` of memory, touches all of it, and sleeps for the duration `for`, both in its settings.

use roost_plugin_sdk::{Context, Device, Job, Result, Span};
use serde::Deserialize;

#[derive(Deserialize)]
struct Hoards {
    mib: usize,
    #[serde(rename = "for")]
    span: Span,
}

impl Device for Hoards {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let hoard = vec![1_u8; self.mib << 20];
        std::thread::sleep(std::time::Duration::from_millis(u64::try_from(self.span.millis())?));
        let sum = hoard.iter().step_by(4_096).map(|byte| usize::from(*byte)).sum::<usize>();
        Ok(vec![Job::daily("awake", "12:00").publish(ctx.topic("awake"), sum.to_string())])
    }
}

roost_plugin_sdk::export!(Hoards);
