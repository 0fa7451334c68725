// Shows an explanation in a dialog. Without script, its link opens a page of its own.
import { fetchMain, lowerHeading } from "./swap.js";
import { showLocal } from "./clock.js";

export function explain() {
  const dialog = document.getElementById("why");
  let opener = null;
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a.why");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    // Not `href`, which is an object of a link in a picture.
    const address = link.getAttribute("href");
    const { main } = (await fetchMain(address).catch(() => null)) ?? {};
    if (!main) return location.assign(address);
    opener = link.id;
    showLocal(main);
    lowerHeading(main, "why-title");
    dialog.querySelector(".content").replaceChildren(...main.childNodes);
    dialog.showModal();
  });
  // A new list may have replaced the link; its id is the same.
  dialog.addEventListener("close", () => opener && document.getElementById(opener)?.focus());
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
}
