// Shapes in pixels of the picture as it is shown: a box has x1, y1, x2, y2, a polygon has contours.
// They are values: each function returns a new shape. One that nobody changed keeps what was
// stored (`source`), so that saving rounds nothing, and the verdict on it.
export const isBox = (shape) => !shape.contours;
const within = (value, most) => Math.min(Math.max(value, 0), most);
const sorted = (a, b, most) => [within(a, most), within(b, most)].sort((one, other) => one - other);

export function box(label, from, to, [width, height]) {
  const [x1, x2] = sorted(from[0], to[0], width);
  const [y1, y2] = sorted(from[1], to[1], height);
  return { label, x1, y1, x2, y2 };
}

export function polygon(label, contours, [width, height]) {
  return { label, contours: contours.map((contour) => contour.map(([x, y]) => [within(x, width), within(y, height)])) };
}

export function bounds(shape) {
  if (isBox(shape)) return [shape.x1, shape.y1, shape.x2, shape.y2];
  const points = shape.contours.flat();
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  return [xs, ys].map((values) => values.reduce((a, b) => Math.min(a, b), Infinity))
    .concat([xs, ys].map((values) => values.reduce((a, b) => Math.max(a, b), -Infinity)));
}

// The shape within other bounds: moved, and scaled where they are of another size.
export function fitted(shape, [x1, y1, x2, y2], size) {
  if (isBox(shape)) return box(shape.label, [x1, y1], [x2, y2], size);
  const [left, top, right, bottom] = bounds(shape);
  const sx = right > left ? (x2 - x1) / (right - left) : 1;
  const sy = bottom > top ? (y2 - y1) / (bottom - top) : 1;
  return polygon(shape.label, shape.contours.map((contour) => contour.map(([x, y]) => [x1 + (x - left) * sx, y1 + (y - top) * sy])), size);
}

export function moved(shape, dx, dy, [width, height]) {
  const [x1, y1, x2, y2] = bounds(shape);
  const [x, y] = [Math.min(Math.max(dx, -x1), width - x2), Math.min(Math.max(dy, -y1), height - y2)];
  return fitted(shape, [x1 + x, y1 + y, x2 + x, y2 + y], [width, height]);
}

function changed(shape, place, change, size) {
  const contours = shape.contours.map((contour, number) => (number === place[0] ? change([...contour]) : contour));
  return polygon(shape.label, contours, size);
}

export function movedPoint(shape, place, point, size) {
  return changed(shape, place, (contour) => contour.with(place[1], point), size);
}

export function insertedPoint(shape, place, point, size) {
  return changed(shape, place, (contour) => contour.toSpliced(place[1] + 1, 0, point), size);
}

// The polygon without a point; null where fewer than three would be left.
export function removedPoint(shape, place, size) {
  if (shape.contours[place[0]].length <= 3) return null;
  return changed(shape, place, (contour) => contour.toSpliced(place[1], 1), size);
}

export function middle(shape, [contour, number]) {
  const points = shape.contours[contour];
  const [a, b] = [points[number], points[(number + 1) % points.length]];
  return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
}

export function labelled(shape, label) {
  const { source, verdict, ...rest } = shape;
  return { ...rest, label, ...(source && { source: { ...source, label } }) };
}

export function path(shape) {
  const contours = isBox(shape)
    ? [[[shape.x1, shape.y1], [shape.x2, shape.y1], [shape.x2, shape.y2], [shape.x1, shape.y2]]]
    : shape.contours;
  return contours.map((contour) => `M${contour.map((point) => point.join(" ")).join("L")}Z`).join("");
}

// As ground truth has it, in `unit`: pixels, or shares of the picture's width and height.
export function read(source, [unitX, unitY], verdict) {
  const { label } = source;
  const kept = { label, source, ...(verdict && { verdict }) };
  if (source.contours) return { ...kept, contours: source.contours.map((contour) => contour.map(([x, y]) => [x * unitX, y * unitY])) };
  return { ...kept, x1: source.xmin * unitX, y1: source.ymin * unitY, x2: source.xmax * unitX, y2: source.ymax * unitY };
}

export function write(shape, [unitX, unitY], digits) {
  if (shape.source) return shape.source;
  const round = (value, unit) => Number((value / unit).toFixed(digits));
  const { label } = shape;
  if (!isBox(shape)) return { label, contours: shape.contours.map((contour) => contour.map(([x, y]) => [round(x, unitX), round(y, unitY)])) };
  const { x1, y1, x2, y2 } = shape;
  return { label, xmin: round(x1, unitX), ymin: round(y1, unitY), xmax: round(x2, unitX), ymax: round(y2, unitY) };
}
