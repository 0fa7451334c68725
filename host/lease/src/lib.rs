//! The lease of a cell: by it, several hosts agree on which one of them owns the cell, so that it has one scheduler, one
//! link to the broker, and one writer. A [`lease::Lease`] takes events ([`event::Event`]) and returns effects
//! ([`event::Effect`]). It does no I/O and reads no clock; the edge around it decides nothing.
//!
//! ```
//! use roost_lease::{
//!     event::{Effect, Event},
//!     lease::Lease,
//!     row::{Backend, Epoch, Owner, Row},
//!     time::{BootTime, Moment, WallTime},
//! };
//!
//! let at = |ms| Moment { boot: BootTime::from_millis(ms), wall: WallTime::from_millis(1_800_000_000_000 + ms) };
//! let clock = at(0).wall;
//! let mut row = Row { epoch: Epoch(7), owner: None, beat: 70, backend: Backend(0), clock };
//!
//! let mut lease = Lease::new(Owner(0x5eed));
//! assert_eq!(lease.step(at(0), Event::Connected), [Effect::Read]);
//! let effects = lease.step(at(2), Event::Read { row, clock });
//! let [Effect::Claim(claim)] = effects[..] else { panic!("it is free") };
//! assert!(row.claim(&claim, Backend(4711)));
//! assert_eq!(lease.step(at(5), Event::Claimed), [Effect::Start(Epoch(8))]);
//!
//! assert!(lease.may_send(at(1_000)));
//! let fence = lease.fence(at(1_000)).expect("it may commit");
//! assert!(row.renew(&fence));
//! let _ = lease.step(at(1_020), Event::Committed { clock });
//! assert!(lease.may_send(at(3_999)));
//! assert!(!lease.may_send(at(4_000)), "3 s after the last renewal was sent");
//! ```
//!
//! # Words
//!
//! * A *cell* is what one scheduler decides about. Its *row* in the store names its *owner*, a process, and its *epoch*,
//!   which each claim raises. Every other host is a *standby*.
//! * Each statement that changes the row raises its *beat*. A row whose beat rests for [`limits::TTL_MS`] belongs to an
//!   owner that counts as *dead*.
//! * An owner has the *lease* until its *deadline*, [`limits::LEASE_MS`] after it was about to send the last statement that
//!   has renewed it.
//! * *Boot time* measures these durations, each host by its own; the *wall clock* decides what is due.
//!
//! # The protocol
//!
//! * A standby reads the row each [`limits::POLL_MS`]. It claims the cell if it has no owner, if its owner is this very
//!   process, or if an answer first showed the present epoch and beat [`limits::TTL_MS`] ago or earlier. The claim takes
//!   effect only if epoch and beat are still the same.
//! * Each transaction of an owner begins with its *fence*, which renews the lease, or ends the transaction if the row is
//!   another's; once a second there is one in any case. The fence locks the row until the commit, so nothing is claimed
//!   between the two. If the lock of a dead owner holds a claim up, its connection is ended.
//! * Before each thing that it sends, the work asks [`lease::Lease::may_send`].
//! * Losing the lease is a crash: the work is aborted, the connection closed, and everything is read again, under a new
//!   epoch. The connection is closed as well when the outcome of a transaction is unknown: it may take effect until the
//!   next claim, and not after it.
//! * To stop, an owner ends its work, and then commits its last changes together with the release.
//! * The row keeps the highest wall clock of its owners. A successor first sends when its own clock is there, and
//!   [`limits::LEASE_MS`] further if the owner is dead, because it may have sent until its deadline; an owner whose clock
//!   was set forward by more first renews.
//!
//! [`row::Row`] states what each statement does, so that a store can be tested against it.
//!
//! # Guarantees
//!
//! The code and the tests cite them by number.
//!
//! * **L1** At most one process sends under one epoch.
//! * **L2** Once a newer epoch has sent, an older one never sends.
//! * **L3** Epochs never go back, and no transaction of an epoch takes effect after a newer epoch was claimed.
//! * **L4** A cell that is free is taken within a poll, one whose owner is dead within [`limits::TTL_MS`] and a poll, and
//!   its own by a process as soon as it has let go of its work; plus the time of the statements, and of a lock that has to
//!   be broken. That needs a store that answers, and a host whose clock is right (L9).
//! * **L5** The wall clock by which an epoch begins to send is no earlier than any by which an older one has sent.
//! * **L6** When a process has learnt that a transaction failed, was fenced, or has an unknown outcome, its epoch sends
//!   nothing more.
//! * **L7** An owner keeps its cell as long as the store answers within [`limits::LEASE_MS`] less [`limits::RENEW_MS`].
//! * **L8** Work that was lost is gone after [`limits::LET_GO_MS`], or else its process is.
//! * **L9** A host whose clock differs from the store's by more than [`limits::SKEW_MS`], or is more than
//!   [`limits::BEHIND_MS`] behind that of an earlier owner, claims no cell.
//!
//! They rest on these assumptions:
//!
//! * The row is linearizable, and what was committed stays. A store that loses commits when it fails over (an asynchronous
//!   replica) may claim one epoch twice; because the fence compares the owner as well, the two are not owners for longer
//!   than [`limits::LEASE_MS`].
//! * The boot times of any two hosts advance at the same rate, or nearly: each within a tenth of the true one. They advance
//!   while a machine is suspended.
//! * No two processes draw the same number.
//! * An answer belongs to the connection on which it was asked, and a transaction ends with its connection.
//! * The process is not paused between a check and the send that it allows.
//!
//! # What remains
//!
//! That last assumption is not true of a real machine: a process may be paused between [`lease::Lease::may_send`] and the
//! write, and the write be performed when it resumes. The broker is the second fence: the successor connects with the
//! cell's client id before it may send anything, and the broker ends the connection of the earlier owner. What no fence
//! holds is such a pause together with a broker that is itself divided.
//!
//! If the clock of an owner was wrong by more than a minute, and it is set right, no host claims the cell until a minute
//! before that time, which each of them reports ([`event::Notice::TooFarBehind`]): what is due meanwhile may have been sent
//! already. An operator that knows better sets the `clock` of the row.
//!
//! # The edge
//!
//! It carries out effects in order, and passes on what happened with the clocks as they are afterwards. It wakes the lease
//! at [`lease::Lease::wake`], on a thread that the work cannot hold up. It calls [`lease::Lease::may_send`] at the very
//! place where a message leaves, and [`lease::Lease::fence`] at the very place where a transaction does. To connect to the
//! broker is to send: the first packet of a connection passes the same check.
#![warn(missing_docs)]

pub mod event;
pub mod lease;
pub mod limits;
pub mod mutants;
pub mod row;
mod skew;
mod tenure;
pub mod time;
