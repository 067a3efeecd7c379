// Completion of text queries: the terms of the language, and the keys, labels and sources known.
// The page holds them as JSON, made from the kinds of filters.
const MOST = 12;
const WAIT_MS = 120; // until a letter that follows is part of the same question
// A comparison with a key whose value is being typed: meta.camera=no, version:1
const COMPARED = /^((?:meta\.([\w.-]+|"(?:[^"\\]|\\.)+")(?::string)?(?:=|!=))|((?:version|env|conversation):))("?)([^"]*)$/;
let list = null;
let chosen = -1;
let timer = 0;
let asked = 0; // an answer to an older question comes too late

const quoted = (word) => (/^[\w.-]+$/.test(word) ? word : `"${word.replace(/(["\\])/g, "\\$1")}"`);

function options(typed) {
  const { terms, known } = JSON.parse(document.getElementById("completions").textContent);
  // Keys are found by a part of their name, other words behind their term alone.
  const asked = Object.keys(known).filter((term) => typed.startsWith(term) || (term === "meta." && typed.length > 1));
  const all = [...terms, ...asked.flatMap((term) => known[term].map((word) => term + quoted(word)))];
  const low = typed.toLowerCase();
  return all.filter((one) => one.toLowerCase() !== low && (one.toLowerCase().startsWith(low) || (low.length > 1 && !low.endsWith(":") && one.toLowerCase().includes(low)))).slice(0, MOST);
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

// The values that the model's inferences have for a key, with their counts.
async function valuesFor(typed) {
  const [, begin, key, term, , part] = COMPARED.exec(typed);
  const name = term ? term.slice(0, -1) : key.replace(/^"(.*)"$/, "$1").replace(/\\(.)/g, "$1");
  const address = document.getElementById("known-values")?.dataset.address;
  if (!address) return [];
  try {
    const response = await fetch(`${address}?key=${encodeURIComponent(name)}&part=${encodeURIComponent(part)}`);
    if (!response.ok || response.redirected) return [];
    const { values, is_whole: isWhole } = await response.json();
    return values.map(([value, count]) => ({ text: begin + quoted(value), note: `${isWhole ? "" : "≥ "}${count.toLocaleString("en")}` }));
  } catch { return []; }
}

function open(input) {
  close();
  clearTimeout(timer);
  const number = (asked += 1);
  const typed = typedIn(input);
  if (!typed) return;
  if (!COMPARED.test(typed)) return offer(input, options(typed).map((text) => ({ text, note: "" })));
  timer = setTimeout(async () => {
    const found = await valuesFor(typed);
    if (number === asked && document.activeElement === input) offer(input, found);
  }, WAIT_MS);
}

function offer(input, found) {
  close();
  if (!found.length) return;
  list = document.createElement("ul");
  list.className = "suggestions";
  list.id = "suggestions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Completions");
  found.forEach(({ text, note }, number) => {
    const item = Object.assign(document.createElement("li"), { id: `suggestion-${number}`, textContent: text });
    item.dataset.text = text;
    item.setAttribute("role", "option");
    if (note) item.append(Object.assign(document.createElement("span"), { className: "number faint", textContent: note }));
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
  else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) { event.preventDefault(); take(input, list.children[chosen].dataset.text); }
  else if (event.key === "Escape") { event.preventDefault(); close(); }
});
