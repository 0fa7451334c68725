//! A bare publisher for comparison: no jobs, no disk, only rumqttc.

use rumqttc::v5::{AsyncClient, MqttOptions, mqttbytes::QoS};
use tokio::runtime::{Builder, Runtime};

use crate::clock::sleep_until;

/// The largest number of messages in flight, and in the queue: of 100, 1,000 and 10,000 the one with the best rate.
const INFLIGHT: u16 = 10_000;

/// A connection that publishes at QoS 1.
pub(crate) struct Publisher {
    client: AsyncClient,
    runtime: Runtime,
}

/// One message, ready to be sent.
pub(crate) struct Prepared {
    due_ns: i64,
    topic: String,
    payload: String,
}

impl Publisher {
    /// Connects with MQTT 5, as the host does.
    pub(crate) fn new(port: u16) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        let mut options = MqttOptions::new("bare", "127.0.0.1", port);
        options.set_outgoing_inflight_upper_limit(INFLIGHT);
        let (client, mut connection) = AsyncClient::new(options, INFLIGHT.into());
        runtime.spawn(async move { while connection.poll().await.is_ok() {} });
        Self { client, runtime }
    }

    /// Publishes each message when it is due, in their order.
    pub(crate) fn publish(&self, messages: Vec<Prepared>) {
        self.runtime.block_on(async {
            for Prepared { due_ns, topic, payload } in messages {
                sleep_until(due_ns);
                self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.expect("it is connected");
            }
        });
    }
}

/// Returns the same messages as the host sends.
pub(crate) fn prepare(count: u32, t0_ns: i64, spread_ms: u32, topic: &str) -> Vec<Prepared> {
    let message = |number: u32| {
        let due_ns = t0_ns + i64::from(spread_ms) * i64::from(number) / i64::from(count) * 1_000_000;
        Prepared { due_ns, topic: format!("{topic}/{}", number % 1_000), payload: format!("{due_ns}:{number}") }
    };
    (0..count).map(message).collect()
}
