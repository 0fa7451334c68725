//! Short histories of one process: events in, effects out.

use roost_lease::{
    event::{Effect, Event, Exit, Loss, Notice},
    lease::Lease,
    limits::{ANSWER_MS, LEASE_MS, LET_GO_MS, POLL_MS, RENEW_MS, TTL_MS},
    row::{Backend, Claim, Epoch, Fence, Owner, Row},
    time::{BootTime, Moment, WallTime},
};

const ME: Owner = Owner(1);
const OTHER: Owner = Owner(2);
const START: WallTime = WallTime::from_millis(1_800_000_000_000);

/// A process whose clock is right, unless it is moved.
struct Process {
    lease: Lease,
    ms: i64,
    ahead_ms: i64,
}

impl Process {
    /// Returns one that is connected and has asked for the row.
    fn standby() -> Self {
        let mut process = Self { lease: Lease::new(ME), ms: 0, ahead_ms: 0 };
        assert_eq!(process.step(Event::Connected), [Effect::Read]);
        process
    }

    /// Returns one that works under epoch 8.
    fn working() -> Self {
        let mut process = Self::standby();
        process.read(row(None));
        assert_eq!(process.step(Event::Claimed), [Effect::Start(Epoch(8))]);
        process
    }

    fn now(&self) -> Moment {
        Moment { boot: BootTime::from_millis(self.ms), wall: START.plus_ms(self.ms + self.ahead_ms) }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        self.lease.step(self.now(), event)
    }

    fn read(&mut self, row: Row) -> Vec<Effect> {
        self.step(Event::Read { row, clock: START.plus_ms(self.ms) })
    }

    fn committed(&mut self) -> Vec<Effect> {
        self.step(Event::Committed { clock: START.plus_ms(self.ms) })
    }

    fn after(&mut self, ms: i64) -> &mut Self {
        self.ms += ms;
        self
    }

    fn may_send(&mut self) -> bool {
        self.lease.may_send(self.now())
    }

    fn fence(&self, epoch: i64) -> Fence {
        Fence { epoch: Epoch(epoch), owner: ME, clock: self.now().wall }
    }

    fn claim(&self, clock: WallTime) -> Effect {
        Effect::Claim(Claim { epoch: Epoch(7), beat: 70, owner: ME, clock })
    }
}

/// Returns the row of epoch 7, last written a minute before the start.
fn row(owner: Option<Owner>) -> Row {
    Row { epoch: Epoch(7), owner, beat: 70, backend: Backend(42), clock: START.plus_ms(-60_000) }
}

#[test]
fn a_released_cell_is_claimed_at_once() {
    let mut process = Process::standby();
    assert_eq!(process.read(row(None)), [process.claim(START)]);
    assert!(!process.may_send());
    process.after(100);
    assert_eq!(process.step(Event::Claimed), [Effect::Start(Epoch(8))]);
    assert!(process.may_send());
    // From before the claim was sent.
    assert_eq!(process.lease.deadline(), Some(BootTime::from_millis(LEASE_MS)));
}

#[test]
fn a_cell_is_claimed_when_its_owner_has_not_renewed_for_long() {
    let mut process = Process::standby();
    // The answer counts, not the question.
    process.after(200);
    assert_eq!(process.read(row(Some(OTHER))), []);
    while process.ms + POLL_MS < 200 + TTL_MS {
        assert_eq!(process.after(POLL_MS).step(Event::Woke), [Effect::Read]);
        assert_eq!(process.read(row(Some(OTHER))), []);
    }
    process.ms = process.lease.wake().expect("it looks again").millis();
    assert_eq!(process.ms, 200 + TTL_MS);
    assert_eq!(process.step(Event::Woke), [Effect::Read]);
    assert_eq!(process.read(row(Some(OTHER))), [process.claim(process.now().wall)]);
}

#[test]
fn an_owner_that_renews_keeps_its_cell() {
    let mut process = Process::standby();
    for beat in 0..20 {
        assert_eq!(process.read(Row { beat, ..row(Some(OTHER)) }), []);
        assert_eq!(process.after(POLL_MS).step(Event::Woke), [Effect::Read]);
    }
}

#[test]
fn the_connection_that_locks_the_row_is_ended() {
    let mut process = Process::standby();
    process.read(row(Some(OTHER)));
    process.after(TTL_MS).step(Event::Woke);
    assert_eq!(process.read(row(Some(OTHER))), [process.claim(process.now().wall)]);
    assert_eq!(process.step(Event::ClaimBlocked), [Effect::Terminate(Backend(42)), Effect::Read]);
}

#[test]
fn an_owner_renews_and_counts_from_before_it_asked() {
    let mut process = Process::working();
    assert_eq!(process.after(RENEW_MS).step(Event::Woke), [Effect::Renew(process.fence(8))]);
    // One transaction at a time.
    assert_eq!(process.lease.fence(process.now()), None);
    assert_eq!(process.after(500).committed(), []);
    assert_eq!(process.lease.deadline(), Some(BootTime::from_millis(RENEW_MS + LEASE_MS)));
    assert_eq!(process.lease.fence(process.now()), Some(process.fence(8)));
    process.ms = RENEW_MS + LEASE_MS;
    assert!(!process.may_send());
    assert_eq!(process.step(Event::Woke), [Effect::Abort(Loss::Expired), Effect::Disconnect]);
}

