//! Cron expressions, with the rules of Debian's cron(8).

use std::{collections::HashMap, sync::Arc};

use chrono_tz::Tz;

/// A cron expression, and the time zone it is meant in.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: Arc<croner::Cron>,
    expression: Arc<str>,
    /// Default: the device's.
    pub zone: Option<Tz>,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.zone == other.zone
    }
}

/// Parsed expressions, each kept once: one is 5.7 kB, and a thousand devices share theirs.
#[derive(Debug, Default)]
pub struct Patterns(HashMap<Arc<str>, Arc<croner::Cron>>);

/// Text that is not a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` is not a cron expression: {reason}")]
pub struct CronError {
    expression: String,
    reason: String,
}

impl Patterns {
    /// Parses an expression, or finds it.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn cron(&mut self, expression: &str, zone: Option<Tz>) -> Result<Cron, CronError> {
        if let Some((expression, pattern)) = self.0.get_key_value(expression) {
            return Ok(Cron { pattern: pattern.clone(), expression: expression.clone(), zone });
        }
        let pattern = expression
            .parse::<croner::Cron>()
            .map_err(|error| CronError { expression: expression.into(), reason: error.to_string() })?;
        let (expression, pattern) = (Arc::<str>::from(expression), Arc::new(pattern));
        self.0.insert(expression.clone(), pattern.clone());
        Ok(Cron { pattern, expression, zone })
    }
}
