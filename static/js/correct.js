// The ground truth of a picture, drawn over it. The form sends the shapes as JSON, in the unit of
// the model's answers; what is not sent yet is kept as a draft in the browser.
import { drop, find, keep } from "./truth/drafts.js";
import { Editor } from "./truth/editor.js";
import { Layer } from "./truth/layer.js";
import { guard } from "./truth/leaving.js";
import { isBox, read, write } from "./truth/shapes.js";

const HOT_KEYS = 9;
const TOOLS = { boxes: "box", polygons: "polygon" };
let life = new AbortController(); // of the listeners for the inference that is shown

function attach(root) {
  life.abort();
  life = new AbortController();
  const { signal } = life;
  const form = root.querySelector("[data-correct]");
  const stage = root.querySelector("[data-viewer]");
  if (!form || !stage?.querySelector("[data-frame]")) return;
  const part = (name) => form.querySelector(`[data-${name}]`);
  const given = (name) => JSON.parse(form.dataset[name]);
  const size = [Number(form.dataset.width), Number(form.dataset.height)];
  const [unit, digits] = form.dataset.shares ? [size, 5] : [[1, 1], 1];
  const { draft: place, version } = form.dataset;
  const isAtOnce = "atOnce" in form.dataset;
  const [begin, tools, label, list] = ["correct-begin", "correct-tools", "box-label", "box-list"].map(part);
  const forms = form.dataset.forms.split(" ");
  const classes = given("classes");
  const hues = new Map(classes.map((one) => [one.name, one.hue]));
  const hueOf = (name) => hues.get(name) ?? 47;
  let editor = null;
  let begun = ""; // the shapes as they are stored, or as the answer has them
  let isLeaving = false;

  const written = () => JSON.stringify(editor.shapes.map((shape) => write(shape, unit, digits)));
  const isUnsaved = () => !isLeaving && editor !== null && written() !== begun;
  const formOf = (shapes) => (shapes.length ? (isBox(shapes[0]) ? "boxes" : "polygons") : forms.find((name) => TOOLS[name] === editor.tool));

  function start(shapes, isStored) {
    begin.hidden = true;
    tools.hidden = false;
    stage.classList.add("correcting");
    label.value ||= classes[0]?.name ?? shapes[0]?.label ?? "";
    editor = new Editor({
      layer: new Layer(stage.querySelector("[data-frame]"), size),
      size,
      shapes,
      tool: TOOLS[shapes.length ? (isBox(shapes[0]) ? "boxes" : "polygons") : forms[0]],
      label: () => label.value || "object",
      changed: show,
    });
    begun = isStored ? written() : "";
    if (draft && !notice.hidden) takeUp();
    show();
  }

  const readAll = (shapes, verdicts = []) => shapes.map((shape, number) => read(shape, unit, verdicts[number]));
  const startWith = (source) => (source === "given" ? start(readAll(given("shapes"), given("verdicts")), true) : start(readAll(given("suggested")), isAtOnce));

  function show() {
    if (!editor) return; // while it is made
    const { shapes, chosen, point, sketch, pointer } = editor;
    editor.layer.draw({ shapes, chosen, point, sketch, pointer, hueOf });
    showList(shapes, chosen);
    if (editor.one && document.activeElement !== label) label.value = editor.one.label;
    part("undo-box").disabled = !editor.history.canUndo;
    part("redo-box").disabled = !editor.history.canRedo;
    for (const button of form.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === editor.tool));
      button.disabled = shapes.length > 0 && TOOLS[formOf(shapes)] !== button.dataset.tool;
    }
    for (const button of form.querySelectorAll("[data-class-key]")) button.setAttribute("aria-pressed", String(button.value === label.value));
    if (isUnsaved()) keep(place, { shapes: JSON.parse(written()), version, at: Date.now() });
    else if (written() === begun && notice.hidden) drop(place);
  }

  function showList(shapes, chosen) {
    const hadFocus = list.contains(document.activeElement);
    list.replaceChildren(...shapes.map((shape, number) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button", className: `button quiet hue-${hueOf(shape.label)}`, textContent: `${number + 1}. ${shape.label}` });
      button.prepend(Object.assign(document.createElement("span"), { className: "swatch" }));
      button.dataset.pickBox = number;
      button.setAttribute("aria-pressed", String(number === chosen));
      item.append(button);
      return item;
    }));
    if (hadFocus && chosen >= 0) list.children[chosen].firstElementChild.focus();
  }

  function useClass(name) {
    label.value = name;
    if (editor.one) editor.relabel(name);
    show();
  }

  // -- classes by number

  part("class-keys").append(...classes.slice(0, HOT_KEYS).map((one, number) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: `button quiet hue-${one.hue}`, value: one.name });
    button.dataset.classKey = number + 1;
    button.setAttribute("aria-keyshortcuts", number + 1);
    const key = Object.assign(document.createElement("kbd"), { textContent: number + 1 });
    button.append(key, Object.assign(document.createElement("span"), { className: "swatch" }), Object.assign(document.createElement("span"), { className: "name", textContent: one.name }));
    return button;
  }));

  document.addEventListener("keydown", (event) => {
    if (!editor || document.querySelector("dialog[open]") || event.target.closest("input:not([type=checkbox], [type=range]), textarea, select")) return;
    if (event.target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const hot = isPlain && form.querySelector(`[data-class-key="${CSS.escape(event.key)}"]`);
    const tool = isPlain && form.querySelector(`[data-tool-key="${CSS.escape(event.key)}"]:not(:disabled)`);
    if (hot) useClass(hot.value);
    else if (tool) tool.click();
    else if (!editor.pressKey(event)) return;
    else if (event.key.toLowerCase() === "n" && editor.one) list.lastElementChild?.firstElementChild.focus({ preventScroll: true });
    event.preventDefault();
    event.stopPropagation();
  }, { capture: true, signal });

  label.addEventListener("input", () => { if (label.value) editor.relabel(label.value); });
  form.addEventListener("focusin", (event) => {
    const number = event.target.dataset.pickBox;
    if (number !== undefined && Number(number) !== editor.chosen) editor.choose(Number(number));
  });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { begin: source, pickBox, classKey, tool } = button.dataset;
    if (source) startWith(source);
    if (pickBox !== undefined) editor.choose(Number(pickBox));
    if (classKey) useClass(button.value);
    if (tool) editor.setTool(tool);
    if ("undoBox" in button.dataset) editor.undo();
    if ("redoBox" in button.dataset) editor.redo();
    if ("newBox" in button.dataset) editor.create();
    if ("removeBox" in button.dataset) editor.remove();
    if ("cancel" in button.dataset) { isLeaving = true; drop(place); again(); }
  });

  // -- drafts: work that was not saved is taken up again, as a change that can be undone

  const found = find(place, version);
  const draft = found?.shapes ? found : null;
  const notice = part("draft");

  function takeUp() {
    notice.querySelector("[data-draft-take]").hidden = true;
    const from = editor.shapes;
    editor.put(readAll(draft.shapes));
    notice.querySelector("[data-draft-drop]").addEventListener("click", () => editor.put(from), { once: true });
  }

  if (draft) {
    const at = new Date(draft.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    notice.hidden = false;
    notice.querySelector("output").value = `Work of ${at} was not saved.${draft.version === version ? "" : " The ground truth was changed since."}`;
    notice.querySelector("[data-draft-take]").addEventListener("click", () => startWith("given"));
    notice.querySelector("[data-draft-drop]").addEventListener("click", () => { drop(place); notice.hidden = true; });
  }

  guard({ form, said: `The ${forms[0]} are not saved.`, stay: "Keep drawing", isUnsaved, left: () => { isLeaving = true; }, signal });
  form.addEventListener("submit", () => {
    if (editor.sketch) editor.close();
    isLeaving = true;
    const name = formOf(editor.shapes);
    keep(place, { shapes: JSON.parse(written()), version, at: Date.now(), isSent: true });
    form.elements.form.value = name;
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value: written() }));
  });

  begin.hidden = false;
  if (isAtOnce) startWith(version || !given("suggested").length ? "given" : "suggested");
}

// In the drawer the inference is read again, as a page is reloaded.
function again() {
  if (document.getElementById("drawer")) document.dispatchEvent(new Event("inference:again"));
  else location.reload();
}

document.addEventListener("inference:shown", (event) => attach(event.target));
attach(document);
