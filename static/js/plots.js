// What a person does with a plot that the server drew: point at a mark and read it, walk along the
// marks with the arrow keys, and draw a stretch that becomes the filter.
const PIXELS = 5; // less is a click, which opens the mark

const plotOf = (element) => element.closest?.("[data-plot]");
const marksOf = (plot) => [...plot.querySelectorAll(":scope > .area > [data-mark]")];
const areaOf = (plot) => plot.querySelector(":scope > .area");

// -- the tooltip: one element for all plots, in the layer of what is pointed at

let tip = null;

function tipElement() {
  if (!tip?.isConnected) {
    tip = document.createElement("div");
    tip.className = "graph-tip";
    tip.setAttribute("aria-hidden", "true"); // the mark's own name says the same
  }
  return tip;
}

function showTip(mark) {
  const plot = plotOf(mark);
  const element = tipElement();
  element.replaceChildren(...mark.getAttribute("aria-label").split("\n").map((line, place) => {
    const row = document.createElement(place ? "span" : "strong");
    row.textContent = line;
    return row;
  }));
  plot.append(element);
  const box = plot.getBoundingClientRect();
  const hit = mark.querySelector(".hit").getBoundingClientRect();
  const middle = hit.left + hit.width / 2 - box.left;
  const half = element.offsetWidth / 2;
  element.style.insetInlineStart = `${Math.min(Math.max(middle, half), Math.max(box.width - half, half))}px`;
  // Above the mark, but where that would cover the legend or the edge of the window: then below.
  const room = hit.top - Math.max(plot.querySelector(":scope > .graph-legend")?.getBoundingClientRect().bottom ?? 0, 0);
  const isBelow = room < element.offsetHeight + 4;
  element.classList.toggle("below", isBelow);
  element.style.insetBlockStart = `${(isBelow ? hit.bottom : hit.top) - box.top}px`;
  for (const other of plot.querySelectorAll(".mark.at")) other.classList.remove("at");
  mark.classList.add("at");
}

function hideTip() {
  tip?.remove();
  for (const mark of document.querySelectorAll(".mark.at")) mark.classList.remove("at");
}

document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest?.("[data-mark]");
  if (mark) showTip(mark);
  else if (tip?.isConnected && !plotOf(event.target)) hideTip();
});
document.addEventListener("focusin", (event) => {
  if (event.target.matches?.("[data-mark]")) showTip(event.target);
});
document.addEventListener("focusout", (event) => { if (event.target.matches?.("[data-mark]")) hideTip(); });

// -- keys: a plot is one stop of Tab; the arrows, Home and End walk along its marks

function prepare(root) {
  for (const plot of root.querySelectorAll("[data-plot]:not([data-ready])")) {
    plot.dataset.ready = "";
    marksOf(plot).forEach((mark, place) => {
      mark.querySelector("title")?.remove(); // the browser's own tooltip would be a second one
      mark.setAttribute("tabindex", place ? "-1" : "0");
    });
  }
}

const STEPS = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };

