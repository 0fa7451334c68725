//! Tests of guests under limits, and of plugins that are added, changed and removed.

mod edge;
pub(super) mod guests;
mod hints;
mod limits;
mod tasks;

use std::path::Path;

use roost_scheduler::{
    names::PluginName,
    time::{Location, Site},
};

use super::{folder::Candidate, load::Loader};
use crate::{config::rules::Rules, zones::zone};

pub(super) fn site() -> Site {
    Site { zone: zone("Europe/London"), location: Location::new(51.5, -0.1) }
}

fn loader(data: &Path) -> Loader {
    Loader::open(data, site(), Rules::default(), crate::event_log::EventLog::default()).unwrap()
}

fn candidate(component: Vec<u8>, settings: Option<&str>) -> Candidate {
    let plugin = PluginName::parse("porch").unwrap();
    Candidate { plugin, component: component.into(), settings: settings.map(|text| text.to_owned().into()) }
}
