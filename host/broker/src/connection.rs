//! Runs one connection: reads packets, passes them to the core, and writes its output. A fault affects only the
//! connection.

use std::{
    cell::RefCell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::{sleep, sleep_until},
};

use crate::{
    clock,
    codec::{self, Fault, Frame, Reason},
    core::{ConnectionId, Core, Next},
    limits,
    sockets::Sockets,
};

/// The state that all connections of a broker share. They run on one thread.
pub(crate) struct Shared {
    pub(crate) core: RefCell<Core>,
    /// The common read buffer, so that idle connections do not need one.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Permits for reading larger packets, in KiB.
    pub(crate) reading: Arc<Semaphore>,
    pub(crate) sockets: Arc<Sockets>,
    /// The permit for a heavy turn: only one is taken at a time, so that all other connections have their turns in
    /// between.
    pub(crate) heavy: Semaphore,
    /// Notified when the work of a round is used up.
    pub(crate) round: Notify,
}

/// An open connection.
struct ConnectionTask {
    shared: Rc<Shared>,
    stream: Arc<TcpStream>,
    id: ConnectionId,
    wake: Arc<Notify>,
    /// Bytes that were read and not handled yet.
    input: Vec<u8>,
    /// Whether `input` may have a complete packet.
    is_more: bool,
    /// Whether there may be something to read.
    is_readable: bool,
    /// Whether the last turn was heavy.
    is_heavy: bool,
    /// The permit for the larger packet that is being read.
    permit: Option<OwnedSemaphorePermit>,
    permit_request: Option<Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>>>>>,
    output: Vec<u8>,
    written: usize,
    opened: Instant,
    last_input: Instant,
    last_output: Instant,
    /// When the reading of a larger packet began, not counting the wait for its permit.
    larger_since: Option<Instant>,
}

/// Removes a connection from the core when it is dropped.
struct CloseOnDrop(Rc<Shared>, ConnectionId);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("built-in broker: a connection panicked, which is a fault of the broker");
        }
        let Self(shared, id) = self;
        shared.sockets.remove(*id);
        // A panic while panicking would end the process.
        let result = catch_unwind(AssertUnwindSafe(|| {
            if let Ok(mut core) = shared.core.try_borrow_mut() {
                core.remove(*id, clock::now());
            }
        }));
        if result.is_err() {
            tracing::error!("built-in broker: the end of a connection panicked, which is a fault of the broker");
        }
    }
}

/// Runs a connection to its end.
pub(crate) async fn run(shared: Rc<Shared>, stream: Arc<TcpStream>) {
    let wake = Arc::new(Notify::new());
    let id = shared.core.borrow_mut().open(Arc::clone(&wake), clock::now());
    shared.sockets.insert(id, &stream);
    let _close = CloseOnDrop(Rc::clone(&shared), id);
    let now = clock::now().monotonic;
    let live = ConnectionTask {
        shared,
        stream,
        id,
        wake,
        input: Vec::new(),
        is_more: false,
        is_readable: false,
        is_heavy: false,
        permit: None,
        permit_request: None,
        output: Vec::new(),
        written: 0,
        opened: now,
        last_input: now,
        last_output: now,
        larger_since: None,
    };
    // A broken connection needs no report.
    let _ = live.run().await;
}

impl ConnectionTask {
    async fn run(mut self) -> io::Result<()> {
        let mut timer = Box::pin(sleep(limits::TIME_TO_CONNECT));
        let wake = Arc::clone(&self.wake);
        let stream = Arc::clone(&self.stream);
        let shared = Rc::clone(&self.shared);
        loop {
            let turn = if self.is_heavy || shared.core.borrow().has_to_wait(self.id) {
                let turn = shared.heavy.acquire().await;
                yield_now().await;
                Some(turn)
            } else {
                None
            };
            shared.core.borrow_mut().begin_turn();
            let is_blocked = self.write()?;
            if shared.core.borrow().is_closing(self.id) {
                drop(turn);
                return self.flush().await;
            }
            let may_read = self.permit_request.is_none() && shared.core.borrow().may_read(self.id);
            let has_read = may_read && (self.is_more || self.is_readable);
            if has_read {
                self.take_in()?;
            }
            self.end_turn(turn.is_some());
            drop(turn);
            if has_read {
                // Yields, so that the runtime polls all sockets, and each connection has a turn.
                yield_now().await;
                continue;
            }
            tokio::select! {
                ready = stream.readable(), if may_read => {
                    ready?;
                    self.is_readable = true;
                }
                ready = stream.writable(), if is_blocked => ready?,
                () = wake.notified() => {}
                permit = granted(&mut self.permit_request) => {
                    self.permit_request = None;
                    (self.permit, self.larger_since) = (permit, Some(clock::now().monotonic));
                }
                () = &mut timer => {
                    if may_read {
                        // On a busy machine, bytes that arrived in time may not have been read.
                        self.take_in()?;
                    }
                    let next = self.check_deadlines(may_read);
                    timer = Box::pin(sleep_until(next.into()));
                }
            }
        }
    }

    fn end_turn(&mut self, has_waited: bool) {
        let mut core = self.shared.core.borrow_mut();
        // A part of a packet causes no work yet.
        let is_in_packet = self.is_heavy && !self.input.is_empty();
        self.is_heavy = core.end_turn(self.id, has_waited) || is_in_packet;
        if core.is_round_full() {
            self.shared.round.notify_one();
        }
    }

