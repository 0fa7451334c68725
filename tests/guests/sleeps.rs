//! Sleeps for a minute before it returns, or for the duration `for` in its settings, without using CPU time.

use roost_plugin_sdk::{Context, Device, Job, Result, Span, minutes};
use serde::Deserialize;

#[derive(Deserialize)]
struct Sleeps {
    #[serde(rename = "for", default = "a_minute")]
    span: Span,
}

fn a_minute() -> Span {
    minutes(1)
}

impl Device for Sleeps {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        std::thread::sleep(std::time::Duration::from_millis(u64::try_from(self.span.millis())?));
        Ok(vec![Job::daily("awake", "12:00").publish(ctx.topic("awake"), "")])
    }
}

roost_plugin_sdk::export!(Sleeps);
