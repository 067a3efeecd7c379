// Times in UTC or in the time of this place, as the person chose; the other is in the title.
const KEY = "times";
const isLocal = () => localStorage.getItem(KEY) === "local";
const pad = (number, length = 2) => String(number).padStart(length, "0");

function written(moment, how) {
  const day = `${moment.getFullYear()}-${pad(moment.getMonth() + 1)}-${pad(moment.getDate())}`;
  if (how === "day") return day;
  const minute = `${day} ${pad(moment.getHours())}:${pad(moment.getMinutes())}`;
  return how === "minute" ? minute : `${minute}:${pad(moment.getSeconds())}`;
}

// The ticks of a plot, in the words of the server.
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
function ticked(moment, form) {
  const clock = `${pad(moment.getHours())}:${pad(moment.getMinutes())}`;
  if (form === "second") return `${clock}:${pad(moment.getSeconds())}`;
  if (form === "month") return `${MONTHS[moment.getMonth()]} ${moment.getFullYear()}`;
  // A day's tick stands at midnight UTC, which may be any hour of this place.
  const day = `${MONTHS[moment.getMonth()]} ${moment.getDate()}`;
  return form === "day" ? (clock === "00:00" ? day : `${day}, ${clock}`) : clock;
}

function show(root) {
  for (const tick of root.querySelectorAll("[data-moment]")) {
    tick.dataset.utc ??= tick.textContent;
    tick.textContent = isLocal() ? ticked(new Date(tick.dataset.moment), tick.dataset.form) : tick.dataset.utc;
  }
  for (const time of root.querySelectorAll("time[data-how]")) {
    const how = time.dataset.how;
    if (how === "ago" || how === "exact") continue;
    time.dataset.utc ??= time.textContent;
    time.textContent = isLocal() ? written(new Date(time.dateTime), how) : time.dataset.utc;
  }
  for (const zone of root.querySelectorAll("[data-zone]")) zone.textContent = isLocal() ? "local" : "UTC";
  for (const button of document.querySelectorAll("[data-times]")) {
    button.hidden = false;
    button.querySelector("span").textContent = `Times: ${isLocal() ? "local" : "UTC"}`;
  }
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-times]")) return;
  localStorage.setItem(KEY, isLocal() ? "utc" : "local");
  show(document);
});
for (const name of ["htmx:afterSettle", "inference:shown"]) document.addEventListener(name, () => show(document));
show(document);