    /// Writes as much as the socket takes now. Returns whether there is more.
    fn write(&mut self) -> io::Result<bool> {
        for _ in 0..limits::WRITES {
            if self.written == self.output.len() {
                self.output = self.shared.core.borrow_mut().take_output(self.id, clock::now());
                self.written = 0;
                if self.output.is_empty() {
                    return Ok(false);
                }
            }
            match self.stream.try_write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.written += written;
                    self.last_output = clock::now().monotonic;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes the last bytes, within a time limit.
    async fn flush(mut self) -> io::Result<()> {
        let written = async {
            while self.write()? {
                self.stream.writable().await?;
            }
            Ok(())
        };
        tokio::time::timeout(limits::TIME_TO_FLUSH, written).await.unwrap_or(Ok(()))
    }

    /// Handles packets that were read before, or reads more.
    fn take_in(&mut self) -> io::Result<()> {
        if self.is_more {
            self.consume();
            return Ok(());
        }
        self.is_readable = false;
        let shared = Rc::clone(&self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let read = match self.stream.try_read(&mut scratch) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.last_input = clock::now().monotonic;
        if self.input.is_empty() {
            let taken = self.packets(&scratch[..read]);
            self.input.extend_from_slice(&scratch[taken..read]);
        } else {
            self.input.extend_from_slice(&scratch[..read]);
            drop(scratch);
            self.consume();
        }
        Ok(())
    }

    /// Handles the complete packets in the input.
    fn consume(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        let taken = self.packets(&input);
        if taken < input.len() {
            input.drain(..taken);
            self.input = input;
        }
    }

    /// Handles the complete packets in some bytes. Returns their length.
    fn packets(&mut self, bytes: &[u8]) -> usize {
        let now = clock::now();
        let mut core = self.shared.core.borrow_mut();
        let (mut taken, mut needed) = (0, 0);
        self.is_more = false;
        loop {
            match codec::frame(&bytes[taken..], limits::PACKET_BYTES) {
                Ok(Frame::Complete { first, body, length }) => {
                    taken += length;
                    match core.receive(self.id, first, body, now) {
                        Next::Continue => {}
                        Next::Yield => {
                            self.is_more = true;
                            break;
                        }
                        Next::Close => {
                            taken = bytes.len();
                            break;
                        }
                    }
                }
                Ok(Frame::Incomplete(length)) => {
                    needed = length.unwrap_or(0);
                    break;
                }
                Err(fault) => {
                    core.fail(self.id, fault, now);
                    taken = bytes.len();
                    break;
                }
            }
        }
        drop(core);
        self.request_permit(needed, now.monotonic);
        taken
    }

    /// Takes or requests the permit for a larger packet.
    fn request_permit(&mut self, bytes: usize, now: Instant) {
        if bytes <= limits::SMALL_PACKET_BYTES {
            (self.permit, self.permit_request, self.larger_since) = (None, None, None);
        } else if self.larger_since.is_none() && self.permit_request.is_none() {
            let (kib, reading) = (bytes.div_ceil(1_024) as u32, Arc::clone(&self.shared.reading));
            match Arc::clone(&reading).try_acquire_many_owned(kib) {
                Ok(permit) => (self.permit, self.larger_since) = (Some(permit), Some(now)),
                // The host's own client does not wait for a permit.
                Err(_) if self.shared.core.borrow().is_privileged(self.id) => self.larger_since = Some(now),
                Err(_) => {
                    self.permit_request = Some(Box::pin(async move { reading.acquire_many_owned(kib).await.ok() }));
                }
            }
        }
    }

    /// Ends the connection if a deadline has passed. Returns when to check again.
    fn check_deadlines(&mut self, may_read: bool) -> Instant {
        let now = clock::now();
        let mut core = self.shared.core.borrow_mut();
        let keep_alive_s = core.keep_alive_s(self.id);
        let mut deadlines = Vec::with_capacity(3);
        match keep_alive_s {
            None => deadlines.push((
                self.opened + limits::TIME_TO_CONNECT,
                Fault::new(Reason::KeepAliveTimeout, "there was no complete CONNECT in time"),
            )),
            Some(0) => {}
            // If the broker does not read, silence means nothing.
            Some(_) if !may_read => {}
            Some(seconds) => deadlines.push((
                self.last_input + Duration::from_secs(seconds.into()) * 3 / 2,
                Fault::new(Reason::KeepAliveTimeout, "it sent nothing for longer than its keep-alive"),
            )),
        }
        if let Some(since) = self.larger_since {
            let fault = Fault::new(Reason::KeepAliveTimeout, "a larger packet was not complete in time");
            deadlines.push((since + limits::TIME_FOR_PACKET, fault));
        }
        if self.written < self.output.len() {
            let fault = Fault::new(Reason::KeepAliveTimeout, "it does not read what is sent to it");
            deadlines.push((self.last_output + limits::TIME_TO_READ, fault));
        }
        let mut next = now.after(Duration::from_secs(5));
        for (deadline, fault) in deadlines {
            if deadline <= now.monotonic {
                core.fail(self.id, fault, now);
                return next;
            }
            next = next.min(deadline);
        }
        next
    }
}

/// Waits until a requested permit is granted.
async fn granted(
    request: &mut Option<Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>>>>>,
) -> Option<OwnedSemaphorePermit> {
    match request {
        Some(permit) => permit.await,
        None => std::future::pending().await,
    }
}
