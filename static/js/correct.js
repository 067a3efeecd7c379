// Boxes of the ground truth, drawn and changed by mouse and by keyboard. The form sends them as
// JSON, in the unit of the model's answers.
const LEAST = 2; // pixels; less is a click
let life = new AbortController(); // of the listeners for the inference that is shown

function attach(root) {
  life.abort();
  life = new AbortController();
  const { signal } = life;
  const form = root.querySelector("[data-correct]");
  const stage = root.querySelector("[data-viewer]");
  if (!form || !stage) return;
  const [begin, tools] = ["[data-correct-begin]", "[data-correct-tools]"].map((name) => form.querySelector(name));
  const [width, height] = [Number(form.dataset.width), Number(form.dataset.height)];
  const [unitX, unitY] = form.dataset.shares ? [width, height] : [1, 1];
  const label = form.querySelector("[data-box-label]");
  const names = form.parentElement.querySelectorAll("#class-labels option");
  const known = label.value || names[0]?.value || JSON.parse(form.dataset.suggested)[0]?.label || "";
  const past = [];
  let boxes = [];
  let chosen = -1;
  let svg = null;
  let begun = ""; // the boxes as they are stored, or as the answer has them
  let isLeaving = false;
  begin.hidden = false;

  const make = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const remember = () => past.push(JSON.stringify(boxes));
  const isUnsaved = () => !isLeaving && !tools.hidden && JSON.stringify(boxes) !== begun;

  function start(source) {
    boxes = JSON.parse(form.dataset[source === "given" ? "boxes" : "suggested"]);
    begun = source === "given" ? JSON.stringify(boxes) : "";
    begin.hidden = true;
    tools.hidden = false;
    stage.classList.add("correcting");
    svg = make("svg", { class: "correction", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
    stage.querySelector("[data-frame]").append(svg);
    svg.addEventListener("pointerdown", press);
    label.value = known;
    draw(boxes.length ? 0 : -1);
  }

  function draw(focus = chosen) {
    chosen = Math.min(focus, boxes.length - 1);
    svg.replaceChildren();
    boxes.forEach((box, number) => {
      const [x, y] = [box.xmin * unitX, box.ymin * unitY];
      const [w, h] = [(box.xmax - box.xmin) * unitX, (box.ymax - box.ymin) * unitY];
      const group = make("g", { class: number === chosen ? "chosen" : "", "data-box": number });
      group.append(make("rect", { x, y, width: w, height: h }));
      if (number === chosen) {
        for (const [cx, cy, corner] of [[x, y, "xmin ymin"], [x + w, y, "xmax ymin"], [x, y + h, "xmin ymax"], [x + w, y + h, "xmax ymax"]]) {
          group.append(make("path", { d: `M${cx} ${cy}h0`, class: "corner", "data-corner": corner }));
        }
      }
      svg.append(group);
    });
    const list = form.querySelector("[data-box-list]");
    const hadFocus = list.contains(document.activeElement);
    list.replaceChildren(...boxes.map((box, number) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button", className: "button quiet", textContent: `${number + 1}. ${box.label}` });
      button.dataset.pickBox = number;
      button.setAttribute("aria-pressed", String(number === chosen));
      item.append(button);
      return item;
    }));
    if (hadFocus && chosen >= 0) list.children[chosen].firstElementChild.focus();
    if (chosen >= 0) label.value = boxes[chosen].label;
  }

  const within = (value, most) => Math.min(Math.max(value, 0), most);
  function set(box, x1, y1, x2, y2) {
    const round = (value) => Number(value.toFixed(form.dataset.shares ? 5 : 1));
    [box.xmin, box.xmax] = [x1, x2].sort((a, b) => a - b).map((v) => round(within(v, width) / unitX));
    [box.ymin, box.ymax] = [y1, y2].sort((a, b) => a - b).map((v) => round(within(v, height) / unitY));
  }

  function at(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  }

  function press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    svg.setPointerCapture(event.pointerId);
    const from = at(event);
    const corner = event.target.dataset.corner;
    const number = event.target.closest("[data-box]")?.dataset.box;
    remember();
    const isNew = number === undefined;
    if (isNew) boxes.push({ label: label.value || "object", xmin: from[0] / unitX, ymin: from[1] / unitY, xmax: from[0] / unitX, ymax: from[1] / unitY });
    draw(isNew ? boxes.length - 1 : Number(number));
    const box = boxes[chosen];
    const was = [box.xmin * unitX, box.ymin * unitY, box.xmax * unitX, box.ymax * unitY];
    const move = (one) => {
      const [x, y] = at(one);
      if (isNew) set(box, from[0], from[1], x, y);
      else if (corner) set(box, corner.includes("xmin") ? was[2] : was[0], corner.includes("ymin") ? was[3] : was[1], x, y);
      else shift(box, was, x - from[0], y - from[1]);
      draw();
    };
    svg.addEventListener("pointermove", move);
    svg.addEventListener("pointerup", (one) => {
      svg.removeEventListener("pointermove", move);
      const [x, y] = at(one);
      if (isNew && (Math.abs(x - from[0]) < LEAST || Math.abs(y - from[1]) < LEAST)) { boxes.pop(); past.pop(); draw(-1); }
    }, { once: true });
  }

  function shift(box, [x1, y1, x2, y2], dx, dy) {
    const [x, y] = [Math.min(Math.max(dx, -x1), width - x2), Math.min(Math.max(dy, -y1), height - y2)];
    set(box, x1 + x, y1 + y, x2 + x, y2 + y);
  }

  function removeBox() {
    if (chosen < 0) return;
    remember();
    boxes.splice(chosen, 1);
    draw(Math.min(chosen, boxes.length - 1));
  }

  function create() {
    remember();
    const box = { label: label.value || "object" };
    set(box, width * 0.4, height * 0.4, width * 0.6, height * 0.6);
    boxes.push(box);
    draw(boxes.length - 1);
    form.querySelector("[data-box-list]").lastElementChild.firstElementChild.focus();
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  function nudge(event) {
    const [dx, dy] = ARROWS[event.key].map((way, axis) => way * Math.max([width, height][axis] / 100, 1));
    const box = boxes[chosen];
    const now = [box.xmin * unitX, box.ymin * unitY, box.xmax * unitX, box.ymax * unitY];
    remember();
    if (event.shiftKey) set(box, now[0], now[1], Math.max(now[2] + dx, now[0] + 1), Math.max(now[3] + dy, now[1] + 1));
    else shift(box, now, dx, dy);
    draw();
  }

  document.addEventListener("keydown", (event) => {
    if (tools.hidden || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input, textarea, select")) return;
    if (event.key in ARROWS && chosen >= 0) { event.preventDefault(); nudge(event); }
    else if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); removeBox(); }
    else if (event.key.toLowerCase() === "n") { event.preventDefault(); create(); }
  }, { signal });
  label.addEventListener("input", () => { if (chosen >= 0 && label.value) { boxes[chosen].label = label.value; draw(); } });
  form.addEventListener("focusin", (event) => {
    const number = event.target.dataset.pickBox;
    if (number !== undefined && Number(number) !== chosen) draw(Number(number));
  });
  form.addEventListener("click", (event) => {
    const from = event.target.closest("[data-begin]")?.dataset.begin;
    if (from) start(from);
    if (event.target.closest("[data-undo-box]") && past.length) { boxes = JSON.parse(past.pop()); draw(); }
    if (event.target.closest("[data-cancel]")) { isLeaving = true; again(); }
    if (event.target.dataset.pickBox !== undefined) draw(Number(event.target.dataset.pickBox));
  });

  // What is drawn and not saved is not lost by a link, a key or another form: the page asks.
  function leave(onward) {
    const answer = (given) => given.then((word) => {
      if (word === "yes") { isLeaving = true; onward(); }
      if (word === "instead") form.requestSubmit(form.querySelector("[data-correct-tools] .primary"));
    });
    const detail = { said: "The boxes are not saved.", yes: "Leave without saving", instead: "Save them", no: "Keep drawing", answer };
    document.dispatchEvent(new CustomEvent("ask", { detail }));
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || !isUnsaved() || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || link.target === "_blank" || link.hasAttribute("download")) return;
    const to = new URL(link.getAttribute("href"), location.href);
    if (to.href.split("#")[0] === location.href.split("#")[0] && to.hash) return;
    event.preventDefault();
    event.stopPropagation();
    const click = new MouseEvent("click", { bubbles: true, cancelable: true, detail: event.detail });
    leave(() => link.dispatchEvent(click)); // links of drawings have no click()
  }, { capture: true, signal });
  document.addEventListener("submit", (event) => {
    if (event.target === form || !isUnsaved()) return;
    event.preventDefault();
    event.stopPropagation();
    const [other, pressed] = [event.target, event.submitter];
    leave(() => other.requestSubmit(pressed));
  }, { capture: true, signal });
  document.addEventListener("inference:leaving", (event) => {
    if (!isUnsaved()) return;
    event.preventDefault();
    leave(event.detail.onward);
  }, { signal });
  // The browser's own question: before a tab is closed or Back is pressed no page can ask itself.
  window.addEventListener("beforeunload", (event) => { if (isUnsaved()) event.preventDefault(); }, { signal });

  form.addEventListener("submit", () => {
    isLeaving = true;
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "boxes", value: JSON.stringify(boxes) });
    form.append(field);
  });
}

// In the drawer the inference is read again, as a page is reloaded.
function again() {
  if (document.getElementById("drawer")) document.dispatchEvent(new Event("inference:again"));
  else location.reload();
}

document.addEventListener("inference:shown", (event) => attach(event.target));
attach(document);
