// Whether the host answers: what the page shows of it, its buttons and its links all follow the same answer.
import { report } from "./swap.js";

// A host that has vanished closes no connection: only a question finds out. Both together are less than 20 s.
const ASK_EVERY_MS = 5000;
const PATIENCE_MS = 8000;
const ASK_EVERY_MS_WHILE_AWAY = 2000;

let isAway = false;
let asking = null;
let asked = Date.now();

function setAway(now) {
  if (now === isAway) return;
  isAway = now;
  document.getElementById("away").hidden = !isAway;
  document.body.classList.toggle("away", isAway);
  document.getElementById("as-of").textContent = isAway ? document.querySelector("main [data-now]")?.textContent ?? "" : "";
  for (const button of document.querySelectorAll("button[data-path]")) button.disabled = isAway;
  document.dispatchEvent(new Event(isAway ? "away" : "back"));
}

async function question() {
  asked = Date.now();
  const answer = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => null);
  // One of several hosts is there, and can only wait, while no other one works.
  const { status, answers } = answer?.ok ? await answer.json().catch(() => ({})) : {};
  asking = null;
  // A page that is left cancels its requests.
  if (!document.hidden) setAway(status !== "ok" || answers === false);
  return !isAway;
}

/** Asks the host whether it is there. */
export function ask() {
  return (asking ??= question());
}

/** Lets what leaves the page wait for the host: a browser's error page would take away what is known. */
async function leave(event, again) {
  if (!isAway) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  report("The host is asked again …");
  const isBack = await ask();
  report(isBack ? "" : "The host does not answer, so this page stays: a browser could not show it again.");
  if (isBack) again();
}

export function watch() {
  setInterval(() => {
    const pause = isAway ? ASK_EVERY_MS_WHILE_AWAY : ASK_EVERY_MS;
    if (!document.hidden && Date.now() - asked >= pause) ask();
  }, 1000);
  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || link.getAttribute("href").startsWith("#") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    leave(event, () => link.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true })));
  }, { capture: true });
  addEventListener("submit", (event) => {
    if (event.target.method !== "dialog") leave(event, () => event.target.requestSubmit());
  }, { capture: true });
}
