// Adds the reader's own time where it differs from the device's.
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Returns hours and minutes of an instant at a place. */
function wall(at, timeZone) {
  return new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone }).format(at);
}

export function showLocal(root) {
  for (const time of root.querySelectorAll("time[data-zone]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime()) || time.nextElementSibling?.classList.contains("here")) continue;
    const local = wall(at, here);
    if (local === wall(at, time.dataset.zone)) continue;
    const text = document.createElement("span");
    text.className = "here soft";
    text.textContent = ` (${local} where you are)`;
    time.after(text);
  }
}
