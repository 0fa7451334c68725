// Follows the host's events. One stream a page, closed while the page is hidden.
import { ask, watch } from "./host.js";
import { swap } from "./swap.js";

// At most one new page in this time, and the first at once.
const PAUSE_MS = 1000;
// At most this part of the time is spent on fetching, but what is new is not put off for longer than this.
const PART = 5;
const LONGEST_PAUSE_MS = 5000;
// A connection may break while the host is there: the next one is tried after a second.
const BROKEN_AFTER_MS = 1500;
// A run begins, or sends its next message, at a time that the page shows: that is no event.
const BEGUN_AFTER_MS = 1500;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const KINDS = ["run", "plan", "plugin", "link", "clock", "pause", "job"];

let source = null;
let waiting = null;
let earliest = 0;
let isFetching = false;
let isOld = false;
let broken = null;
let next = null;

/** Fetches the page again, one at a time; a host that takes long is asked less often. */
function refresh() {
  if (isFetching) isOld = true;
  if (waiting || isFetching) return;
  waiting = setTimeout(async () => {
    const begun = Date.now();
    [waiting, isFetching, isOld] = [null, true, false];
    await swap().catch(() => {});
    isFetching = false;
    earliest = Math.max(begun + PAUSE_MS, Math.min(begun + PART * (Date.now() - begun), Date.now() + LONGEST_PAUSE_MS));
    if (isOld) refresh();
  }, Math.max(0, earliest - Date.now()));
}

/** Refreshes when the next of the times that are shown has come. */
function awaitNext() {
  clearTimeout(next);
  // What is kept as it is does not change with time.
  const times = [...document.querySelectorAll("main time")].filter((time) => !time.closest("[data-keep]")).map((time) => Date.parse(time.dateTime) - Date.now());
  const wait = Math.min(...times.filter((ms) => ms > 0)) + BEGUN_AFTER_MS;
  if (wait < LONGEST_TIMER_MS) next = setTimeout(refresh, wait);
}

function open() {
  if (source || document.hidden) return;
  // A page may follow one kind of events of one plugin only. One with a list of log lines follows these as well.
  const { only, plugin } = document.querySelector("[data-only]")?.dataset ?? {};
  const kinds = only ? [only] : KINDS.concat(document.querySelector("[data-follows]")?.dataset.follows ?? []);
  source = new EventSource(`/api/v1/events?kind=${kinds}${plugin ? `&plugin=${plugin}` : ""}`);
  source.onopen = () => {
    clearTimeout(broken);
    broken = null;
    // What happened between the page and the stream is no event of it.
    refresh();
  };
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) {
      broken ??= setTimeout(ask, BROKEN_AFTER_MS);
      return;
    }
    // A browser gives up at some errors: a proxy's answer, a session that ended. The page says which.
    close();
    ask();
    swap().catch(() => {});
    setTimeout(open, 3000);
  };
  for (const kind of [...kinds, "gap"]) source.addEventListener(kind, refresh);
}

function close() {
  source?.close();
  source = null;
}

export function listen() {
  watch();
  open();
  awaitNext();
  // A host that has vanished did not end the stream, and nothing will come by it.
  document.addEventListener("away", close);
  document.addEventListener("back", open);
  document.addEventListener("swapped", awaitNext);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    open();
  });
  addEventListener("pagehide", close);
}
