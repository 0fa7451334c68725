//! Three hosts that share a database and a broker, while everything around them fails.

mod check;
mod cluster;
mod machine;
mod past;
mod stored;
mod trouble;

use std::path::Path;

pub(crate) use check::faults;
use cluster::Cluster;
use past::Past;

use crate::{
    history::{AFTERMATH_MS, History, now, wait_for_ends},
    rng::Rng,
};

/// For how long the hosts are left alone before something fails, in milliseconds.
const REST_MS: (u64, u64) = (200, 1_500);

/// Lets something fail in each round. Returns what was heard and stored, as of one host that is killed, and all of it.
pub(crate) fn live(mut rng: Rng, rounds: u64, folder: &Path) -> (History, Past) {
    let mut cluster = Cluster::start();
    let mut troubles = Vec::new();
    let since = now();
    for round in 1..=rounds {
        std::thread::sleep(rng.between(REST_MS.0, REST_MS.1));
        let upload = rng.one_in(3).then(|| cluster.upload(round));
        let trouble = cluster.suffer(&mut rng);
        let silent = cluster.wait_for_messages();
        eprintln!("{round:4}  {}: on time again after {silent:.1} s", trouble.what);
        troubles.push(trouble);
        if let Some(upload) = upload {
            cluster.finish(upload);
        }
    }
    let until = now().plus_ms(AFTERMATH_MS);
    wait_for_ends(|| cluster.rows(), since, until);
    let past = Past { troubles, ..cluster.end(folder) };
    let history = past.history(since, until);
    (history, past)
}
