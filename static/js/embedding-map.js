// The map of embeddings on a canvas: move, zoom, point at, and draw an area that becomes a filter.
const RADIUS = 3;
const NEAR = 9; // pixels from a point at which it answers to the pointer
const CORNERS_MOST = 60; // of an area, so that its address stays short
const ROUND_MOST = 8000; // points
const STEP = 0.15; // of the view, that an arrow key moves

const frame = document.querySelector("[data-embedding-map]");
const canvas = frame?.querySelector("canvas");
const context = canvas?.getContext("2d");
const tip = frame?.querySelector(".map-tip");
const legend = frame?.querySelector(".map-legend");
const status = frame?.querySelector("[data-map-said]");
const opener = frame?.querySelector("[data-map-open]");
const viewer = frame?.querySelector("[data-map-view]");

let data = null;
let colours = [];
let shown = []; // by category: whether its points are drawn
let view = { x: 0, y: 0, scale: 1 }; // the middle in map units, and pixels a unit
let tool = "lasso";
let area = null; // corners in map units
let hovered = -1;
let isDue = false;

// -- places

const width = () => canvas.clientWidth;
const height = () => canvas.clientHeight;
const toPixels = (x, y) => [(x - view.x) * view.scale + width() / 2, (view.y - y) * view.scale + height() / 2];
const toMap = (px, py) => [(px - width() / 2) / view.scale + view.x, view.y - (py - height() / 2) / view.scale];

function showAll() {
  const [left, right] = ends(data.x);
  const [bottom, top] = ends(data.y);
  view.x = (left + right) / 2;
  view.y = (bottom + top) / 2;
  view.scale = 0.92 * Math.min(width() / (right - left || 1), height() / (top - bottom || 1));
}

function ends(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return low <= high ? [low, high] : [-1, 1];
}

// -- drawing: once a frame, however often something changes

function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; draw(); });
}

function draw() {
  const density = devicePixelRatio || 1;
  const [w, h] = [Math.round(width() * density), Math.round(height() * density)];
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width(), height());
  if (!data) return;
  const size = 2 * RADIUS;
  const round = data.x.length <= ROUND_MOST; // squares are drawn four times as fast
  for (let category = data.categories.length - 1; category >= 0; category -= 1) {
    if (!shown[category]) continue;
    context.fillStyle = colours[category];
    context.globalAlpha = 0.85;
    for (let n = 0; n < data.x.length; n += 1) {
      if (data.category[n] !== category) continue;
      const [px, py] = toPixels(data.x[n], data.y[n]);
      if (px < -size || py < -size || px > width() + size || py > height() + size) continue;
      if (!round) { context.fillRect(px - RADIUS, py - RADIUS, size, size); continue; }
      context.beginPath();
      context.arc(px, py, RADIUS + 0.5, 0, 2 * Math.PI);
      context.fill();
    }
  }
  context.globalAlpha = 1;
  if (hovered >= 0) {
    const [px, py] = toPixels(data.x[hovered], data.y[hovered]);
    context.strokeStyle = "#ffffff";
    context.lineWidth = 2;
    context.strokeRect(px - RADIUS - 2, py - RADIUS - 2, size + 4, size + 4);
  }
  if (area) {
    context.beginPath();
    area.forEach(([x, y], n) => { const at = toPixels(x, y); if (n) context.lineTo(...at); else context.moveTo(...at); });
    context.closePath();
    context.fillStyle = "rgb(255 255 255 / 0.12)";
    context.fill();
    context.strokeStyle = "#ffffff";
    context.lineWidth = 1.5;
    context.stroke();
  }
}

// -- areas

