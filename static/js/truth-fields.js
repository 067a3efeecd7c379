// The ground truth that is typed or chosen in a review: classes by number, and what is not sent
// yet kept as a draft in the browser.
import { drop, find, keep } from "./truth/drafts.js";
import { guard } from "./truth/leaving.js";

let life = new AbortController(); // of the listeners for the inference that is shown

function attach(root) {
  life.abort();
  life = new AbortController();
  const { signal } = life;
  const form = root.querySelector("[data-fields]");
  if (!form) return;
  const { draft: place, version } = form.dataset;
  const fields = [...form.querySelectorAll("input:not([type=hidden]), textarea")];
  const values = () => Object.fromEntries(fields.map((field) => [field.name, field.value]));
  const classes = [...form.querySelectorAll("[data-class-key]")];
  let isLeaving = false;

  const isChanged = () => fields.some((field) => field.value !== field.defaultValue);
  const isUnsaved = () => !isLeaving && isChanged();
  const chosen = () => fields[0].value.split(",").map((name) => name.trim()).filter(Boolean);

  function show() {
    for (const button of classes) button.setAttribute("aria-pressed", String(chosen().includes(button.value)));
    if (isUnsaved()) keep(place, { fields: values(), version, at: Date.now() });
    else if (!isLeaving) drop(place);
  }

  // With Shift a class is one of several.
  function choose(name, isAlso) {
    const others = chosen().filter((one) => one !== name);
    if (!isAlso) fields[0].value = name;
    else fields[0].value = (chosen().includes(name) ? others : [...others, name]).join(", ");
    show();
  }

  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-class-key]");
    if (!button) return;
    event.preventDefault();
    choose(button.value, event.shiftKey);
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (typing && (event.ctrlKey || event.metaKey) && event.key === "Enter" && form.contains(event.target)) form.requestSubmit(form.querySelector(".primary"));
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const digit = event.code.startsWith("Digit") ? event.code.slice(5) : event.key;
    const button = classes.find((one) => one.dataset.classKey === digit);
    if (!button) return;
    event.preventDefault();
    choose(button.value, event.shiftKey);
  }, { signal });
  form.addEventListener("input", show);

  const draft = find(place, version);
  const notice = form.querySelector("p[data-draft]");
  if (draft?.fields) {
    const before = values();
    const at = new Date(draft.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const put = (from) => { for (const field of fields) field.value = from[field.name] ?? field.value; };
    notice.hidden = false;
    notice.querySelector("output").value = `Work of ${at} was not saved.${draft.version === version ? "" : " The ground truth was changed since."}`;
    notice.querySelector("[data-draft-take]").hidden = true;
    notice.querySelector("[data-draft-drop]").addEventListener("click", () => { put(before); notice.hidden = true; show(); });
    put(draft.fields);
  }
  show();

  guard({ form, said: "The ground truth is not saved.", stay: "Stay here", isUnsaved, left: () => { isLeaving = true; }, signal });
  form.addEventListener("submit", () => {
    isLeaving = true;
    if (isChanged()) keep(place, { fields: values(), version, at: Date.now(), isSent: true });
  });
}

document.addEventListener("inference:shown", (event) => attach(event.target));
attach(document);
