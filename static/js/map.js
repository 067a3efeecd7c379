// The map of the filter panel: an offline outline of land, the points of the current result,
// and a circle or rectangle to draw on it. Degrees are its units: x is the longitude, y the
// latitude below zero.
const DEGREE = 111_195; // metres, along a meridian of the mean sphere
const LEAST = 0.005; // degrees across; closer the outline says nothing
const view = { x: -180, y: -90, width: 360, height: 180, fitted: "" };
let drawing = "";

const map = () => document.querySelector("[data-map]");
const svg = () => map().querySelector("svg");
const input = (id) => document.getElementById(id);

function look() {
  svg().setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
}

function zoom(factor, x = view.x + view.width / 2, y = view.y + view.height / 2) {
  const width = Math.min(Math.max(view.width * factor, LEAST), 360);
  const scale = width / view.width;
  view.x = Math.min(Math.max(x - (x - view.x) * scale, -180), 180 - width);
  view.y = Math.min(Math.max(y - (y - view.y) * scale, -90), 90 - width / 2);
  [view.width, view.height] = [width, width / 2];
  look();
}

function points() {
  const said = document.getElementById("map-data")?.dataset.points ?? "";
  return said ? said.split(";").map((pair) => pair.split(",").map(Number)) : [];
}

function fit(places) {
  if (!places.length) return;
  const [xs, ys] = [places.map((one) => one[0]), places.map((one) => -one[1])];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const width = Math.max(Math.max(...xs) - left, 2 * (Math.max(...ys) - top), 0.02) * 1.25;
  view.width = view.height = 0;
  Object.assign(view, { width: Math.min(width, 360), height: Math.min(width, 360) / 2 });
  view.x = (left + Math.max(...xs)) / 2 - view.width / 2;
  view.y = (top + Math.max(...ys)) / 2 - view.height / 2;
  look();
}

function draw(markup) {
  const group = map().querySelector("[data-shapes]");
  group.replaceChildren();
  for (const [name, attributes] of markup) {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    shape.classList.add("area");
    group.append(shape);
  }
}

const across = (metres, latitude) => metres / DEGREE / Math.max(Math.cos(latitude * Math.PI / 180), 0.01);
const circle = (lat, lon, metres) => ["ellipse", { cx: lon, cy: -lat, rx: across(metres, lat), ry: metres / DEGREE }];
const rectangle = (south, west, north, east) => ["rect", { x: west, y: -north, width: east - west, height: north - south }];

function shapes() {
  const drawn = [];
  const near = /^([-\d.]+),\s*([-\d.]+),\s*([\d.]+)\s*(km|m)?$/.exec(input("near").value.trim());
  if (near) drawn.push(circle(Number(near[1]), Number(near[2]), near[3] * (near[4] === "km" ? 1000 : 1)));
  const corners = input("within").value.split(",").map(Number);
  if (corners.length === 4 && corners.every(Number.isFinite)) {
    const [a, b, c, d] = corners;
    drawn.push(rectangle(Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)));
  }
  draw(drawn);
}

function show() {
  if (!map()) return;
  map().hidden = false;
  const places = points();
  const placed = Number(document.getElementById("map-data")?.dataset.placed ?? 0);
  map().querySelector("[data-points]").setAttribute("d", places.map(([x, y]) => `M${x} ${-y}h0`).join(""));
  map().querySelector("[data-map-said]").textContent = placed > places.length
    ? `${places.length} of ${placed} places are drawn.` : `${placed} place${placed === 1 ? "" : "s"}`;
  if (view.fitted !== location.pathname && places.length) { view.fitted = location.pathname; fit(places); }
  look();
  shapes();
}

function at(event) {
  const matrix = svg().getScreenCTM().inverse();
  const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
  return [place.x, place.y];
}

function mode(name) {
  drawing = name;
  for (const button of map().querySelectorAll("[data-map-draw]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mapDraw === name));
  }
  map().classList.toggle("drawing", Boolean(name));
}

const short = (value) => String(Number(value.toFixed(4)));

function finish(start, end) {
  const moved = Math.hypot(end[0] - start[0], end[1] - start[1]);
  if (moved < view.width / 200) return;
  if (drawing === "circle") {
    const [lon, lat] = [start[0], -start[1]];
    const metres = Math.hypot((end[0] - lon) / across(1, lat), (end[1] + lat) * DEGREE);
    input("near").value = `${short(lat)},${short(lon)},${Math.round(metres)}m`;
    input("within").value = "";
  } else {
    const [south, north] = [-end[1], -start[1]].sort((a, b) => a - b);
    const [west, east] = [start[0], end[0]].sort((a, b) => a - b);
    input("within").value = [south, west, north, east].map(short).join(",");
    input("near").value = "";
  }
  mode("");
  input("near").dispatchEvent(new Event("change", { bubbles: true }));
}

document.addEventListener("pointerdown", (event) => {
  const field = event.target.closest("[data-map] svg");
  if (!field || event.button !== 0) return;
  event.preventDefault();
  const start = at(event);
  field.setPointerCapture(event.pointerId);
  const move = (one) => {
    const here = at(one);
    if (!drawing) {
      view.x -= here[0] - start[0];
      view.y -= here[1] - start[1];
      look();
    } else if (drawing === "circle") {
      const metres = Math.hypot((here[0] - start[0]) / across(1, -start[1]), (here[1] - start[1]) * DEGREE);
      draw([circle(-start[1], start[0], metres)]);
    } else {
      const [top, bottom] = [start[1], here[1]].sort((a, b) => a - b);
      const [left, right] = [start[0], here[0]].sort((a, b) => a - b);
      draw([rectangle(-bottom, left, -top, right)]);
    }
  };
  field.addEventListener("pointermove", move);
  field.addEventListener("pointerup", (one) => {
    field.removeEventListener("pointermove", move);
    if (drawing) finish(start, at(one));
  }, { once: true });
});

document.addEventListener("wheel", (event) => {
  if (!event.target.closest("[data-map] svg")) return;
  event.preventDefault();
  zoom(event.deltaY < 0 ? 0.75 : 1.33, ...at(event));
}, { passive: false });

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-map-zoom], [data-map-draw]");
  if (!button) return;
  const { mapZoom, mapDraw } = button.dataset;
  if (mapDraw) mode(drawing === mapDraw ? "" : mapDraw);
  else if (mapZoom === "fit") fit(points());
  else zoom(mapZoom === "in" ? 0.6 : 1.66);
});

document.addEventListener("htmx:afterSettle", show);
document.addEventListener("toggle", (event) => { if (event.target.id === "g-place") show(); }, true);
show();
