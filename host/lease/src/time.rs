//! The two clocks of a host.

/// The boot time of a host (`CLOCK_BOOTTIME`) in milliseconds: no setting of the clock moves it, and it goes on while
/// the machine is suspended. Only of use on the same host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(i64);

impl BootTime {
    /// Returns the time that many milliseconds after the boot.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the boot.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns the time that many milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// A wall clock in milliseconds since 1970-01-01T00:00:00Z: of a host, which may be wrong and may be set, or of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(i64);

impl WallTime {
    /// Before everything.
    pub const MIN: Self = Self(i64::MIN);

    /// Returns the time that many milliseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns the time that many milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Returns the milliseconds from `earlier` to this; negative if `earlier` is the later one.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What the clocks of a host show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its boot time, by which leases are measured.
    pub boot: BootTime,
    /// Its wall clock, by which jobs are due.
    pub wall: WallTime,
}
