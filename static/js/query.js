// Completion of text queries: the terms of the language, and the keys, labels and sources known.
// The page holds them as JSON, made from the kinds of filters.
const MOST = 12;
let list = null;
let chosen = -1;

const quoted = (word) => (/^[\w.-]+$/.test(word) ? word : `"${word.replace(/(["\\])/g, "\\$1")}"`);

function options(typed) {
  const { terms, known } = JSON.parse(document.getElementById("completions").textContent);
  // Keys are found by a part of their name, other words behind their term alone.
  const asked = Object.keys(known).filter((term) => typed.startsWith(term) || (term === "meta." && typed.length > 1));
  const all = [...terms, ...asked.flatMap((term) => known[term].map((word) => term + quoted(word)))];
  const low = typed.toLowerCase();
  return all.filter((one) => one.toLowerCase() !== low && (one.toLowerCase().startsWith(low) || (low.length > 1 && one.toLowerCase().includes(low)))).slice(0, MOST);
}

const typedIn = (input) => /[^\s(]*$/.exec(input.value.slice(0, input.selectionStart))[0].replace(/^-/, "");

function close() { list?.remove(); list = null; chosen = -1; document.activeElement?.removeAttribute("aria-activedescendant"); }

function take(input, text) {
  const end = input.selectionStart;
  const begin = end - typedIn(input).length;
  const rest = input.value.slice(end);
  const tail = /[:=<(.]$/.test(text) || text.endsWith(" ") ? "" : " ";
  input.value = input.value.slice(0, begin) + text + tail + rest.trimStart();
  const place = begin + text.length + tail.length;
  input.setSelectionRange(place, place);
  close();
  input.focus();
}

function mark(input, number) {
  chosen = (number + list.children.length) % list.children.length;
  [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === chosen)));
  list.children[chosen].scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", list.children[chosen].id);
}

function open(input) {
  close();
  const typed = typedIn(input);
  const found = typed ? options(typed) : [];
  if (!found.length) return;
  list = document.createElement("ul");
  list.className = "suggestions";
  list.id = "suggestions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Completions");
  found.forEach((text, number) => {
    const item = Object.assign(document.createElement("li"), { id: `suggestion-${number}`, textContent: text });
    item.setAttribute("role", "option");
    item.addEventListener("pointerdown", (event) => { event.preventDefault(); take(input, text); });
    list.append(item);
  });
  input.setAttribute("aria-controls", "suggestions");
  input.parentElement.classList.add("completed");
  input.parentElement.append(list);
}

document.addEventListener("input", (event) => { if (event.target.matches("[data-query]")) open(event.target); });
const focused = document.activeElement; // what was typed before this module had run is completed, too
if (focused.matches("[data-query]") && focused.value !== focused.defaultValue) open(focused);
document.addEventListener("focusout", (event) => { if (event.target.matches("[data-query]")) close(); });
document.addEventListener("keydown", (event) => {
  const input = event.target;
  if (!list || !input.matches("[data-query]")) return;
  if (event.key === "ArrowDown") { event.preventDefault(); mark(input, chosen + 1); }
  else if (event.key === "ArrowUp") { event.preventDefault(); mark(input, chosen - 1); }
  else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) { event.preventDefault(); take(input, list.children[chosen].textContent); }
  else if (event.key === "Escape") { event.preventDefault(); close(); }
});
