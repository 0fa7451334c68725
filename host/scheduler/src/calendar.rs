//! Local dates and times of day, and the instants they stand for.
