// Pauses: puts the fields of a form into the request of its button.
import { bodies } from "./act.js";

export function pauses() {
  // Before the button acts.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("form.pause button");
    if (!button) return;
    const { plugin, reason, until } = button.form.elements;
    const { lasts } = button.dataset;
    if (plugin) {
      const path = plugin.value ? `/api/v1/plugins/${plugin.value}` : "/api/v1";
      Object.assign(button.dataset, { path: `${path}/pause`, undoPath: `${path}/resume` });
    }
    bodies.set(button, JSON.stringify({ for: lasts, until: lasts ? undefined : until.value, reason: reason.value }));
    button.closest("details").open = false;
  }, { capture: true });
  document.addEventListener("submit", (event) => {
    if (event.target.matches("form.pause")) event.preventDefault();
  });
}
