// The buttons: each names the request of the API that it makes.
import { report, swap } from "./swap.js";

async function send(button) {
  const { method, path, body, done, confirm: question } = button.dataset;
  if (question && !confirm(question)) return;
  button.disabled = true;
  try {
    const headers = body ? { "content-type": "application/json" } : {};
    const response = await fetch(path, { method, headers, body });
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
