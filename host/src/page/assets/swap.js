// Fetches this page again and puts its content into place. The focus stays, details stay open, and forms with `data-keep` as they
// are.
import { showLocal } from "./clock.js";

/** Returns the `<main>` of a page of this host, or null if the browser was sent elsewhere. */
export async function fetchMain(address, { headers, ...request } = {}) {
  const response = await fetch(address, { ...request, headers: { accept: "text/html", ...headers } });
  if (response.redirected && new URL(response.url).pathname === "/login") {
    location.reload();
    return null;
  }
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

/** Replaces content, apart from the part that is in use: it stays as it is, and is not moved. */
function replace(now, main) {
  const kept = now.querySelector(":scope > [data-keep]");
  const [nodes, place] = [[...main.childNodes], main.querySelector(":scope > [data-keep]")];
  if (!kept) return now.replaceChildren(...nodes);
  // An error of the host must not take away what was typed.
  if (!place) return;
  for (const node of [...now.childNodes]) if (node !== kept) node.remove();
  const at = nodes.indexOf(place);
  kept.before(...nodes.slice(0, at));
  kept.after(...nodes.slice(at + 1));
}

// The number of the newest swap: the answer to an earlier one is old, also if it comes later.
let newest = 0;

export async function swap() {
  const own = ++newest;
  const main = await fetchMain(location.href);
  const now = document.querySelector("main");
  if (!main || !now || own !== newest) return;
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
