// Tasks: collects the arguments of a form for its button, and shows at the form what the host answers.
import { bodies } from "./act.js";

/** Returns the value of a field as its schema wants it. */
function value({ labels, checked, value: text, dataset: { kind } }) {
  if (kind === "boolean") return checked;
  if (kind === "number") return Number(text);
  if (kind === "text") return text;
  try {
    return JSON.parse(text);
  } catch {
    if (kind === "text-or-json") return text;
    throw new Error(`“${labels[0].textContent.trim()}” is not JSON: a text has quotation marks, as in "lawn".`);
  }
}

/** Returns the arguments of a form. Optional ones that were left empty are left out. */
function collect(form) {
  const fields = [...form.querySelectorAll("[data-kind]")].filter((field) => field.required || field.value !== "");
  if (form.querySelector("[data-kind]:not([data-name])")) return fields.length ? value(fields[0]) : undefined;
  return Object.fromEntries(fields.map((field) => [field.dataset.name, value(field)]));
}

function say(form, text, name, address) {
  const result = form.querySelector(".result");
  result.className = `result ${name}`;
  result.textContent = text;
  if (!address) return;
  const link = document.createElement("a");
  link.href = address;
  link.textContent = "See how it goes";
  result.append(" ", link);
}

export function tasks() {
  // Before the button acts.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("form.task button");
    if (!button) return;
    const { plugin, device, task } = button.form.dataset;
    try {
      if (!button.form.reportValidity()) return event.stopPropagation();
      bodies.set(button, JSON.stringify({ trigger: "now", plugin, device, task, args: collect(button.form) }));
    } catch (error) {
      say(button.form, error.message, "banner bad");
      event.stopPropagation();
    }
  }, { capture: true });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form.task")) return;
    event.preventDefault();
    event.target.querySelector("button").click();
  });
  document.addEventListener("answer", async ({ target, detail: response }) => {
    const form = target.closest("form.task");
    if (!form) return;
    const answer = await response.clone().json().catch(() => ({ detail: response.statusText }));
    if (response.ok) return say(form, "It is called.", "soft", `/jobs/${answer.plugin}/${answer.device}/${answer.job}`);
    say(form, [answer.detail, answer.hint].filter(Boolean).join(" – "), "banner bad");
  });
}
