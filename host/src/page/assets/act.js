// The buttons: each names the request of the API that it makes and, if it needs none to be asked before, how to undo it.
import { report, swap } from "./swap.js";

/** The bodies of requests that are not in the page, by button. */
export const bodies = new WeakMap();

const UNDO_MS = 10_000;
// What was asked may go on for a moment: a message is sent, and acknowledged.
const SETTLED_AFTER_MS = 1500;

/** Asks a question, and resolves to whether the answer is the verb of the button. */
function ask(question, verb) {
  const dialog = document.getElementById("ask");
  dialog.querySelector("p").textContent = question;
  dialog.querySelector("button").textContent = verb;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Offers for some seconds to undo what a button did. */
function offerUndo(done, method, path, back, body) {
  const button = document.createElement("button");
  if (body !== undefined) bodies.set(button, body);
  Object.assign(button.dataset, { method, path, back, done: "It is undone." });
  button.textContent = "Undo";
  button.setAttribute("aria-label", `Undo: ${done}`);
  document.getElementById("report").append(" ", button);
  setTimeout(() => button.remove(), UNDO_MS);
}

async function send(button) {
  const { method, path, type = "application/json", ifMatch, ifNoneMatch } = button.dataset;
  const { done = "Done.", confirm: question, undoMethod, undoPath, undoAnswer } = button.dataset;
  const body = bodies.get(button) ?? button.dataset.body;
  if (question && !(await ask(question, button.textContent))) return;
  // Not `disabled`, which would take the focus away.
  if (button.ariaBusy) return;
  button.ariaBusy = "true";
  try {
    const headers = body === undefined ? {} : { "content-type": type };
    if (ifMatch) headers["if-match"] = ifMatch;
    if (ifNoneMatch) headers["if-none-match"] = ifNoneMatch;
    const response = await fetch(path, { method, headers, body });
    button.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail: response }));
    if (response.ok) {
      // A button that can be undone is answered with JSON, or nothing.
      const answer = undoPath ? await response.json().catch(() => ({})) : {};
      report(answer.replaced ? `${done} It replaces what was paused before; Undo restores that.` : done);
      document.querySelector("dialog[open]")?.close();
      // Of several devices, only those that were changed are changed back.
      if (undoAnswer !== undefined) offerUndo(done, undoMethod, undoPath, button.id, JSON.stringify(answer));
      // The same request sets again the pause that it has replaced.
      else if (answer.replaced) offerUndo(done, method, path, button.id, JSON.stringify(answer.replaced));
      else if (undoPath) offerUndo(done, undoMethod, undoPath, button.id);
    } else {
      const problem = await response.json().catch(() => ({ detail: response.statusText }));
      report([problem.detail, problem.hint].filter(Boolean).join(" – "));
      // What was refused may be tried again at once.
      button.ariaBusy = null;
    }
    await swap().catch(() => {});
    setTimeout(() => swap().catch(() => {}), SETTLED_AFTER_MS);
  } catch {
    report("The host did not answer. Nothing was changed, or it is not known whether it was.");
  } finally {
    button.ariaBusy = null;
    if (button.dataset.back) document.getElementById(button.dataset.back)?.focus({ preventScroll: true });
  }
}

export function act() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-path]");
    if (button) send(button);
  });
}
