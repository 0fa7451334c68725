//! `roost login`: lets a browser in, such as that of a phone.

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use hyper::Method;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use super::{client::Client, output, table::local};
use crate::{config::DataFlags, http::CodeRecord, report::printable, terminal};

/// Let a browser in, such as that of a phone
///
/// Prints the address of the login page with a one-time code, and a QR code of it for a phone's camera. The code is valid
/// once, for ten minutes. The browser stays logged in until it was not used for 90 days, or until its session is ended at
/// `/login`. Only the user that runs the host can use this command, on the host's machine.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost login")]
pub(super) struct Args {
    /// Print an object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let made: CodeRecord = Client::local(args.data)?.send(Method::POST, "/api/v1/login-codes")?;
    let mut out = output::stdout();
    if args.json {
        serde_json::to_writer(&mut out, &made).map_err(io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    for address in &made.addresses {
        writeln!(out, "{address}")?;
    }
    drop(out);
    match made.addresses.first().filter(|_| made.is_reachable) {
        Some(address) => write_code(address, terminal::stdout_has_colours())?,
        None => writeln!(
            output::stderr(),
            "only this machine reaches the host; for a phone, set `listen = \"0.0.0.0:8080\"` below `[http]` in `roost.toml`, \
             and start Roost again"
        )?,
    }
    let note = format!("the code `{}` can be used once, until {}", made.code, local(&made.expires));
    Ok(writeln!(output::stderr(), "{note}")?)
}

/// Writes the QR code of an address, in half blocks. Cameras read dark on light: where there are no colours, the blocks
/// are the light parts, as if on a dark terminal.
fn write_code(address: &str, has_colours: bool) -> Result<()> {
    let code =
        QrCode::with_error_correction_level(printable(address), EcLevel::L).context("the QR code cannot be made")?;
    let (dark, light) = match has_colours {
        true => (Dense1x2::Dark, Dense1x2::Light),
        false => (Dense1x2::Light, Dense1x2::Dark),
    };
    let picture = code.render().dark_color(dark).light_color(light).build();
    let mut out = output::unescaped();
    for line in picture.lines() {
        match has_colours {
            true => writeln!(out, "\u{1b}[30;107m{line}\u{1b}[0m")?,
            false => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}
