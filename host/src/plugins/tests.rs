//! Tests of guests under limits, and of plugins that are added, changed and removed.

mod edge;
pub(super) mod guests;
mod hints;
mod limits;
mod tasks;
mod test_folder;

use std::path::Path;

use roost_scheduler::{
    names::PluginName,
    time::{Location, Site},
};

use super::{
    folder::Candidate,
    load::{Accepted, LoadError, Loader},
};
use crate::{clock, config::rules::Rules, zones::zone};

pub(super) fn site() -> Site {
    Site { zone: zone("Europe/London"), location: Location::new(51.5, -0.1) }
}

fn loader(data: &Path) -> Loader {
    Loader::open(data, None, site(), Rules::default(), crate::event_log::EventLog::default()).unwrap()
}

fn candidate(component: Vec<u8>, settings: Option<&str>) -> Candidate {
    let plugin = PluginName::parse("porch").unwrap();
    Candidate { plugin, component: component.into(), settings: settings.map(|text| text.to_owned().into()) }
}

/// Loads a component into an empty data folder.
async fn load(component: Vec<u8>) -> Result<Accepted, LoadError> {
    let data = tempfile::tempdir().unwrap();
    let loader = loader(data.path());
    let proposal = loader.propose(candidate(component, None))?;
    loader.load(proposal, None, clock::now).await
}

/// Returns the causes in the report of a refused component.
async fn causes(component: Vec<u8>) -> String {
    let error = load(component).await.err().expect("refused");
    error.report(&candidate(Vec::new(), None).plugin, None).causes.join("; ")
}
