// A histogram to drag on: the stretch that was drawn is written into the two fields it names.
const PIXELS = 4; // less is a click, which chooses one bin

const number = (text) => Number(text);
const moment = (text) => Date.parse(text);
const READ = { time: moment };
const read = (brush, text) => (READ[brush.dataset.brush] ?? number)(text);

function field(brush, which) {
  const name = brush.dataset[which];
  const root = brush.closest("form") ?? document.querySelector("[data-filters]") ?? document;
  return document.getElementById(name) ?? root.querySelector(`[name="${CSS.escape(name)}"]`);
}

function write(brush, value) {
  if (brush.dataset.brush === "time") return new Date(value).toISOString().slice(0, 19);
  if (/(^|\.)int$/.test(brush.dataset.brush)) return String(Math.round(value));
  return String(Number(value.toPrecision(5)));
}

function ends(brush) { return [read(brush, brush.dataset.low), read(brush, brush.dataset.high)]; }

function draw(brush, from, to) {
  const width = brush.querySelector("svg").viewBox.baseVal.width;
  const chosen = brush.querySelector(".chosen");
  chosen.setAttribute("x", Math.min(from, to) * width);
  chosen.setAttribute("width", Math.abs(to - from) * width);
}

// What the fields say, as a stretch over the bars.
function show(brush) {
  const [low, high] = ends(brush);
  const [from, to] = ["from", "to"].map((which) => field(brush, which)?.value);
  if (!from && !to) return draw(brush, 0, 0);
  const place = (text, otherwise) => {
    if (!text) return otherwise;
    const value = brush.dataset.brush === "time" ? moment(`${text}Z`) : Number(text);
    if (!Number.isFinite(value) || high === low) return otherwise;
    return Math.min(Math.max((value - low) / (high - low), 0), 1);
  };
  draw(brush, place(from, 0), place(to, 1));
}

function begin(brush, event) {
  const box = brush.getBoundingClientRect();
  const share = (one) => Math.min(Math.max((one.clientX - box.left) / box.width, 0), 1);
  const start = share(event);
  brush.setPointerCapture(event.pointerId);
  const move = (one) => draw(brush, start, share(one));
  const end = (one) => {
    brush.removeEventListener("pointermove", move);
    let [from, to] = [start, share(one)].sort((a, b) => a - b);
    const bins = brush.querySelectorAll(".hit").length;
    if ((to - from) * box.width < PIXELS) {
      from = Math.floor(from * bins) / bins;
      to = from + 1 / bins;
    }
    choose(brush, from, to);
  };
  brush.addEventListener("pointermove", move);
  brush.addEventListener("pointerup", end, { once: true });
}

function choose(brush, from, to) {
  const [low, high] = ends(brush);
  const [first, last] = [field(brush, "from"), field(brush, "to")];
  if (!first || !last) return;
  first.value = write(brush, low + from * (high - low));
  last.value = write(brush, low + to * (high - low));
  draw(brush, from, to);
  first.dispatchEvent(new Event("change", { bubbles: true }));
}

document.addEventListener("pointerdown", (event) => {
  const brush = event.target.closest("[data-brush]");
  if (brush && event.button === 0) { event.preventDefault(); begin(brush, event); }
});

function showAll() { for (const brush of document.querySelectorAll("[data-brush]")) show(brush); }
document.addEventListener("htmx:afterSettle", showAll);
document.addEventListener("htmx:oobAfterSwap", showAll);
showAll();
