//! What the operator has changed of jobs: skips, and jobs made by hand.

use std::collections::{BTreeMap, HashMap};

use crate::{
    event::{Digest, JobKey, Override},
    time::Instant,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    of_job: BTreeMap<JobKey, Override>,
    /// The ad-hoc jobs, each with the size of its body in bytes.
    ad_hoc: BTreeMap<JobKey, usize>,
    ad_hoc_bytes: usize,
    /// The ad-hoc jobs by their idempotency keys.
    requests: HashMap<Digest, JobKey>,
}

impl Overrides {
    pub(crate) fn get(&self, key: JobKey) -> Option<&Override> {
        self.of_job.get(&key)
    }

    /// Sets a job's overrides; `bytes` is the size of the job's body.
    pub(crate) fn set(&mut self, key: JobKey, job_override: Override, bytes: usize) {
        self.remove(key);
        if let Some(ad_hoc) = &job_override.ad_hoc {
            self.ad_hoc.insert(key, bytes);
            self.ad_hoc_bytes += bytes;
            ad_hoc.idempotency.map(|idempotency| self.requests.insert(idempotency.key, key));
        }
        if job_override != Override::default() {
            self.of_job.insert(key, job_override);
        }
    }

    pub(crate) fn remove(&mut self, key: JobKey) {
        let ad_hoc = self.of_job.remove(&key).and_then(|job_override| job_override.ad_hoc);
        if let Some(idempotency) = ad_hoc.and_then(|ad_hoc| ad_hoc.idempotency) {
            self.requests.remove(&idempotency.key);
        }
        self.ad_hoc_bytes -= self.ad_hoc.remove(&key).unwrap_or_default();
    }

    /// Returns whether the operator skips an occurrence. The request is kept until another one replaces it.
    pub(crate) fn is_skipped(&self, key: JobKey, occurrence: Instant) -> bool {
        self.get(key).is_some_and(|job_override| job_override.skip == Some(occurrence))
    }

    pub(crate) fn is_ad_hoc(&self, key: JobKey) -> bool {
        self.ad_hoc.contains_key(&key)
    }

    /// Returns the ad-hoc jobs.
    pub(crate) fn ad_hoc(&self) -> impl ExactSizeIterator<Item = JobKey> {
        self.ad_hoc.keys().copied()
    }

    /// Returns the size of an ad-hoc job's body in bytes.
    pub(crate) fn bytes_of(&self, key: JobKey) -> Option<usize> {
        self.ad_hoc.get(&key).copied()
    }

    /// Returns the size of all ad-hoc jobs' bodies in bytes.
    pub(crate) const fn ad_hoc_bytes(&self) -> usize {
        self.ad_hoc_bytes
    }

    /// Returns the job that a request with an idempotency key has made.
    pub(crate) fn made_by(&self, key: &Digest) -> Option<JobKey> {
        self.requests.get(key).copied()
    }
}
