// What lights up in the pictures: boxes of labels that are shown, and boxes above a score. Rules of
// a style sheet of its own hold for what is loaded later, too, however many cards there are.
const sheet = new CSSStyleSheet();
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
let hidden = new Set();
let least = null; // hundredths, while the slider is moved

const PARTS = ":is(.shape, .tag)";
const buttons = () => [...document.querySelectorAll("[data-toggle-label]")];
const slider = () => document.querySelector("[data-least-score]");
const steps = (from, to) => Array.from({ length: Math.max(to - from, 0) }, (_, n) => `[data-step="${from + n}"]`).join();

function draw() {
  const rules = [];
  if (hidden.size) rules.push(`${PARTS}:is(${[...hidden].map((label) => `[data-label="${label}"]`).join()}) { display: none; }`);
  if (least !== null) {
    const [below, above] = [steps(0, least), steps(least, 101)];
    const chosen = [...document.querySelectorAll("#legend li:has([aria-current]) [data-toggle-label]")];
    const labels = chosen.map((one) => `[data-label="${one.dataset.toggleLabel}"]`).join();
    if (below) {
      rules.push(`.gallery .shape:is(${below}) { opacity: 0.6; }`);
      rules.push(`.gallery .shape:is(${below}) .line { stroke: var(--on-stage); stroke-width: 0.75px; }`);
      rules.push(`.gallery .shape:is(${below}) .halo { stroke-width: 0; } .gallery .tag:is(${below}) { display: none; }`);
    }
    const lit = `.gallery .shape.other:is(${above})${labels ? `:is(${labels})` : ""}`;
    rules.push(`${lit} { opacity: 1; } ${lit} .line { stroke: var(--hue); stroke-width: 2px; }`);
  }
  sheet.replaceSync(rules.join("\n"));
  for (const button of buttons()) button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.toggleLabel)));
}

function toggle(label, alone) {
  const others = buttons().map((one) => one.dataset.toggleLabel).filter((one) => one !== label);
  const isAlone = !hidden.has(label) && others.every((one) => hidden.has(one));
  if (alone) hidden = isAlone ? new Set() : new Set(others);
  else if (!hidden.delete(label)) hidden.add(label);
  draw();
}

// A class is chosen alone, added to those that are, or excluded.
function choose(link, event) {
  const name = link.dataset.class;
  // The address of a list that is on its way, or of the one beside which an inference is open.
  const { asked, listed = location.href } = document.documentElement.dataset;
  const url = new URL(asked ?? listed, location.href);
  const query = url.searchParams;
  query.delete("cursor");
  const text = query.get("text") ?? query.get("q"); // as `text` it would be instead of all other filters
  query.delete("text");
  if (text) query.set("q", text);
  if (event.altKey) {
    query.set("q", `${text ? `(${text}) ` : ""}NOT label:${JSON.stringify(name)}`);
  } else {
    const chosen = query.getAll("label");
    query.delete("label");
    for (const one of chosen.includes(name) ? chosen.filter((label) => label !== name) : [...chosen, name]) query.append("label", one);
    if (![...query].length) query.set("view", document.getElementById("browse")?.dataset.usualView ?? "gallery");
  }
  go(`${url.pathname}?${query}`);
}

// The address of the list with other values; an empty one takes a parameter out.
function within(changes) {
  const { asked, listed = location.href } = document.documentElement.dataset;
  const url = new URL(asked ?? listed, location.href);
  url.searchParams.delete("cursor");
  for (const [name, value] of Object.entries(changes)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  if (![...url.searchParams].length) url.searchParams.set("view", "gallery");
  return `${url.pathname}${url.search}`;
}

function go(address) {
  const browse = document.getElementById("browse");
  if (!browse) { location.href = address; return; }
  const source = document.createElement("span"); // of each request its own, because htmx queues those of one element
  browse.append(source);
  window.htmx.ajax("GET", address, { source, target: "#browse", select: "#browse", swap: "outerHTML" });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-toggle-label]");
  if (button) toggle(button.dataset.toggleLabel, event.shiftKey);
  const link = event.target.closest("a[data-class]");
  if (!link || event.ctrlKey || event.metaKey || event.button) return;
  event.preventDefault();
  if ((event.shiftKey || event.altKey) && link.dataset.excluded === undefined) choose(link, event);
  else go(link.getAttribute("href"));
});

document.addEventListener("input", (event) => {
  if (event.target !== slider()) return;
  least = Math.round(100 * event.target.valueAsNumber);
  event.target.nextElementSibling.value = (least / 100).toFixed(2);
  draw();
});

document.addEventListener("change", (event) => {
  if (event.target !== slider()) return;
  const field = document.getElementById("min_score");
  const chosen = least ? String(least / 100) : "";
  const onward = () => {
    if (!field) return go(within({ min_score: chosen })); // a list without a panel
    field.value = chosen;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  };
  if (document.dispatchEvent(new CustomEvent("inference:leaving", { cancelable: true, detail: { onward } }))) return onward();
  // Boxes that are not saved come first: until they are left, the slider says the filter that is in force.
  event.target.value = field?.value || event.target.defaultValue;
  event.target.nextElementSibling.value = event.target.value;
  least = null;
  draw();
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.matches("#browse, #results")) least = null; // the filter says it from now on
  draw();
});
