// Fetches this page again and puts its content into place. The focus stays, and forms with `data-keep` stay as they are.
import { showLocal } from "./clock.js";

/** Returns the `<main>` of a page of this host, or null if the browser was sent elsewhere. */
export async function fetchMain(address) {
  const response = await fetch(address, { headers: { accept: "text/html" } });
  if (response.redirected && new URL(response.url).pathname === "/login") {
    location.reload();
    return null;
  }
  const text = await response.text();
  return new DOMParser().parseFromString(text, "text/html").querySelector("main");
}

export async function swap() {
  const main = await fetchMain(location.href);
  const now = document.querySelector("main");
  if (!main || !now) return;
  const active = document.activeElement;
  if (active?.matches("main :is(input, select, textarea)")) {
    // Nothing moves while a field is being filled in.
    active.addEventListener("blur", later, { once: true });
    return;
  }
  const focused = active?.id;
  for (const kept of now.querySelectorAll("[data-keep]")) main.querySelector(`#${kept.id}`)?.replaceWith(kept);
  showLocal(main);
  now.replaceChildren(...main.childNodes);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  document.dispatchEvent(new Event("swapped"));
}

function later() {
  setTimeout(() => swap().catch(() => {}));
}

/** Reports something in one line, which screen readers read. */
export function report(text) {
  document.getElementById("report").textContent = text;
}