document.addEventListener("keydown", (event) => {
  const mark = event.target.closest?.("[data-mark]");
  if (!mark || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return hideTip();
  const step = STEPS[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const marks = marksOf(plotOf(mark));
  const next = marks[Math.min(Math.max(marks.indexOf(mark) + step, 0), marks.length - 1)];
  mark.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
});

// -- drag: the stretch that was drawn becomes the filter

function writeEnd(plot, share) {
  const { kind, low, high } = plot.dataset;
  if (kind === "time") {
    const [first, last] = [Date.parse(low), Date.parse(high)];
    return new Date(first + share * (last - first)).toISOString().replace(".000Z", "Z");
  }
  const value = Number(low) + share * (Number(high) - Number(low));
  return kind === "whole" ? String(Math.round(value)) : String(Number(value.toPrecision(5)));
}

// The two fields of a panel that a stretch fills. A change of the first one is that of the form.
function fieldsOf(plot) {
  const root = document.querySelector("[data-filters]");
  const find = (name) => document.getElementById(name) ?? root?.querySelector(`[name="${CSS.escape(name)}"]`);
  return [plot.dataset.from, plot.dataset.to].map((name) => name && find(name));
}

// What the fields say, as a stretch over the bars.
function showChosen(plot) {
  const [from, to] = fieldsOf(plot).map((field) => field?.value ?? "");
  const read = plot.dataset.kind === "time" ? (text) => Date.parse(text.endsWith("Z") ? text : `${text}Z`) : Number;
  const [low, high] = [read(plot.dataset.low), read(plot.dataset.high)];
  const place = (text, otherwise) => {
    const value = text ? read(text) : NaN;
    return Number.isFinite(value) && high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : otherwise;
  };
  const [start, end] = from || to ? [place(from, 0), place(to, 1)] : [0, 0];
  const stretch = areaOf(plot).querySelector(":scope > .stretch");
  stretch.setAttribute("x", `${100 * start}%`);
  stretch.setAttribute("width", `${100 * Math.max(end - start, 0)}%`);
}

function open(plot, from, to) {
  const [first, last] = fieldsOf(plot);
  if (first && last) {
    const write = (share) => plot.dataset.kind === "time" ? writeEnd(plot, share).slice(0, 19) : writeEnd(plot, share);
    [first.value, last.value] = [write(from), write(to)];
    first.dispatchEvent(new Event("change", { bubbles: true }));
    return;
  }
  const put = (address, name, share) => address.replaceAll(name, encodeURIComponent(writeEnd(plot, share)));
  location.assign(put(put(plot.dataset.drag, "__low__", from), "__high__", to));
}

// The click that ends a drag would open the mark below the pointer.
function swallowClick() {
  const swallow = (click) => { click.preventDefault(); click.stopPropagation(); };
  addEventListener("click", swallow, { capture: true });
  setTimeout(() => removeEventListener("click", swallow, { capture: true }));
}

document.addEventListener("pointerdown", (event) => {
  const plot = plotOf(event.target);
  const area = plot && areaOf(plot);
  if (plot?.dataset.drag === undefined || event.button !== 0 || !area.contains(event.target)) return;
  if (event.pointerType === "touch") return; // there it scrolls the page
  const frame = area.getBoundingClientRect();
  const share = (one) => Math.min(Math.max((one.clientX - frame.left) / frame.width, 0), 1);
  const [start, x] = [share(event), event.clientX];
  const stretch = area.querySelector(":scope > .stretch");
  let dragged = false;
  const move = (one) => {
    dragged ||= Math.abs(one.clientX - x) > PIXELS;
    if (!dragged) return;
    const [from, to] = [start, share(one)].sort((a, b) => a - b);
    stretch.setAttribute("x", `${100 * from}%`);
    stretch.setAttribute("width", `${100 * (to - from)}%`);
  };
  const stop = (one) => {
    document.removeEventListener("pointermove", move);
    document.removeEventListener("pointerup", stop);
    document.removeEventListener("pointercancel", stop);
    if (!dragged) return;
    swallowClick();
    if (one.type === "pointerup") {
      const [from, to] = [start, share(one)].sort((a, b) => a - b);
      open(plot, from, to);
    } else if (plot.dataset.from) showChosen(plot);
    else stretch.setAttribute("width", "0");
  };
  document.addEventListener("pointermove", move);
  document.addEventListener("pointerup", stop);
  document.addEventListener("pointercancel", stop);
});
document.addEventListener("dragstart", (event) => { if (plotOf(event.target)?.dataset.drag !== undefined) event.preventDefault(); });

// In the panel of a list a bin is asked for as every other filter is: the list is swapped.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-plot][data-from] a[data-mark]");
  const browse = document.getElementById("browse");
  if (!link || !browse || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const source = document.createElement("span");
  browse.append(source);
  window.htmx.ajax("GET", link.getAttribute("href"), { source, target: "#browse", select: "#browse", swap: "outerHTML" });
});

function showAll() {
  prepare(document);
  for (const plot of document.querySelectorAll("[data-plot][data-from]")) showChosen(plot);
}
document.addEventListener("htmx:afterSettle", showAll);
document.addEventListener("htmx:oobAfterSwap", showAll);
showAll();
