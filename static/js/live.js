// The live tail: what comes is put before what is shown, each inference once.
const EVERY_MS = 3000;
const MOST = 400; // what is further down goes, so that the page stays light
let timer = 0;

const button = () => document.querySelector("[data-live]");
const list = () => document.querySelector("[data-list]");

function parsed(text) {
  const holder = document.createElement("template");
  const isTable = list().matches("tbody");
  holder.innerHTML = isTable ? `<table><tbody>${text}</tbody></table>` : text;
  return [...holder.content.querySelectorAll("[data-id]")];
}

async function look() {
  if (document.hidden || !list()) return;
  const answer = await fetch(`${button().dataset.address}&part=new&after=${list().dataset.newest}`, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return stop();
  const shown = new Set([...list().querySelectorAll("[data-id]")].map((one) => one.dataset.id));
  const fresh = parsed(await answer.text()).filter((one) => !shown.has(one.dataset.id));
  if (!fresh.length) return;
  list().prepend(...fresh);
  for (const one of fresh) one.classList.add("is-new");
  for (const old of [...list().querySelectorAll("[data-id]")].slice(MOST)) old.remove();
  document.dispatchEvent(new Event("list:grown"));
}

function stop() {
  clearInterval(timer);
  timer = 0;
  button()?.setAttribute("aria-pressed", "false");
}

function start() {
  timer = setInterval(look, EVERY_MS);
  button().setAttribute("aria-pressed", "true");
  look();
}

function prepare() {
  if (button()) button().hidden = !list();
  if (button() && timer) button().setAttribute("aria-pressed", "true");
}

document.addEventListener("click", (event) => { if (event.target.closest("[data-live]")) timer ? stop() : start(); });
document.addEventListener("htmx:afterSettle", prepare);
prepare();
