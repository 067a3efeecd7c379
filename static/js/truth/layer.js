// Draws shapes, their names and the handles of the chosen one over a picture.
import { bounds, isBox, middle, path } from "./shapes.js";

const SVG = "http://www.w3.org/2000/svg";
const HANDLES_MOST = 150; // points; a longer contour is moved, named and removed as a whole
const NAME_CHARS = 26;
const CORNERS = [["x1", "y1"], ["x2", "y1"], ["x1", "y2"], ["x2", "y2"]];

function make(name, attributes, ...parts) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...parts);
  return made;
}

export class Layer {
  constructor(frame, size) {
    this.size = size;
    this.svg = make("svg", { class: "correction", viewBox: `0 0 ${size.join(" ")}`, preserveAspectRatio: "none" });
    this.names = make("svg", { class: "correction-names", "aria-hidden": "true" });
    frame.append(this.svg, this.names);
  }

  // The place of a pointer in pixels of the picture.
  at(event) {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [x, y];
  }

  // How many pixels of the picture so many of the screen are.
  reach(pixels) { return pixels * (this.size[0] / this.svg.getBoundingClientRect().width); }

  draw({ shapes, chosen, point, sketch, pointer, hueOf }) {
    this.svg.replaceChildren(...shapes.map((shape, number) => this.#shape(shape, number, number === chosen, point, hueOf)));
    if (sketch) this.svg.append(this.#sketch(sketch, pointer));
    // The answer beside it has the name of what it found, as long as nobody changes it.
    const isNamed = (shape, number) => shape.verdict !== "right" || number === chosen;
    const named = shapes.flatMap((shape, number) => (isNamed(shape, number) ? [this.#name(shape, number === chosen, hueOf)] : []));
    this.names.replaceChildren(...named);
  }

  #shape(shape, number, isChosen, point, hueOf) {
    const classes = ["drawn", `hue-${hueOf(shape.label)}`, isChosen && "chosen", shape.verdict].filter(Boolean).join(" ");
    const d = path(shape);
    const group = make("g", { class: classes, "data-shape": number }, make("path", { class: "halo", d }), make("path", { class: "line", d }));
    if (isChosen) group.append(...(isBox(shape) ? this.#corners(shape) : this.#points(shape, point)));
    return group;
  }

  #corners(shape) {
    return CORNERS.map(([x, y]) => make("path", { d: `M${shape[x]} ${shape[y]}h0`, class: "corner", "data-corner": `${x} ${y}` }));
  }

  #points(shape, point) {
    const handles = [];
    shape.contours.forEach((contour, place) => {
      if (contour.length > HANDLES_MOST) return;
      contour.forEach(([x, y], number) => {
        const isOn = point?.[0] === place && point[1] === number;
        const half = middle(shape, [place, number]);
        handles.push(make("path", { d: `M${half.join(" ")}h0`, class: "between", "data-between": `${place} ${number}` }));
        handles.push(make("path", { d: `M${x} ${y}h0`, class: isOn ? "corner on" : "corner", "data-point": `${place} ${number}` }));
      });
    });
    return handles;
  }

  #sketch(points, pointer) {
    const line = [...points, ...(pointer ? [pointer] : [])].map((point) => point.join(" ")).join("L");
    return make("g", { class: "drawn sketch" }, make("path", { class: "line", d: `M${line}` }), make("path", { class: "corner", d: `M${points[0].join(" ")}h0` }));
  }

  // A name that is shifted by the same share of its width as it lies from the left is within the picture.
  #name(shape, isChosen, hueOf) {
    const [x1, y1] = bounds(shape);
    const [left, top] = [(100 * x1) / this.size[0], (100 * y1) / this.size[1]];
    const text = shape.label.length <= NAME_CHARS ? shape.label : `${shape.label.slice(0, NAME_CHARS - 1)}…`;
    const width = Math.round(text.length * 6.7 + 10);
    const shift = `translate(${((-width * left) / 100).toFixed(1)} ${top < 6 ? 0 : -18})`;
    const words = make("text", { x: 5, y: 12 });
    words.textContent = text;
    const group = make("g", { transform: shift }, make("rect", { width, height: 17, rx: 3 }), words);
    return make("svg", { class: `tag hue-${hueOf(shape.label)}${isChosen ? " chosen" : ""}`, x: `${left}%`, y: `${top}%`, overflow: "visible" }, group);
  }
}
