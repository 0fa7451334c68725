//! Removes the status that the host has left at a former topic.

use tokio::time::{Instant, sleep_until};

use super::limits;
use crate::{
    mqtt::background::{Background, Event, Order},
    report::Report,
};

/// Removes the retained status at a topic if it says `offline`. With `online`, a connected host uses the topic.
pub(super) async fn remove(topic: String, Background { orders, mut events }: Background) {
    let log = |why: &str| {
        let report = Report::new(format!("the former status at `{topic}` is not removed")).cause(why);
        tracing::warn!("{}", report.hint(format!("remove it by `mosquitto_pub -t '{topic}' -r -n`")));
    };
    // Set while the retained message may still come.
    let mut until = None;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return,
        };
        let order = match event {
            None => return,
            Some(Event::Up { .. }) => Order::Subscribe { filter: topic.clone(), with_retained: true },
            Some(Event::Arrived(message)) if message.topic == topic && &message.payload[..] == b"offline" => {
                until = None;
                Order::remove(topic.clone())
            }
            Some(Event::Arrived(_) | Event::Subscribed(_)) => continue,
            Some(Event::Idle) => {
                until = Some(Instant::now() + limits::QUIET);
                continue;
            }
            // Tried once, because more important things wait for it.
            Some(Event::Down) => return log("the connection to the broker has ended"),
            Some(Event::Refused { reason, .. }) => return log(&reason),
        };
        if orders.send(order).await.is_err() {
            return;
        }
    }
}
