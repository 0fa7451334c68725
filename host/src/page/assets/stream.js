// Follows the host's events. One stream a page, closed while the page is hidden.
import { swap } from "./swap.js";

// At most one new page in this time, and the first at once.
const PAUSE_MS = 1000;
const AWAY_AFTER_MS = 1500;
// A run begins, or sends its next message, at a time that the page shows: that is no event.
const BEGUN_AFTER_MS = 1500;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const KINDS = ["run", "plan", "plugin", "link", "clock"];

let source = null;
let last = 0;
let waiting = null;
let away = null;
let next = null;

function refresh() {
  if (waiting) return;
  waiting = setTimeout(async () => {
    waiting = null;
    last = Date.now();
    try {
      await swap();
    } catch {
      // The stream's own error says that the host is away.
    }
  }, Math.max(0, last + PAUSE_MS - Date.now()));
}

/** Refreshes when the next of the times that are shown has come. */
function awaitNext() {
  clearTimeout(next);
  const times = [...document.querySelectorAll("main time")].map((time) => Date.parse(time.dateTime) - Date.now());
  const wait = Math.min(...times.filter((ms) => ms > 0)) + BEGUN_AFTER_MS;
  if (wait < LONGEST_TIMER_MS) next = setTimeout(refresh, wait);
}

function setAway(isAway) {
  const banner = document.getElementById("away");
  if (banner.hidden !== isAway) return;
  banner.hidden = !isAway;
  document.body.classList.toggle("away", isAway);
  document.getElementById("as-of").textContent = isAway ? document.querySelector("main [data-now]")?.textContent ?? "" : "";
  for (const button of document.querySelectorAll("button[data-path]")) button.disabled = isAway;
}

function open() {
  if (source || document.hidden) return;
  // A page with a list of log lines follows these as well.
  const kinds = KINDS.concat(document.querySelector("[data-follows]")?.dataset.follows ?? []);
  source = new EventSource(`/api/v1/events?kind=${kinds}`);
  source.onopen = () => {
    clearTimeout(away);
    away = null;
    setAway(false);
    // What happened between the page and the stream is no event of it.
    refresh();
  };
  source.onerror = () => {
    away ??= setTimeout(() => setAway(true), AWAY_AFTER_MS);
    // A browser gives up at some errors: a proxy's answer, a session that ended.
    if (source?.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, 3000);
    }
  };
  for (const kind of [...kinds, "gap"]) source.addEventListener(kind, refresh);
}

function close() {
  source?.close();
  source = null;
}

export function listen() {
  open();
  awaitNext();
  document.addEventListener("swapped", awaitNext);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    open();
  });
  addEventListener("pagehide", close);
}
