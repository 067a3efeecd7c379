// Shapes drawn and changed by pointer and by keys. `changed` is called after each change.
import { History } from "./history.js";
import * as shape from "./shapes.js";

const LEAST = 2; // pixels of the picture; less is a click
const CLOSING = 10; // pixels of the screen around the first point, where a click closes a polygon
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const places = (text) => text?.split(" ").map(Number);

export class Editor {
  chosen = -1;
  point = null; // the chosen point of the chosen polygon: contour and number
  sketch = null; // the points of a polygon that is not closed yet
  pointer = null;
  #drags = 0;

  constructor({ layer, size, shapes, tool, label, changed }) {
    Object.assign(this, { layer, size, tool, label, changed });
    this.history = new History(shapes);
    this.chosen = shapes.length && !shapes[0].verdict ? 0 : -1; // verdicts are looked at before one is changed
    layer.svg.addEventListener("pointerdown", (event) => this.press(event));
    layer.svg.addEventListener("pointermove", (event) => this.hover(event));
    layer.svg.addEventListener("dblclick", (event) => { event.stopPropagation(); this.close(); });
  }

  get shapes() { return this.history.state; }
  get one() { return this.shapes[this.chosen]; }

  // -- changes

  put(shapes, run) {
    this.history.put(shapes, run);
    this.choose(Math.min(this.chosen, shapes.length - 1), this.point);
  }

  replace(made, run) { this.put(this.shapes.with(this.chosen, made), run); }

  choose(number, point = null) {
    this.chosen = number;
    this.point = this.one?.contours?.[point?.[0]]?.[point?.[1]] ? point : null;
    this.changed();
  }

  add(made, run) {
    this.history.put([...this.shapes, made], run);
    this.choose(this.shapes.length - 1);
  }

  relabel(label) {
    if (this.one && label && this.one.label !== label) this.replace(shape.labelled(this.one, label), `label ${this.chosen}`);
  }

  remove() {
    if (!this.one) return;
    const rest = this.point && shape.removedPoint(this.one, this.point, this.size);
    if (rest) this.replace(rest);
    else this.put(this.shapes.toSpliced(this.chosen, 1));
  }

  undo() { if (this.history.undo()) this.choose(Math.min(this.chosen, this.shapes.length - 1)); }
  redo() { if (this.history.redo()) this.choose(Math.min(Math.max(this.chosen, 0), this.shapes.length - 1)); }

  setTool(tool) {
    this.tool = tool;
    this.sketch = null;
    this.changed();
  }

  // A shape in the middle of the picture, for the keyboard to move and to resize.
  create() {
    const [[x1, y1], [x2, y2]] = [0.4, 0.6].map((share) => this.size.map((side) => side * share));
    if (this.tool === "box") this.add(shape.box(this.label(), [x1, y1], [x2, y2], this.size));
    else this.add(shape.polygon(this.label(), [[[x1, y1], [x2, y1], [x2, y2], [x1, y2]]], this.size));
  }

  nudge(key, isResize) {
    const [dx, dy] = ARROWS[key].map((way, axis) => way * Math.max(this.size[axis] / 100, 1));
    const run = `nudge ${this.chosen} ${this.point} ${isResize}`;
    if (this.point) {
      const [x, y] = this.one.contours[this.point[0]][this.point[1]];
      return this.replace(shape.movedPoint(this.one, this.point, [x + dx, y + dy], this.size), run);
    }
    if (!isResize) return this.replace(shape.moved(this.one, dx, dy, this.size), run);
    const [x1, y1, x2, y2] = shape.bounds(this.one);
    this.replace(shape.fitted(this.one, [x1, y1, Math.max(x2 + dx, x1 + 1), Math.max(y2 + dy, y1 + 1)], this.size), run);
  }

  // Goes from point to point of the chosen polygon.
  stepPoint(way) {
    const all = this.one?.contours?.flatMap((contour, place) => contour.map((_, number) => [place, number]));
    if (!all) return false;
    const at = all.findIndex(([place, number]) => place === this.point?.[0] && number === this.point[1]);
    this.choose(this.chosen, all[at < 0 ? 0 : (at + way + all.length) % all.length]);
    return true;
  }

