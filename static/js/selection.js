// Which inferences are selected: kept in this tab over pages and filters of one model. "All
// matching" is meant of one list, and may leave some out.
const MOST = 19_000; // ids that one form may have, as the server reads 20,000 fields; beyond, a filter says it shorter
let last = null;
let without = new Set(); // ids that are taken out of "all matching"

const bar = () => document.querySelector("[data-selection]");
const boxes = () => [...document.querySelectorAll("[data-select]")];
const place = () => `selected:${bar().dataset.model}`;
const ids = () => new Set(JSON.parse(sessionStorage.getItem(place()) ?? "[]"));
const isAll = () => bar().querySelector("[data-everything]")?.value === "true";
const field = () => bar().dataset.field ?? "inference_id";

function keep(chosen) { sessionStorage.setItem(place(), JSON.stringify([...chosen].slice(0, MOST))); }

function matching() {
  const text = document.querySelector("[data-count]")?.textContent.trim().replace(/\s+/g, " ") ?? "";
  return /\d/.test(text) ? text.replace(/ (inferences?|entr(y|ies))$/, "") : "";
}

function show() {
  if (!bar()) return;
  const chosen = ids();
  const all = isAll();
  for (const box of boxes()) {
    box.checked = all ? !without.has(box.value) : chosen.has(box.value);
    box.closest("[data-id]").classList.toggle("is-selected", box.checked);
  }
  for (const each of bar().querySelectorAll("[data-select-page], [data-select-all], [data-select-none]")) each.hidden = false;
  bar().dataset.ready = "";
  bar().classList.toggle("active", all || chosen.size > 0);
  const total = matching();
  bar().querySelector("[data-selected-count]").textContent =
    all ? allButSome(total) : chosen.size ? `${chosen.size.toLocaleString("en")} selected${chosen.size >= MOST ? ", the most at once" : ""}` : "Select";
  const select = bar().querySelector("[data-select-all]"); // not of entries, which are chosen one by one
  if (select) {
    select.textContent = total ? `Select all ${total}` : "Select all matching";
    select.hidden = all;
  }
  bar().querySelector("[data-select-none]").hidden = !all && !chosen.size;
  const page = bar().querySelector("[data-select-page]");
  const shown = boxes();
  page.checked = shown.length > 0 && shown.every((box) => box.checked);
  page.indeterminate = !page.checked && shown.some((box) => box.checked);
  for (const button of bar().querySelectorAll("[formaction]")) button.disabled = !all && !chosen.size;
}

// "325 selected" of 326, where the number is known; else how many are left out of it.
function allButSome(total) {
  if (without.size >= MOST) return `All but ${MOST.toLocaleString("en")}, the most that can be left out: narrow the query`;
  if (!without.size) return `All ${total || "matching"} selected`;
  const left = Number(total.replaceAll(",", "")) - without.size;
  return total && left >= 0 ? `${left.toLocaleString("en")} selected` : `All ${total || "matching"} but ${without.size.toLocaleString("en")} selected`;
}

function everything(on) {
  const all = bar().querySelector("[data-everything]");
  if (all) all.value = on ? "true" : "";
  without = new Set();
}

function choose(box, on, isRange) {
  const chosen = ids();
  const list = boxes();
  const from = isRange && last ? list.findIndex((each) => each.value === last) : -1;
  const to = list.indexOf(box);
  const range = from < 0 ? [box] : list.slice(Math.min(from, to), Math.max(from, to) + 1);
  last = box.value;
  if (isAll()) {
    for (const each of range) if (on || without.size < MOST) without[on ? "delete" : "add"](each.value);
    return show();
  }
  for (const each of range) chosen[on ? "add" : "delete"](each.value);
  keep(chosen);
  show();
}

document.addEventListener("click", (event) => {
  const box = event.target.closest("[data-select]");
  if (box) choose(box, box.checked, event.shiftKey);
  if (event.target.closest("[data-review]") && !event.ctrlKey && !event.metaKey && !event.shiftKey) reviewSelected(event);
  if (event.target.closest("[data-select-all]")) { everything(true); show(); }
  if (event.target.closest("[data-select-none]")) { everything(false); keep([]); show(); }
});

// Review in the bar of the list goes through what is selected, if something is.
function reviewSelected(event) {
  const button = bar()?.classList.contains("active") && bar().querySelector('[formaction$="/review"]');
  if (!button) return;
  event.preventDefault();
  bar().requestSubmit(button);
}

document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-select-page]")) return;
  if (isAll()) {
    for (const box of boxes()) if (event.target.checked || without.size < MOST) without[event.target.checked ? "delete" : "add"](box.value);
    return show();
  }
  const chosen = ids();
  for (const box of boxes()) chosen[event.target.checked ? "add" : "delete"](box.value);
  everything(false);
  keep(chosen);
  show();
});

// J and K go through the list, X selects what they stand on.
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input:not([type=checkbox]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (!"jkx".includes(key) || key.length !== 1 || document.querySelector("dialog[open], #drawer:not([hidden])")) return;
  const items = [...document.querySelectorAll("[data-list] [data-id]")];
  const here = items.indexOf(document.activeElement.closest?.("[data-id]"));
  if (key === "x") {
    const box = items[here]?.querySelector("[data-select]");
    if (box) { event.preventDefault(); choose(box, !box.checked, event.shiftKey); }
    return;
  }
  const next = items[Math.min(Math.max(here + (key === "j" ? 1 : -1), 0), items.length - 1)];
  next?.querySelector(".id a")?.focus();
  next?.scrollIntoView({ block: "nearest" });
});

// What is selected on other pages travels along with what is checked on this one.
document.addEventListener("submit", (event) => {
  if (event.target !== bar()) return;
  const shown = new Set(boxes().map((box) => box.value));
  for (const old of bar().querySelectorAll("[data-carried]")) old.remove();
  const carry = (name, id) => {
    const carried = Object.assign(document.createElement("input"), { type: "hidden", name, value: id });
    carried.dataset.carried = "";
    bar().append(carried);
  };
  if (isAll()) for (const id of without) carry("exclude_inference_id", id);
  else for (const id of ids()) if (!shown.has(id)) carry(field(), id);
});

// What was done with a selection is done: the answer to it says so.
if (document.querySelector("[data-toast].acted") && bar()) keep([]);
// The list can be used before this module has run: what is ticked by then is selected. After Back
// or a reload the browser ticks what it remembers, and what is kept in the tab is right.
if (bar() && performance.getEntriesByType("navigation")[0]?.type === "navigate") {
  keep(new Set([...ids(), ...boxes().filter((box) => box.checked).map((box) => box.value)]));
}
document.addEventListener("list:acted", ({ detail }) => {
  if (!detail.acted || !bar()) return;
  everything(false);
  keep([]);
});
for (const name of ["htmx:afterSettle", "list:grown", "list:renewed"]) document.addEventListener(name, show);
show();
