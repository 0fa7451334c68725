// Checks a plugin or its settings. The host answers with what they would change, and with the button that does it.
import { bodies } from "./act.js";
import { showLocal } from "./clock.js";
import { fetchMain, lowerHeading } from "./swap.js";

/** Makes the checks of a section of the page. The last one counts. */
function checker(section) {
  const result = section.querySelector(".result");
  let checks = 0;
  // The check that is not answered yet.
  let asked = null;
  const say = (text, name = "soft") => {
    checks += 1;
    const line = document.createElement("p");
    line.setAttribute("role", "status");
    line.className = name;
    line.textContent = text;
    result.replaceChildren(line);
    return checks;
  };
  const isNewest = (check) => check === checks;
  const isChecking = () => isNewest(asked);
  const check = async (address, body, headers) => {
    const mine = asked = say("It is being checked: the plugin is compiled, and asked for its plans …");
    const answer = await fetchMain(address, { method: "POST", body, headers }).catch(({ name, message }) =>
      // The browser's own error says nothing.
      name === "TypeError" ? null : { message });
    if (!isNewest(mine)) return null;
    asked = null;
    const main = answer?.main;
    if (!main) {
      say(`${answer?.message ?? "The host did not answer"}. Nothing was changed.`, "banner bad");
      return null;
    }
    showLocal(main);
    const title = lowerHeading(main, "result-title");
    result.replaceChildren(...main.childNodes);
    const button = result.querySelector("button[data-method=PUT]");
    if (button) bodies.set(button, body);
    if (title) title.tabIndex = -1;
    title?.focus();
    return result;
  };
  return { say, isNewest, isChecking, check, result };
}

function install(section) {
  const { say, isNewest, check } = checker(section);
  const form = section.querySelector("form");
  const { file, plugin } = form.elements;
  let bytes = null;

  async function take(files) {
    const bad = (text) => say(text, "banner bad");
    bytes = null;
    if (files.length !== 1) return bad("Drop one file at a time.");
    const [{ name, size }] = files;
    if (!name.endsWith(".wasm")) return bad(`${name} is not a plugin: choose a file that ends in .wasm.`);
    if (size === 0) return bad(`${name} is empty: build or copy it again.`);
    const most = Number(form.dataset.most);
    if (size > most) return bad(`${name} has ${Math.ceil(size / 2 ** 20)} MiB, and a plugin may have at most ${most / 2 ** 20} MiB.`);
    const mine = say(`${name} is being read …`);
    try {
      const read = await files[0].arrayBuffer();
      if (!isNewest(mine)) return;
      bytes = read;
    } catch {
      return bad(`${name} cannot be read: it may be a folder, or have been changed meanwhile.`);
    }
    plugin.value = name.slice(0, -".wasm".length).toLowerCase().replaceAll("_", "-");
    run();
  }

  function run() {
    if (!bytes) return say("Choose a file first.", "banner bad");
    check(`/plugins?plugin=${encodeURIComponent(plugin.value)}`, bytes, { "content-type": "application/wasm" });
  }

  file.addEventListener("change", () => file.files.length && take(file.files));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  // What was checked is what is installed.
  plugin.addEventListener("input", () => say("The name was changed: check it again."));
  section.addEventListener("answer", ({ detail: { ok, status } }) => {
    if (ok) say(`${plugin.value} is in the folder. The list shows when it runs.`);
    else if ([409, 412].includes(status)) run();
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
}

function settings(section) {
  const { say, isChecking, check, result } = checker(section);
  const form = section.querySelector("form");
  const { text } = form.elements;
  // What was checked last, and the tag of a file of another program that was reported.
  let checked = "";
  let reported;

  async function run() {
    const { plugin, tag, ends } = form.dataset;
    const condition = tag ? { "if-match": tag } : { "if-none-match": "*" };
    const headers = { "content-type": "application/toml", ...condition };
    checked = text.value;
    const body = checked.replaceAll("\n", ends);
    text.removeAttribute("aria-invalid");
    const shown = await check(`/plugins/${plugin}/settings`, body, headers);
    // A difference to that file is shown.
    reported = shown?.querySelector("[data-mine]")?.dataset.mine ?? reported;
    const { line, column } = shown?.querySelector("[data-column]")?.dataset ?? {};
    if (line) select(Number(line), Number(column));
  }

  function select(line, column = 1) {
    const lines = text.value.split("\n");
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    text.setAttribute("aria-invalid", "true");
    text.setAttribute("aria-describedby", "result-title");
    text.focus();
    text.setSelectionRange(start + column - 1, start + (lines[line - 1] ?? "").length);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  result.addEventListener("click", ({ target: { dataset } }) => {
    if (dataset.line) select(Number(dataset.line));
    if (dataset.mine === undefined) return;
    form.dataset.tag = reported = dataset.mine;
    run();
  });
  addEventListener("beforeunload", (event) => text.value !== text.defaultValue && event.preventDefault());
  document.addEventListener("swapped", () => {
    const tag = document.getElementById("file")?.dataset.tag ?? "";
    // The answer of a check shows it as well.
    if (isChecking() || tag === reported || tag === (form.dataset.tag ?? "")) return;
    reported = tag;
    say("The file was changed meanwhile. Check shows how it differs from your text.", "banner bad");
  });
  text.addEventListener("input", () => result.hasChildNodes() && say("The text was changed: check it again."));
  section.addEventListener("answer", ({ detail: response }) => {
    if (response.ok) {
      form.dataset.tag = response.headers.get("etag");
      text.defaultValue = checked;
      say("The settings are saved.");
    } else if ([409, 412].includes(response.status)) run();
  });
}

export function checks() {
  const [toInstall, toSet] = ["install", "settings"].map((id) => document.getElementById(id));
  if (toInstall) install(toInstall);
  if (toSet) settings(toSet);
}