  insertPoint(place = this.point) {
    if (!place) return;
    this.replace(shape.insertedPoint(this.one, place, shape.middle(this.one, place), this.size));
    this.choose(this.chosen, [place[0], place[1] + 1]);
  }

  // -- a polygon point by point

  sketchAt(point) {
    const first = this.sketch?.[0];
    const reach = this.layer.reach(CLOSING);
    if (first && this.sketch.length > 2 && Math.hypot(point[0] - first[0], point[1] - first[1]) < reach) return this.close();
    this.sketch = [...(this.sketch ?? []), point];
    this.changed();
  }

  close() {
    if (!this.sketch) return;
    const far = this.sketch.filter(([x, y], at, all) => !at || Math.hypot(x - all[at - 1][0], y - all[at - 1][1]) >= LEAST);
    this.sketch = null;
    if (far.length < 3) return this.changed();
    this.add(shape.polygon(this.label(), [far], this.size));
  }

  // -- by pointer

  hover(event) {
    if (!this.sketch) return;
    this.pointer = this.layer.at(event);
    this.changed();
  }

  press(event) {
    if (event.button !== 0 || event.altKey) return; // with Alt or another button the picture is moved
    event.preventDefault();
    event.stopPropagation();
    document.activeElement?.blur?.(); // a field of a label is left, as by any other click
    const from = this.layer.at(event);
    const { corner, point, between } = event.target.dataset;
    const number = event.target.closest("[data-shape]")?.dataset.shape;
    if (this.sketch || (this.tool === "polygon" && number === undefined)) return this.sketchAt(from);
    if (between) this.insertPoint(places(between));
    else if (number !== undefined) this.choose(Number(number), places(point));
    this.#drag(event, from, { corner, isNew: number === undefined });
  }

  #drag(event, from, { corner, isNew }) {
    const { svg } = this.layer;
    const run = `drag ${++this.#drags}`;
    const was = this.one;
    svg.setPointerCapture(event.pointerId);
    if (isNew) this.add(shape.box(this.label(), from, from, this.size), run);
    const move = (one) => {
      const to = this.layer.at(one);
      if (isNew) this.replace(shape.box(this.one.label, from, to, this.size), run);
      else if (corner) this.replace(shape.box(was.label, [corner.includes("x1") ? was.x2 : was.x1, corner.includes("y1") ? was.y2 : was.y1], to, this.size), run);
      else if (this.point) this.replace(shape.movedPoint(this.one, this.point, to, this.size), run);
      else this.replace(shape.moved(was, to[0] - from[0], to[1] - from[1], this.size), run);
    };
    const end = () => {
      svg.removeEventListener("pointermove", move);
      svg.removeEventListener("pointerup", end);
      svg.removeEventListener("pointercancel", end);
      if (!isNew) return;
      const [x1, y1, x2, y2] = shape.bounds(this.one);
      if (x2 - x1 >= LEAST && y2 - y1 >= LEAST) return;
      this.history.forget();
      this.choose(-1);
    };
    svg.addEventListener("pointermove", move);
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
  }

  // -- by keys; returns whether the key was meant here

  pressKey(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") this[event.shiftKey ? "redo" : "undo"]();
      else if (key === "y") this.redo();
      else return false;
      return true;
    }
    if (event.altKey) return false;
    if (this.sketch && ["Enter", "Escape", "Backspace"].includes(key)) {
      if (key === "Enter") this.close();
      else { this.sketch = key === "Escape" || this.sketch.length < 2 ? null : this.sketch.slice(0, -1); this.changed(); }
      return true;
    }
    if (key in ARROWS && this.one) this.nudge(key, event.shiftKey);
    else if (key === "Delete" || key === "Backspace") this.remove();
    else if (key === "n") this.create();
    else if (key === "]" || key === "[") return this.stepPoint(key === "]" ? 1 : -1);
    else if (key === "i" && this.point) this.insertPoint();
    else if (key === "Escape" && this.point) this.choose(this.chosen);
    else return false;
    return true;
  }
}
