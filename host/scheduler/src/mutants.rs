//! Mutations of the core (`make mutants`): each breaks one property, and the simulation must notice. A mutation is a
//! condition at the very place whose work it breaks, so that it moves with the code.
//!
//! Without the feature `mutants` there is no mutation, and the compiler drops the conditions.

macro_rules! mutations {
    ($($(#[doc = $breaks:literal])+ $name:ident,)+) => {
        /// A mutation of the core, and what it breaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation {
            $($(#[doc = $breaks])+ $name,)+
        }

        #[cfg(feature = "mutants")]
        impl Mutation {
            /// All mutations.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns what it breaks.
            #[must_use]
            pub const fn breaks(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($breaks),+),)+
                }
            }
        }
    };
}

mutations! {
    /// Newer runs restart the time limit of an owed step again and again, and it is never sent (I5).
    OwedStepIsPutOffForEver,
    /// A clock that lost the time leaves the time limit of an owed step where it was, in the future (I5).
    LostClockPutsOffOwedSteps,
    /// After a clock that lost the time, each restart counts the time of an owed step anew (I5).
    RestartPutsOffOwedSteps,
    /// An owed step is given up (I5).
    OwedStepIsGivenUp,
    /// A run that is cut short loses its owed steps (I5).
    CutShortRunLosesOwedSteps,
    /// A message in flight when the link was lost may have arrived, and the later steps are lost (I5).
    LostLinkLosesOwedSteps,
    /// Steps that a newer run has taken over are owed only if its own first step is sent (I5).
    TakenOverStepsAreNotOwed,
    /// Steps that were left to one newer run after the other are sent when the first of them ends.
    ReplacedRunReturnsOwedSteps,
    /// Steps that were left to a newer run, which never started, are never sent (I4, I5).
    UnstartedHeirKeepsOwedSteps,
    /// An owed step is never sent if its device's reports cannot be subscribed to (I5).
    OwedStepWaitsForSubscription,
    /// After a first step that was confirmed already, the later ones are not owed if an attempt had been made (I5).
    ConfirmedStepOwesNothing,
    /// Owed steps are not sent when their job is cancelled (I5).
    CancelLosesOwedSteps,
    /// A first step is tried when the next one is due: `open` after `close`.
    FirstStepFollowsNext,

    /// On disk, the watermark passes a run that is in memory alone: a crash loses the run (I2).
    WatermarkPassesUnsavedRun,
    /// An admitted occurrence is not decided: a changed plan makes a second run of it (I2).
    AdmittedOccurrenceIsUndecided,
    /// The watermark stays behind a run that has ended: a crash makes the run again (I2).
    WatermarkStaysBehindEndedRun,
    /// A job that was gone comes back, and an occurrence of it is decided twice (I2).
    TombstonesAreIgnored,
    /// A run that the operator has started moves its job's watermark, and is lost in a crash (I2).
    RunNowIsUnsaved,

    /// A run of several steps is not on disk when its first step is sent (I3).
    LongRunIsUnsaved,
    /// A step that has to be durable first is sent before it is (I3).
    StepIsSentBeforeDurable,
    /// After a crash an earlier step is sent after a later one (I3).
    CompletedStepIsUnsaved,
    /// After a commit has failed, a step marked `once` is sent without being armed (I3, I4).
    OnceIsSentWhileStoreFails,
    /// A job is due before its plan is durable (I3).
    JobIsDueBeforePlanIsDurable,
    /// The plugin's reply is sent, and is not on disk (I3).
    TaskReplyIsUnsaved,
    /// A run that waits for a commit is woken by another one (I3, I4).
    CommitTokenIsReused,

    /// After a crash it is not known that a step marked `once` was sent (I4).
    OnceIsNotArmed,
    /// A step marked `once` is sent again after a failed attempt (I4).
    OnceIsRetried,
    /// An owed step marked `once` that was sent is sent again when its run is cut short (I4).
    CutShortRunRepeatsOnce,
    /// An owed step marked `once` that is not sent yet counts as sent when its run is cut short, and is lost (I5).
    CutShortRunLosesUnsentOnce,
    /// An owed step in flight is sent again when its run is cut short.
    CutShortRunSendsAgain,
    /// Each crash restarts the count of attempts.
    CrashRestartsAttempts,

    /// A run starts after its grace.
    RunStartsAfterGrace,
    /// A run starts after its grace, or outside its grant, because only its arming was in time.
    SlowCommitIsUnchecked,
    /// A run starts beside an earlier one of its job.
    RunsOfJobOverlap,
    /// A job that was gone comes back, and does not wait for runs that have outlived it.
    JobReturnsWithoutItsRuns,
    /// A run starts before an owed step of an older one of its group is sent.
    RunsOfGroupOverlap,
    /// Of a group, the oldest occurrence is caught up.
    GroupCatchesUpOldest,
    /// Of a group, an occurrence is caught up although a newer one was decided before.
    GroupForgetsNewerDecision,
    /// Of several runs to be caught up, only the first one runs (I13).
    OnlyFirstIsCaughtUp,

    /// A run publishes outside its plugin's grant (I8).
    TopicsAreNotGranted,
    /// A run publishes with a QoS, or retained, beyond its plugin's grant (I8).
    GrantCeilingsAreIgnored,
    /// A run subscribes outside its plugin's grant (I8).
    ReportsAreNotGranted,
    /// A run holds a resource that its plugin was not granted (I8).
    ResourceIsNotGranted,

    /// One more run starts than the resource's capacity.
    ResourceIsOverbooked,
    /// A resource is never free again (I4).
    ResourceIsNeverReleased,
    /// A plugin gets a resource again and again while others wait (I7).
    ResourceTurnsAreUnfair,
    /// A run holds a resource for longer than its longest hold (I7).
    HoldNeverExpires,
    /// A run loses a resource too early.
    HoldExpiresEarly,
    /// A run that takes over owed steps does not take over the resource that they need.
    HoldIsNotPassedOn,
    /// A step does all the work that there is at once (I10).
    BudgetIsNeverSpent,
    /// A run that had started before a crash no longer holds its resource.
    CrashReleasesHold,
    /// A run that cannot start keeps its resource (I7).
    FailedSubscriptionKeepsHold,

    /// A plugin sends more than its rate allows (I7).
    RateIsUnlimited,
    /// Messages about to be sent are not counted, and all leave at once (I7).
    ReservedMessagesAreNotCounted,
    /// Nothing wakes runs that wait for their rate (I4).
    RateNeverWakes,
    /// The link's credit is never returned (I4, I7).
    CreditIsNotReturned,

    /// A message leaves before the subscription to its device's reports.
    StepIsSentBeforeSubscription,
    /// A step is done although its device did not report.
    ReportIsNotAwaited,
    /// An earlier report counts.
    EarlierReportCounts,

    /// Occurrences before a plan that were not decided yet are lost (I13).
    PlanLosesEarlierOccurrences,
    /// A crash loses a run whose job is gone (I2, I13).
    PlanLosesUnsavedRuns,
    /// A plan of an earlier version takes effect (I6).
    StalePlanIsAdopted,
    /// A plan removes ad-hoc jobs.
    PlanRemovesAdHocJobs,
    /// The reply for a run that has ended goes to the run that has its slot now.
    EndedRunKeepsItsCall,

    /// After the clock was set back, an occurrence has the same id again (I2).
    ClockBeginsNoSeries,
    /// After the clock was set back and a crash, a run is repeated as another one (I2).
    ClockLosesUnsavedRuns,
    /// Occurrences from before the clock was set back are caught up when it is set right (I11).
    ClockForgetsDecisions,
    /// A run that waits for its start is moved with the clock (I11).
    ClockMovesStarts,

    /// An occurrence that was due when its job was cancelled has no recorded end (I13).
    CancelLeavesDueUndecided,
    /// Overrides are lost when the host restarts.
    RestartLosesOverrides,
    /// A run that waited when its job was paused starts all the same.
    PausedRunStarts,
    /// A pause covers what was due before its beginning.
    PauseBeginsAtOnce,
    /// A pause covers what is due after its end.
    PauseNeverEnds,
    /// A pause covers what is due at its end.
    PauseEndIsInclusive,
    /// A pause covers what is decided in it, whenever that was due.
    PauseCoversWhatIsDecidedInIt,
    /// Of the occurrences before and after a pause, both are caught up.
    PauseDividesCatchUp,
    /// A plan that moves a skipped occurrence brings it back.
    MovedSkipIsForgotten,

    /// A job is due on the days that are excepted.
    ExceptedDaysAreIgnored,
    /// An interval of days or weeks is counted from the day after its first one.
    IntervalBeginsADayLate,
    /// An evening that lasts beyond midnight has the date of its time.
    EveningHasDateOfItsTime,
    /// A job is due at the time at which its run is to end.
    FinishIsIgnored,
    /// Jobs do not follow changes of calendars.
    CalendarChangeIsNotFollowed,
    /// Days that a calendar newly has are caught up.
    ChangedCalendarCatchesUp,
    /// An occurrence that has passed is decided by a calendar that changed later (I13).
    ChangedCalendarDecidesPast,
    /// After a restart, a job is due by earlier contents of its calendar.
    RestartKeepsOldCalendars,
    /// Days that a calendar newly has at a restart are caught up.
    RestartCatchesUpCalendars,
    /// A job without a day left by a changed calendar is due after another restart.
    NoDayLeftIsUnsaved,
}

/// Returns whether the core has a mutation: without the feature `mutants` it has none.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn mutated(_: Mutation) -> bool {
    false
}

/// The mutation of this process, if any.
#[cfg(feature = "mutants")]
static MUTATION: std::sync::OnceLock<Mutation> = std::sync::OnceLock::new();

/// Mutates every scheduler of this process; only the first call counts.
#[cfg(feature = "mutants")]
pub fn mutate(mutation: Mutation) {
    MUTATION.get_or_init(|| mutation);
}

/// Returns whether the core has a mutation.
#[cfg(feature = "mutants")]
pub(crate) fn mutated(mutation: Mutation) -> bool {
    MUTATION.get() == Some(&mutation)
}
