// What every page has: copying, dismissing, menus, asking before a dangerous step.
const SHOWN_MS = 7000;
const UNDO_MS = 15000; // long enough to read it, and to reach the button by keys

function ready(root) {
  for (const button of root.querySelectorAll("[data-copy], [data-copy-link]")) button.hidden = !navigator.clipboard;
  for (const toast of root.querySelectorAll("[data-toast]:not(.error)")) {
    setTimeout(() => { if (!toast.matches(":hover, :focus-within")) toast.remove(); }, toast.querySelector(".undo") ? UNDO_MS : SHOWN_MS);
  }
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy).textContent;
  await navigator.clipboard.writeText(text.trim());
  button.dataset.done = "";
  setTimeout(() => delete button.dataset.done, 1500);
}

async function copyLink(button) {
  await navigator.clipboard.writeText(location.href);
  button.lastChild.textContent = "Copied";
}

document.addEventListener("click", (event) => {
  const linker = event.target.closest("[data-copy-link]");
  if (linker) copyLink(linker);
  const copier = event.target.closest("[data-copy]");
  if (copier) copy(copier);
  event.target.closest("[data-dismiss]")?.closest("[data-toast]").remove();
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
  event.target.closest("[data-close]")?.closest("dialog").close();
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = document.querySelector("[data-menu][open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
  }
  const typing = event.target.closest("input, select, textarea, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  const key = CSS.escape(event.key);
  const focused = document.querySelector(`[data-key-focus="${key}"]`);
  const clicked = document.querySelector(`a[data-key="${key}"], [data-key-click="${key}"]`);
  if (!focused && !clicked) return;
  event.preventDefault();
  if (focused) { focused.focus(); focused.select?.(); } else clicked.click();
});

// The page's own dialog: resolves to "yes", "instead" or "" (Escape, Cancel). Other scripts ask
// by an event, as a module that two others import would be run under two addresses.
function ask({ said, yes = "Yes", instead = "", no = "Cancel" }) {
  const dialog = document.getElementById("ask");
  dialog.querySelector("#ask-said").textContent = said;
  const [cancel, other, agree] = ["", "instead", "yes"].map((value) => dialog.querySelector(`[data-ask="${value}"]`));
  cancel.textContent = no;
  agree.textContent = yes;
  other.textContent = instead;
  other.hidden = !instead;
  dialog.returnValue = "";
  dialog.showModal();
  cancel.focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}
document.addEventListener("ask", (event) => event.detail.answer(ask(event.detail)));
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-ask]");
  if (button) document.getElementById("ask").close(button.dataset.ask);
});

// A form that does what cannot be undone asks before, by the words of the button that was pressed.
let agreed = null;
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const said = form.dataset.confirm;
  if (!said || agreed === form) { agreed = null; return; }
  event.preventDefault();
  const pressed = event.submitter;
  const answer = await ask({ said, yes: pressed?.textContent.trim() || "Yes" });
  if (answer !== "yes") return pressed?.focus();
  agreed = form;
  form.requestSubmit(pressed);
});

// A picture that cannot be decoded says so. Errors do not bubble: they are caught on the way down.
function broken(image) { image.closest("[data-frame]")?.classList.add("broken"); }
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) broken(event.target);
}, true);
for (const image of document.images) if (image.complete && !image.naturalWidth && image.getAttribute("src")) broken(image);

// A part of the page that cannot be had says so in place of its skeleton, and is asked for again by a button.
function tellOfFailure(place) {
  if (place.matches("[data-count]")) place.textContent = "Not counted";
  const area = place.dataset.waiting ? document.querySelector(place.dataset.waiting) : place;
  const spot = area?.querySelector("[role=status]:has(.skeleton)") ?? area?.querySelector(".skeleton");
  if (!spot) return;
  const notice = Object.assign(document.createElement("p"), { className: "notice warn failed-part" });
  notice.setAttribute("role", "alert");
  const again = Object.assign(document.createElement("button"), { type: "button", className: "button quiet", textContent: "Try again" });
  notice.append(Object.assign(document.createElement("span"), { textContent: "This could not be loaded." }), again);
  spot.replaceWith(notice);
  again.addEventListener("click", () => {
    notice.replaceWith(spot);
    window.htmx.ajax("GET", place.getAttribute("hx-get"), { source: place, target: place, swap: place.getAttribute("hx-swap") ?? "innerHTML" });
  });
}
for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(failure, (event) => tellOfFailure(event.detail.elt));
}

// A menu whose form was used stays open over the swap that follows.
let used = "";
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.matches("[data-menu] form")) used = event.detail.elt.closest("[data-menu]").id;
});
document.addEventListener("htmx:afterSettle", () => {
  const menu = used && document.getElementById(used);
  if (menu) menu.open = true;
  used = "";
});

document.addEventListener("htmx:afterSwap", (event) => ready(event.target));
document.addEventListener("htmx:oobAfterSwap", ({ target }) => { if (target.matches(".toasts")) ready(target); });
for (const name of ["inference:shown", "list:acted"]) document.addEventListener(name, () => ready(document));
ready(document);

// A page that was reloaded while it was open beside a list has entries of that list in its history.
addEventListener("popstate", ({ state }) => {
  if (state?.listed && !document.getElementById("drawer")) location.reload();
});

// On a phone the tabs are wider than the screen: the one that is open is in sight.
const tabs = document.querySelector(".tabs");
const current = tabs?.querySelector("[aria-current]");
if (current) tabs.scrollLeft = current.offsetLeft - (tabs.clientWidth - current.offsetWidth) / 2;
