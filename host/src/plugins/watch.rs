//! Watches the plugin folder. Notifications are hints, the scan decides (I9).

use std::{
    mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Instant,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use roost_scheduler::names::PluginName;
use tokio::sync::mpsc::Sender;

use super::{
    bytes::LoadRoom,
    folder::{Debounce, Folder, FolderEvent},
    limits,
};
use crate::clock;

#[derive(Debug)]
enum Hint {
    Changed(notify::Event),
    Stop,
}

/// The watch. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    hints: SyncSender<Hint>,
    stopped: Arc<AtomicBool>,
}

impl Watch {
    /// Starts the watch's thread. `known` are the plugins that ran before.
    pub(super) fn start(
        path: PathBuf,
        known: Vec<PluginName>,
        room: LoadRoom,
        folder_events: Sender<FolderEvent>,
    ) -> Result<Self, std::io::Error> {
        let (hints, waiting) = sync_channel(limits::NOTIFICATIONS);
        let stopped = Arc::new(AtomicBool::new(false));
        let watcher = Watcher {
            folder: Folder::new(path.clone(), known, room),
            path,
            notifier: None,
            hints: hints.clone(),
            waiting,
            overflowed: Arc::new(AtomicBool::new(false)),
            stopped: stopped.clone(),
            folder_events,
        };
        thread::Builder::new().name("watch".into()).spawn(move || watcher.run())?;
        Ok(Self { hints, stopped })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // A full queue wakes the thread as well.
        let _ = self.hints.try_send(Hint::Stop);
    }
}

/// The state of the watch's thread.
struct Watcher {
    folder: Folder,
    path: PathBuf,
    notifier: Option<RecommendedWatcher>,
    hints: SyncSender<Hint>,
    waiting: Receiver<Hint>,
    overflowed: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    folder_events: Sender<FolderEvent>,
}

impl Watcher {
    fn run(mut self) {
        let mut scan_at = clock::monotonic();
        let mut initial_scan_until = Some(scan_at + limits::INITIAL_SCAN);
        let mut is_listed = false;
        loop {
            let mut found = Vec::new();
            let now = clock::monotonic();
            if now >= scan_at || self.overflowed.swap(false, Ordering::Relaxed) {
                self.scan(now, &mut found);
                scan_at = now + if self.folder.is_unreadable() { limits::SCAN_AWAY } else { limits::SCAN };
            }
            if !mem::replace(&mut is_listed, true) {
                found.push(FolderEvent::Listed(self.folder.unread()));
            }
            self.folder.settle(now, &mut found);
            if initial_scan_until.is_some_and(|until| self.folder.is_settled() || now >= until) {
                initial_scan_until = None;
                found.push(FolderEvent::InitialScanDone);
            }
            for event in found {
                if self.folder_events.blocking_send(event).is_err() {
                    return;
                }
            }
            let next = self.folder.wake().map_or(scan_at, |wake| wake.min(scan_at));
            if self.listen(next) || self.stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn scan(&mut self, now: Instant, found: &mut Vec<FolderEvent>) {
        // Watched before it is scanned, so that changes in between are not missed until the next scan.
        if self.notifier.is_none() {
            self.watch();
        }
        let renewed = self.folder.scan(now, found);
        if self.folder.is_unreadable() {
            self.notifier = None;
        } else if renewed {
            self.watch();
            self.folder.scan(now, found);
        }
    }

    fn watch(&mut self) {
        let (hints, overflowed) = (self.hints.clone(), self.overflowed.clone());
        let notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // After an error of the notifier or an overflow of a queue, a scan finds the lost changes.
            let lost = match event {
                Ok(event) if event.need_rescan() => true,
                Ok(event) => hints.try_send(Hint::Changed(event)).is_err(),
                Err(_) => true,
            };
            if lost {
                overflowed.store(true, Ordering::Relaxed);
            }
        });
        let watched = notifier.and_then(|mut notifier| {
            notifier.watch(&self.path, RecursiveMode::NonRecursive)?;
            Ok(notifier)
        });
        self.notifier = watched
            .inspect_err(|error| tracing::debug!(%error, "the folder cannot be watched and is only scanned"))
            .ok();
    }

    /// Handles hints until an instant or until there are no more. Returns whether to stop.
    fn listen(&mut self, until: Instant) -> bool {
        let wait = until.saturating_duration_since(clock::monotonic());
        let mut hint = match self.waiting.recv_timeout(wait) {
            Ok(hint) => hint,
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        };
        let now = clock::monotonic();
        loop {
            match hint {
                Hint::Stop => return true,
                Hint::Changed(event) => {
                    if let Some(debounce) = debounce(&event.kind) {
                        event.paths.iter().for_each(|path| self.folder.on_change(path, debounce, now));
                    }
                }
            }
            match self.waiting.try_recv() {
                Ok(next) => hint = next,
                Err(_) => return false,
            }
        }
    }
}

const fn debounce(kind: &EventKind) -> Option<Debounce> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Debounce::Finished),
        EventKind::Modify(ModifyKind::Name(RenameMode::From | RenameMode::To | RenameMode::Both)) => {
            Some(Debounce::Finished)
        }
        EventKind::Modify(ModifyKind::Metadata(_)) | EventKind::Remove(_) => Some(Debounce::Finished),
        EventKind::Create(_) => Some(Debounce::Begun),
        EventKind::Modify(_) => Some(Debounce::Written),
        EventKind::Access(_) | EventKind::Any | EventKind::Other => None,
    }
}
