// Fetches this page again and puts its content into place. The focus stays, and details stay open.
import { showLocal } from "./clock.js";

/** Returns the `<main>` of a page of this host, or null if the browser was sent elsewhere. */
export async function fetchMain(address, { headers, ...request } = {}) {
  const response = await fetch(address, { ...request, headers: { accept: "text/html", ...headers } });
  if (response.redirected && new URL(response.url).pathname === "/login") {
    location.reload();
    return null;
  }
  // A host that stops must not take away what is shown.
  if (response.status >= 500) throw new Error(response.statusText);
  const text = await response.text();
  return new DOMParser().parseFromString(text, "text/html").querySelector("main");
}

/** Makes the heading of a page one of a part of a page. */
export function lowerHeading(main, id) {
  const heading = main.querySelector("h1");
  if (!heading) return null;
  const title = document.createElement("h2");
  title.id = id;
  title.append(...heading.childNodes);
  heading.replaceWith(title);
  return title;
}

/** Replaces content. Parts with `data-keep` stay and are not moved, so that a text is still where it was scrolled to. */
function replace(now, main) {
  const isKept = (one) => one.dataset?.keep !== undefined;
  const kept = [...now.children].filter((one) => isKept(one) && main.querySelector(`:scope > #${one.id}`));
  // An error of the host must not take away what was typed.
  if (!kept.length && [...now.children].some(isKept)) return;
  for (const node of [...now.childNodes]) if (!kept.includes(node)) node.remove();
  let next = now.firstChild;
  for (const node of [...main.childNodes]) {
    if (next && node.id === next.id) next = next.nextSibling;
    else now.insertBefore(node, next);
  }
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
  for (const open of now.querySelectorAll("details[id][open]")) main.querySelector(`#${open.id}`)?.setAttribute("open", "");
  showLocal(main);
  replace(now, main);
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
