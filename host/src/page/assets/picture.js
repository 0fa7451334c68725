// Moves and zooms the picture in place. The links work without this script; keys press them by their own names.
import { swap } from "./swap.js";

const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.altKey);

export function picture() {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest(".picture-page nav a");
    if (!link || !isPlain(event) || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    await swap().catch(() => location.reload());
  });
  addEventListener("popstate", () => swap().catch(() => location.reload()));
  document.addEventListener("keydown", (event) => {
    const isInside = event.target.closest(".picture-page");
    // A character alone is a command only inside: programs for speech input type them.
    const isAnywhere = event.target === document.body && event.key.length > 1;
    if (!(isInside || isAnywhere) || !isPlain(event)) return;
    const key = CSS.escape({ "+": "Plus", "=": "Plus" }[event.key] ?? event.key);
    const link = document.querySelector(`.picture-page a[aria-keyshortcuts="${key}"]`);
    if (!link) return;
    event.preventDefault();
    link.focus();
    link.click();
  });
}
