// The filter panel: rows of comparisons come and go, a known key brings its type, presets and
// moments exclude each other, and what was opened stays open when the page is swapped.
const opened = new Set(JSON.parse(sessionStorage.getItem("opened") ?? "[]"));
const closed = new Set(JSON.parse(sessionStorage.getItem("closed") ?? "[]"));
let scrolled = 0;

const form = () => document.querySelector("[data-filters]");
const changed = () => form().dispatchEvent(new Event("change", { bubbles: true }));

function blank(row) {
  for (const input of row.querySelectorAll("input")) input.value = "";
  for (const select of row.querySelectorAll("select")) select.selectedIndex = 0;
  row.querySelector(".field-error")?.remove();
}

function add(list) {
  const row = list.lastElementChild.cloneNode(true);
  blank(row);
  list.append(row);
  row.querySelector("input").focus();
}

function remove(row) {
  const list = row.parentElement;
  if (list.children.length > 1) row.remove(); else blank(row);
  form().querySelector("[data-add-row]").focus();
  changed();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-add-row]")) add(form().querySelector("[data-comparisons]"));
  const button = event.target.closest("[data-remove-row]");
  if (button) remove(button.closest("[data-comparison]"));
});

function bringType(input) {
  if (input.name !== "key" || !input.closest("[data-comparison]")) return;
  const known = [...document.querySelectorAll("#known-keys option")].find((one) => one.value === input.value);
  if (known) input.closest("[data-comparison]").querySelector("[name=type]").value = known.dataset.type;
}
document.addEventListener("input", (event) => bringType(event.target));
bringType(document.activeElement); // a key that was typed before this module had run

// Before htmx reads the form: a preset puts the moments out of force, and the other way round.
document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-filters] *")) return;
  const [since, until, any] = ["since", "until", "since-any"].map((id) => document.getElementById(id));
  if (event.target.type === "radio" && event.target.name === "since") since.value = until.value = "";
  else if (event.target === since) any.checked = true;
}, true);

function remember(details) {
  opened[details.open ? "add" : "delete"](details.id);
  closed[details.open ? "delete" : "add"](details.id);
  sessionStorage.setItem("opened", JSON.stringify([...opened]));
  sessionStorage.setItem("closed", JSON.stringify([...closed]));
}
document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("[data-filters] details")) remember(event.target);
}, true);

function prepare() {
  const panel = document.querySelector("[data-filter-panel]");
  if (!panel || panel.dataset.ready) return;
  panel.dataset.ready = "";
  for (const details of panel.querySelectorAll("details")) {
    if (opened.has(details.id)) details.open = true;
    if (closed.has(details.id) && !details.querySelector(":checked:not([value='']), .field-error:not(:empty)")) details.open = false;
  }
  for (const button of panel.querySelectorAll("[data-add-row], [data-remove-row]")) button.hidden = false;
  panel.scrollTop = scrolled;
  // On a small screen the pictures come first.
  if (matchMedia("(max-width: 63.99rem)").matches && !panel.querySelector(".field-error:not(:empty)")) panel.open = false;
}

// Of several requests for the list the last one is the answer: what comes of an earlier one would be
// drawn over it, or put into a list that is gone. Its address is what further clicks begin with.
let latest = null;
document.addEventListener("htmx:beforeRequest", ({ target, detail: { xhr, target: replaced, pathInfo } }) => {
  if (!replaced.matches("#browse, #results")) return;
  latest = xhr;
  document.documentElement.dataset.asked = pathInfo.finalRequestPath;
  target.addEventListener("htmx:beforeOnLoad", (event) => {
    if (event.detail.xhr === xhr && xhr !== latest) event.preventDefault();
  });
});
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (detail.xhr === latest) delete document.documentElement.dataset.asked;
});

// Counts of a question that is no longer asked have no place any more.
document.addEventListener("htmx:beforeRequest", ({ target }) => {
  if (!target.matches("[data-facets]")) return;
  target.addEventListener("htmx:beforeOnLoad", (event) => { if (!target.isConnected) event.preventDefault(); });
});
document.addEventListener("htmx:beforeSwap", () => { scrolled = document.querySelector("[data-filter-panel]")?.scrollTop ?? 0; });
document.addEventListener("htmx:afterSettle", (event) => {
  prepare();
  if (event.target.id !== "results") return;
  // The other filters have changed: what the open keys hold is counted anew.
  for (const facet of document.querySelectorAll("[data-key-facet][open] > [hx-get]")) {
    if (!facet.contains(document.activeElement)) facet.dispatchEvent(new Event("refresh"));
  }
});
prepare();
