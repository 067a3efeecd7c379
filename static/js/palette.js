// Go anywhere by a few letters: Ctrl or ⌘ with K opens a dialog over the page, which asks the page
// of "Find" for its list.
const WAIT_MS = 120; // until a letter that follows is part of the same question

const dialog = document.getElementById("palette");
const input = dialog?.querySelector("input");
const list = dialog?.querySelector("[data-palette-list]");
let timer = 0;
let asked = 0; // an answer to an older question comes too late
let chosen = 0;

const hits = () => [...list.querySelectorAll("[data-found]")];

function mark(number) {
  const all = hits();
  if (!all.length) return input.removeAttribute("aria-activedescendant");
  chosen = (number + all.length) % all.length;
  all.forEach((hit, n) => { hit.id = `found-${n}`; hit.classList.toggle("is-chosen", n === chosen); });
  input.setAttribute("aria-activedescendant", all[chosen].id);
  all[chosen].scrollIntoView({ block: "nearest" });
}

async function ask() {
  const number = (asked += 1);
  const address = `${dialog.dataset.palette}?part=found&q=${encodeURIComponent(input.value)}`;
  let text;
  try {
    const response = await fetch(address);
    text = response.ok && !response.redirected ? await response.text() : null;
  } catch { text = null; }
  if (number !== asked) return;
  if (text === null) list.textContent = "This could not be looked up. Try again.";
  else list.innerHTML = text; // our own page, escaped by its template
  mark(0);
}

function open() {
  if (dialog.open) return dialog.close();
  dialog.showModal();
  input.value = "";
  input.focus();
  ask();
}

if (dialog) {
  for (const button of document.querySelectorAll("[data-palette-open]")) {
    button.addEventListener("click", (event) => { event.preventDefault(); open(); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, WAIT_MS); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") mark(chosen + 1);
    else if (event.key === "ArrowUp") mark(chosen - 1);
    else if (event.key === "Enter") hits()[chosen]?.click();
    else if (event.key === "Escape") dialog.close(); // a field of searches would only empty itself
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
