// The table of a list: columns that are resized, moved by their heads and kept in sight, and values
// that are changed in their cells. Which columns there are and in which order is in the address;
// how wide they are is kept for the model, by this browser.
const STEP = 16; // pixels that an arrow key makes a column wider
const LEAST = 48;

const sheet = new CSSStyleSheet(); // its rules hold for rows that come later, too
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];

const table = () => document.querySelector("[data-table]");
const heads = () => [...table().querySelectorAll("thead th")];
const key = () => `widths:${table().dataset.table}`;
const kept = () => JSON.parse(localStorage.getItem(key()) ?? "{}");
const nameOf = (head) => head.dataset.column ?? (head.classList.contains("id") ? "id" : "");

function keep(name, width) {
  const widths = kept();
  if (width === null) delete widths[name]; else widths[name] = Math.round(width);
  localStorage.setItem(key(), JSON.stringify(widths));
}

// Widths that were chosen, and where the columns that stay begin: behind those before them.
function layOut() {
  if (!table()) return sheet.replaceSync("");
  const widths = kept();
  const all = heads();
  const rules = all.flatMap((head, place) => {
    const width = widths[nameOf(head)];
    const size = `${width}px`;
    return width ? [`.wide-table tr > :nth-child(${place + 1}):not([colspan]) { inline-size: ${size}; min-inline-size: ${size}; max-inline-size: ${size}; overflow: hidden; text-overflow: ellipsis; }`] : [];
  });
  sheet.replaceSync(rules.join("\n"));
  let start = 0;
  all.forEach((head, place) => {
    if (!head.matches(".pick, .id, .pinned")) return;
    rules.push(`.wide-table tr > :nth-child(${place + 1}):not([colspan]) { inset-inline-start: ${start}px; }`);
    start += head.getBoundingClientRect().width;
  });
  sheet.replaceSync(rules.join("\n"));
}

function prepare() {
  if (!table()) return;
  for (const head of heads().filter((one) => nameOf(one) && !one.querySelector(".resizer"))) {
    const title = head.textContent.trim().replace(/\s+/g, " ");
    const handle = Object.assign(document.createElement("button"), { type: "button", className: "resizer", title: "Drag to resize; a double click lets it fit" });
    handle.setAttribute("aria-label", `Width of ${title}: arrow keys change it`);
    handle.tabIndex = -1;
    head.append(handle);
    if (head.dataset.column) head.draggable = true;
  }
  layOut();
}

function resize(head, width) {
  keep(nameOf(head), width === null ? null : Math.max(width, LEAST));
  layOut();
}

document.addEventListener("pointerdown", (event) => {
  const handle = event.target.closest(".resizer");
  if (!handle || event.button) return;
  event.preventDefault();
  handle.focus();
  handle.setPointerCapture(event.pointerId);
  const head = handle.parentElement;
  const [from, width] = [event.clientX, head.getBoundingClientRect().width];
  const move = (one) => resize(head, width + one.clientX - from);
  handle.addEventListener("pointermove", move);
  handle.addEventListener("lostpointercapture", () => handle.removeEventListener("pointermove", move), { once: true });
});
document.addEventListener("dblclick", (event) => {
  if (event.target.matches(".resizer")) resize(event.target.parentElement, null);
  const value = event.target.closest("[data-table] td")?.querySelector(".cell > .edit");
  if (value && !event.target.closest("form")) value.click();
});
document.addEventListener("keydown", (event) => {
  const by = { ArrowRight: STEP, ArrowLeft: -STEP }[event.key];
  if (by && event.target.matches(".resizer")) {
    event.preventDefault();
    const head = event.target.parentElement;
    return resize(head, head.getBoundingClientRect().width + by);
  }
  // In a head, arrows with Alt move the column, and with Shift they resize it.
  const head = event.target.closest?.("[data-table] th[data-column]");
  if (head && by && event.shiftKey) { event.preventDefault(); resize(head, head.getBoundingClientRect().width + by); }
  else if (head && by && event.altKey) { event.preventDefault(); move(head, Math.sign(by)); }
  if (event.key === "Escape" && event.target.closest(".value-form")) {
    event.preventDefault();
    event.target.closest(".value-form").querySelector("[data-cancel-value]").click();
  }
});

// -- the order of the columns

function go(names) {
  const url = new URL(document.documentElement.dataset.listed ?? location.href, location.href);
  url.searchParams.delete("cursor");
  url.searchParams.delete("columns");
  for (const name of names) url.searchParams.append("columns", name);
  const source = document.createElement("span");
  document.getElementById("browse").append(source);
  window.htmx.ajax("GET", `${url.pathname}${url.search}`, { source, target: "#browse", select: "#browse", swap: "outerHTML" });
}

const order = () => heads().map((head) => head.dataset.column).filter(Boolean);

function move(head, by) {
  const names = order();
  const place = names.indexOf(head.dataset.column);
  names.splice(place, 1);
  names.splice(Math.min(Math.max(place + by, 0), names.length), 0, head.dataset.column);
  back = head.dataset.column;
  go(names);
}

let dragged = null;
let back = ""; // the column whose head gets the focus again
document.addEventListener("dragstart", (event) => {
  const head = event.target.closest?.("[data-table] th[data-column]");
  if (!head) return;
  dragged = head;
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", head.dataset.column);
});
document.addEventListener("dragover", (event) => {
  const head = event.target.closest?.("[data-table] th[data-column]");
  if (!dragged || !head) return;
  event.preventDefault();
  for (const other of heads()) other.classList.toggle("is-over", other === head && head !== dragged);
});
document.addEventListener("drop", (event) => {
  const head = event.target.closest?.("[data-table] th[data-column]");
  if (!dragged || !head) return;
  event.preventDefault();
  const names = order().filter((name) => name !== dragged.dataset.column);
  if (head !== dragged) {
    names.splice(names.indexOf(head.dataset.column), 0, dragged.dataset.column);
    go(names);
  }
});
document.addEventListener("dragend", () => {
  dragged = null;
  if (table()) for (const head of heads()) head.classList.remove("is-over");
});

document.addEventListener("htmx:afterSettle", (event) => {
  prepare();
  if (back && event.target.id === "browse") {
    table()?.querySelector(`th[data-column="${CSS.escape(back)}"] a`)?.focus();
    back = "";
  }
  if (event.target.matches?.(".cell.is-edited")) event.target.scrollIntoView({ block: "nearest", inline: "nearest" });
  // After a form has given its place to the value again, the keyboard is where it was.
  if (event.target.matches?.(".cell:not(.is-edited)")) event.target.querySelector(".edit")?.focus();
});
document.addEventListener("list:grown", layOut);
addEventListener("resize", layOut);
prepare();
