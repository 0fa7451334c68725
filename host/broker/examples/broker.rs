//! Runs the broker alone: `cargo run -p roost-broker --example broker -- PORT FILE`. It ends at the end of its input.

use std::{io::Read as _, process::ExitCode};

use roost_broker::{Broker, Settings};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|port| port.parse::<u16>().ok());
    let (Some(port), Some(file)) = (port, arguments.next()) else { return ExitCode::from(2) };
    let address = ([127, 0, 0, 1], port).into();
    let Ok(broker) = Broker::start(Settings::new(vec![address], file.into(), "host".to_owned())) else {
        return ExitCode::FAILURE;
    };
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_or(ExitCode::FAILURE, |runtime| {
        runtime.block_on(broker.stop());
        ExitCode::SUCCESS
    })
}
