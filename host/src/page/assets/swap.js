// Fetches this page again and puts its content into place. The focus and open details stay.
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
  const focused = document.activeElement?.id;
  showLocal(main);
  now.replaceChildren(...main.childNodes);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** Reports something in one line, which screen readers read. */
export function report(text) {
  document.getElementById("report").textContent = text;
}
