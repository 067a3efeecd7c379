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

function show(root) {
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