#[test]
fn a_process_takes_its_own_cell_again_when_the_work_has_let_go() {
    let mut process = Process::working();
    assert_eq!(process.lease.fence(process.now()), Some(process.fence(8)));
    assert_eq!(process.step(Event::ConnectionLost), [Effect::Abort(Loss::Disconnected)]);
    assert!(!process.may_send());
    assert_eq!(process.step(Event::Connected), []);
    assert_eq!(process.after(10).step(Event::LetGo), [Effect::Read]);
    let own = Row { epoch: Epoch(8), beat: 71, ..row(Some(ME)) };
    let claim = Claim { epoch: Epoch(8), beat: 71, owner: ME, clock: process.now().wall };
    assert_eq!(process.read(own), [Effect::Claim(claim)]);
    assert_eq!(process.step(Event::Claimed), [Effect::Start(Epoch(9))]);
}

#[test]
fn a_claim_of_unknown_outcome_is_no_success() {
    let mut process = Process::standby();
    process.read(row(None));
    assert_eq!(process.step(Event::ConnectionLost), []);
    assert_eq!(process.lease.epoch(), None);
    assert_eq!(process.step(Event::Connected), [Effect::Read]);
}

#[test]
fn work_that_does_not_let_go_ends_the_process() {
    let mut process = Process::working();
    assert_eq!(process.step(Event::Fenced), [Effect::Abort(Loss::Fenced), Effect::Disconnect]);
    assert_eq!(process.after(LET_GO_MS - 1).step(Event::Woke), []);
    assert_eq!(process.after(1).step(Event::Woke), [Effect::Exit(Exit::Stuck)]);
}

#[test]
fn an_owner_that_stops_releases_the_cell_and_sends_nothing_more() {
    let mut process = Process::working();
    assert_eq!(process.step(Event::Stopped), [Effect::Release(process.fence(8))]);
    assert!(!process.may_send());
    assert_eq!(process.committed(), [Effect::Exit(Exit::Stopped)]);
}

#[test]
fn a_standby_that_stops_ends_and_a_claim_under_way_is_released() {
    let mut process = Process::standby();
    assert_eq!(process.step(Event::Stopped), [Effect::Exit(Exit::Stopped)]);

    let mut process = Process::standby();
    process.read(row(None));
    assert_eq!(process.step(Event::Stopped), []);
    assert_eq!(process.step(Event::Claimed), [Effect::Release(process.fence(8))]);
}

#[test]
fn a_successor_waits_for_the_clock_of_a_dead_owner() {
    let mut process = Process::standby();
    let row = Row { clock: START.plus_ms(5_500), ..row(Some(OTHER)) };
    process.read(row);
    process.after(TTL_MS).step(Event::Woke);
    // The dead owner may have sent until its deadline.
    let clock = row.clock.plus_ms(LEASE_MS);
    assert_eq!(process.read(row), [process.claim(clock)]);
    let behind_ms = 5_500 + LEASE_MS - TTL_MS;
    assert_eq!(process.step(Event::Claimed), [Effect::Report(Notice::WaitsForClock { behind_ms })]);
    while process.now().wall < clock {
        assert!(!process.may_send());
        process.ms = process.lease.wake().expect("it renews").millis();
        match process.step(Event::Woke)[..] {
            [Effect::Renew(_)] => assert_eq!(process.committed(), []),
            [Effect::Start(Epoch(8))] => assert_eq!(process.now().wall, clock),
            ref effects => panic!("{effects:?}"),
        }
    }
    // The clock is set back while it loads.
    process.ahead_ms = -500;
    assert!(!process.may_send());
    assert!(process.after(500).may_send());
}

#[test]
fn a_host_far_behind_the_last_owner_leaves_the_cell_to_others() {
    let mut process = Process::standby();
    let row = Row { clock: START.plus_ms(100_000), ..row(None) };
    assert_eq!(process.read(row), [Effect::Report(Notice::TooFarBehind { behind_ms: 100_000 })]);
    process.after(POLL_MS).step(Event::Woke);
    assert_eq!(process.read(row), []);
}

#[test]
fn a_host_whose_clock_is_wrong_reports_it_and_does_not_claim() {
    let mut process = Process::standby();
    process.ahead_ms = 3_000;
    process.lease = Lease::new(ME);
    process.step(Event::Connected);
    assert_eq!(process.read(row(None)), [Effect::Report(Notice::Skewed { ahead_ms: 3_000 })]);
    assert_eq!(process.lease.ahead_ms(), 3_000);
    process.after(POLL_MS).step(Event::Woke);
    assert_eq!(process.read(row(None)), []);
    process.ahead_ms = 0;
    process.after(POLL_MS).step(Event::Woke);
    assert_eq!(process.read(row(None)), [Effect::Report(Notice::Agreed), process.claim(process.now().wall)]);
}

#[test]
fn an_owner_whose_clock_is_set_forward_stores_it_first() {
    let mut process = Process::working();
    process.ahead_ms = 10_000;
    assert!(!process.may_send());
    process.after(RENEW_MS).step(Event::Woke);
    process.committed();
    assert!(process.may_send());
}

#[test]
fn a_standby_gives_up_a_connection_that_does_not_answer() {
    let mut process = Process::standby();
    assert_eq!(process.after(ANSWER_MS - 1).step(Event::Woke), []);
    assert_eq!(process.after(1).step(Event::Woke), [Effect::Disconnect]);
}
