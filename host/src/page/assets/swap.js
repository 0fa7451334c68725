// Fetches this page again and puts its content into place. The focus stays, details stay open, and what has `data-keep` as it is.
import { showLocal } from "./clock.js";

const PATIENCE_MS = 30_000;

/** Leads to the login, but not away from what was typed. */
function logIn() {
  if (!document.querySelector("main [data-keep]")) return location.reload();
  const link = document.createElement("a");
  Object.assign(link, { href: "/login", target: "_blank", textContent: "Log in again" });
  report("The session has ended. ");
  document.getElementById("report").append(link);
}

/** Returns the `<main>` of a page of this host and its status, or null if the browser was sent to the login. */
export async function fetchMain(address, { headers, ...request } = {}) {
  const response = await fetch(address, { ...request, headers: { accept: "text/html", ...headers } });
  if (response.redirected && new URL(response.url).pathname === "/login") return logIn() ?? null;
  if (!response.headers.get("content-type")?.startsWith("text/html")) {
    const { detail } = await response.json().catch(() => ({}));
    throw new Error(detail ?? response.statusText);
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return { main: page.querySelector("main"), status: response.status };
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

// The number of the newest swap: the answer to an earlier one is old, also if it comes later.
let newest = 0;
let isPressed = false;
for (const kind of ["pointerdown", "pointerup", "pointercancel"]) {
  addEventListener(kind, () => { isPressed = kind === "pointerdown"; }, { capture: true });
}

/** Returns how to find an element again: by its id, a link by where it leads, a button by its name, a summary by its details. */
function finder(element) {
  if (element?.id) return () => document.getElementById(element.id);
  if (element?.matches("summary")) return () => document.querySelector(`#${element.parentElement.id} > summary`);
  const like = (name, kind) => {
    const value = element?.getAttribute(name);
    return value && [...document.querySelectorAll(`main ${kind}`)].find((one) => one.getAttribute(name) === value);
  };
  return () => like("href", "a") ?? like("aria-label", "button");
}

export async function swap() {
  const own = ++newest;
  const { main, status } = (await fetchMain(location.href, { signal: AbortSignal.timeout(PATIENCE_MS) })) ?? {};
  const now = document.querySelector("main");
  // What is known stays where the host has only an error for it.
  if (!main || !now || own !== newest || status >= 500) return;
  // What is pressed would not be there to be clicked.
  if (isPressed) return addEventListener("pointerup", later, { once: true });
  const active = document.activeElement;
  if (active?.matches("main :is(input, select, textarea)") && !active.closest("[data-keep]")) {
    // Nothing moves while a field is being filled in.
    active.addEventListener("blur", later, { once: true });
    return;
  }
  const focused = finder(active);
  for (const open of now.querySelectorAll("details[id][open]")) {
    const next = main.querySelector(`#${open.id}`);
    next?.setAttribute("open", "");
    // What was typed stays, too.
    for (const { name, value } of open.querySelectorAll("form.pause [name]")) {
      const field = next?.querySelector(`[name=${name}]`);
      if (field) field.value = value;
    }
  }
  showLocal(main);
  replace(now, main);
  if (!active?.isConnected) focused()?.focus({ preventScroll: true });
  document.dispatchEvent(new Event("swapped"));
}

function later() {
  setTimeout(() => swap().catch(() => {}));
}

/** Reports something in one line, which screen readers read. */
export function report(text) {
  document.getElementById("report").textContent = text;
}