function holds(corners, x, y) {
  let inside = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i, i += 1) {
    const [[xi, yi], [xj, yj]] = [corners[i], corners[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

function addressOf(corners) {
  const written = corners.map(([x, y]) => `${Number(x.toFixed(3))} ${Number(y.toFixed(3))}`).join(", ");
  const term = `map:(${data.map}, ${written})`;
  const asked = frame.dataset.written ? `(${frame.dataset.written}) ${term}` : term;
  return `${frame.dataset.list}?q=${encodeURIComponent(asked)}`;
}

// Every nth corner, so that none of the shape's ends is missing more than the others.
function thinned(corners) {
  const step = Math.ceil(corners.length / CORNERS_MOST);
  return corners.filter((_, n) => n % step === 0);
}

function choose(corners) {
  area = thinned(corners);
  let count = 0;
  for (let n = 0; n < data.x.length; n += 1) if (holds(area, data.x[n], data.y[n])) count += 1;
  opener.hidden = !count;
  opener.href = addressOf(area);
  opener.querySelector("span").textContent = `Show these ${count.toLocaleString("en")}`;
  status.textContent = count ? `${count.toLocaleString("en")} in the area` : "The area is empty.";
  redraw();
}

function tellView() {
  const [left, top] = toMap(0, 0);
  const [right, bottom] = toMap(width(), height());
  viewer.hidden = !data?.x.length;
  if (data) viewer.href = addressOf([[left, bottom], [right, bottom], [right, top], [left, top]]);
}

// -- what is pointed at

function nearest(px, py) {
  let [best, least] = [-1, NEAR * NEAR];
  for (let n = 0; n < data.x.length; n += 1) {
    if (!shown[data.category[n]]) continue;
    const [x, y] = toPixels(data.x[n], data.y[n]);
    const distance = (x - px) ** 2 + (y - py) ** 2;
    if (distance < least) [best, least] = [n, distance];
  }
  return best;
}

const address = (id) => `${frame.dataset.detail}${id.split("/").map(encodeURIComponent).join("/")}`;

function point(n, px, py) {
  if (n !== hovered) {
    hovered = n;
    redraw();
    tip.replaceChildren();
    if (n >= 0) {
      const image = document.createElement("img");
      image.alt = "";
      image.addEventListener("error", () => image.remove());
      image.src = `${address(data.inference_ids[n])}/preview?missing=empty`;
      const name = document.createElement("strong");
      name.textContent = data.categories[data.category[n]].name;
      const id = document.createElement("span");
      id.className = "soft small";
      id.textContent = data.inference_ids[n];
      tip.append(image, name, id);
    }
  }
  tip.hidden = n < 0;
  if (n < 0) return;
  tip.style.insetInlineStart = `${Math.min(px + 14, width() - tip.offsetWidth - 4)}px`;
  tip.style.insetBlockStart = `${Math.max(Math.min(py + 14, height() - tip.offsetHeight - 4), 4)}px`;
}

// -- pointer and keys

function at(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function begin(event) {
  if (!data || event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  const start = at(event);
  const from = { ...view };
  const corners = [toMap(...start)];
  const moves = tool === "move" || event.shiftKey;
  let dragged = false;
  const move = (one) => {
    const here = at(one);
    dragged ||= Math.hypot(here[0] - start[0], here[1] - start[1]) > 4;
    if (!dragged) return;
    point(-1);
    if (moves) {
      view.x = from.x - (here[0] - start[0]) / view.scale;
      view.y = from.y + (here[1] - start[1]) / view.scale;
    } else {
      corners.push(toMap(...here));
      area = corners;
    }
    redraw();
  };
  const end = () => {
    canvas.removeEventListener("pointermove", move);
    canvas.removeEventListener("pointerup", end);
    canvas.removeEventListener("pointercancel", end);
    if (!dragged) {
      const found = nearest(...start);
      if (found >= 0) location.assign(address(data.inference_ids[found]));
      else { area = null; opener.hidden = true; tell(); redraw(); }
    } else if (moves) tellView();
    else if (corners.length >= 3) choose(corners);
  };
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
}

function zoom(factor, px = width() / 2, py = height() / 2) {
  const [x, y] = toMap(px, py);
  view.scale = Math.min(Math.max(view.scale * factor, 1e-3), 1e7);
  const [nx, ny] = toMap(px, py);
  view.x += x - nx;
  view.y += y - ny;
  tellView();
  redraw();
}

function key(event) {
  const across = (STEP * width()) / view.scale;
  const up = (STEP * height()) / view.scale;
  const acts = {
    ArrowLeft: () => { view.x -= across; },
    ArrowRight: () => { view.x += across; },
    ArrowUp: () => { view.y += up; },
    ArrowDown: () => { view.y -= up; },
    "+": () => zoom(1.3),
    "-": () => zoom(1 / 1.3),
    0: showAll,
    Escape: () => { area = null; opener.hidden = true; tell(); },
  };
  if (!data || event.ctrlKey || event.metaKey || event.altKey || !acts[event.key]) return;
  event.preventDefault();
  acts[event.key]();
  tellView();
  redraw();
}

// -- the legend: a click hides a colour, with Alt all others

function drawLegend() {
  legend.replaceChildren(...data.categories.flatMap((category, n) => {
    if (!category.count) return [];
    const item = document.createElement("li");
    item.className = category.hue === null ? "rest" : `hue-${category.hue}`;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = category.name || "(empty)";
    const count = document.createElement("span");
    count.className = "number soft";
    count.textContent = category.count.toLocaleString("en");
    button.append(swatch, name, count);
    button.addEventListener("click", (event) => {
      if (event.altKey) shown = shown.map((_, other) => other === n);
      else shown[n] = !shown[n];
      legend.querySelectorAll("button").forEach((each) => each.setAttribute("aria-pressed", String(shown[Number(each.dataset.category)])));
      redraw();
    });
    button.dataset.category = n;
    item.append(button);
    return [item];
  }));
  colours = data.categories.map((category, n) => {
    const item = legend.querySelector(`[data-category="${n}"] .swatch`);
    return item ? getComputedStyle(item).backgroundColor : "#888888";
  });
}

function tell() {
  const number = data.x.length.toLocaleString("en");
  const share = data.share ? ` · the two axes show ${Math.round(100 * data.share)} % of the variance` : "";
  status.textContent = `${data.is_whole ? "" : "the newest "}${number} inferences with an embedding${share}`;
}

async function load() {
  try {
    const response = await fetch(frame.dataset.points, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    const found = await response.json();
    if (found.problem) { status.textContent = found.problem; frame.classList.add("is-empty"); return; }
    data = found;
  } catch {
    status.textContent = "The points could not be loaded. Reload the page to try again.";
    return;
  }
  shown = data.categories.map(() => true);
  drawLegend();
  tell();
  if (!data.x.length) return;
  showAll();
  tellView();
  redraw();
  frame.dataset.ready = "";
}

if (frame) {
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", (event) => { if (data && !event.buttons) point(nearest(...at(event)), ...at(event)); });
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("wheel", (event) => {
    if (!data) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", key);
  frame.addEventListener("click", (event) => {
    const tools = event.target.closest("[data-map-tool]");
    if (tools) {
      tool = tools.dataset.mapTool;
      for (const each of frame.querySelectorAll("[data-map-tool]")) each.setAttribute("aria-pressed", String(each === tools));
      canvas.classList.toggle("moves", tool === "move");
    }
    const zoomer = event.target.closest("[data-map-zoom]");
    if (!zoomer || !data) return;
    if (zoomer.dataset.mapZoom === "all") { showAll(); tellView(); redraw(); } else zoom(zoomer.dataset.mapZoom === "in" ? 1.3 : 1 / 1.3);
  });
  new ResizeObserver(redraw).observe(canvas);
  load();
}
