// The buttons: each names the request of the API that it makes.
import { report, swap } from "./swap.js";

/** The bodies of requests that are not in the page, by button. */
export const bodies = new WeakMap();

async function send(button) {
  const { method, path, type = "application/json", ifMatch, ifNoneMatch, done, confirm: question } = button.dataset;
  const body = bodies.get(button) ?? button.dataset.body;
  if (question && !confirm(question)) return;
  button.disabled = true;
  try {
    const headers = body === undefined ? {} : { "content-type": type };
    if (ifMatch) headers["if-match"] = ifMatch;
    if (ifNoneMatch) headers["if-none-match"] = ifNoneMatch;
    const response = await fetch(path, { method, headers, body });
    button.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail: response }));
    if (response.ok) {
      report(done ?? "Done.");
      document.querySelector("dialog[open]")?.close();
    } else {
      const problem = await response.json().catch(() => ({ detail: response.statusText }));
      report([problem.detail, problem.hint].filter(Boolean).join(" – "));
    }
    await swap();
  } catch {
    report("The host did not answer. Nothing was changed, or it is not known whether it was.");
  } finally {
    button.disabled = false;
  }
}

export function act() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-path]");
    if (button) send(button);
  });
}
