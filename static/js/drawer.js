// One inference, or entry of a dataset, beside the list: a click opens it, J and K step as the list goes, Back closes it. The
// address is that of the whole page, which Enter, a new tab and browsers without scripts get.
import { Ahead, absolute } from "./ahead.js";

const AROUND = 6; // pictures of the film strip to each side
const AHEAD = 3; // items from the end of what is loaded, where the list goes on

const drawer = document.getElementById("drawer");
const [place, film, shown, close] = ["place", "film", "shown", "close"].map((name) => drawer.querySelector(`[data-drawer-${name}]`));
const root = document.documentElement;
const ahead = new Ahead("[data-drawer-page]", 8);
let listed = location.href; // the address of the list that is on the page
let scrolled = 0;
let asked = 0;
let current = ""; // the address of the inference that is shown

const isOpen = () => !drawer.hidden;
const items = () => [...document.querySelectorAll("[data-list] [data-id]")];
const links = () => items().map((item) => item.querySelector(".id a"));

// Shows the inference of an address; whatever is no inference becomes a page of its own.
async function show(address, reading = ahead.take(address)) {
  const turn = ++asked;
  const page = await reading.catch(() => null);
  if (turn !== asked) return false;
  const part = page?.part;
  if (!part) { location.assign(address); return false; }
  open();
  const toasts = [...part.querySelectorAll("[data-toast]")];
  document.querySelector(".toasts").append(...toasts);
  shown.replaceChildren(document.adoptNode(part));
  shown.scrollTop = 0;
  window.htmx.process(shown);
  shown.dispatchEvent(new CustomEvent("inference:shown", { bubbles: true }));
  current = page.address;
  mark(current);
  for (const way of ["next", "prev"]) ahead.load(shown.querySelector(`a[rel="${way}"]`));
  return true;
}

function open() {
  if (isOpen()) return;
  scrolled = scrollY;
  root.dataset.listed = listed; // under which the place in the list is kept
  root.classList.add("with-drawer");
  close.href = listed;
  drawer.hidden = false;
  drawer.focus({ preventScroll: true });
}

function hide() {
  if (!isOpen()) return;
  asked++;
  drawer.hidden = true;
  shown.replaceChildren();
  root.classList.remove("with-drawer");
  delete root.dataset.listed;
  const current = document.querySelector("[data-list] .is-current");
  scrollTo({ top: scrolled, behavior: "instant" });
  current?.querySelector(".id a").focus({ preventScroll: true });
  current?.scrollIntoView({ block: "nearest" });
  mark();
}

// Where it lies in the list: its card, "3 of 10", and the pictures around it.
function mark(address) {
  for (const item of items()) item.classList.remove("is-current");
  const all = links();
  const at = all.findIndex((link) => link.pathname === (address && new URL(address).pathname));
  const total = document.querySelector("[data-count] strong")?.textContent ?? all.length;
  place.textContent = at < 0 ? "" : `${at + 1} of ${total}`;
  film.replaceChildren(...(at < 0 ? [] : all.slice(Math.max(at - AROUND, 0), at + AROUND + 1).map((link) => frame(link, all.indexOf(link) + 1, link === all[at]))));
  if (at < 0) return;
  items()[at].classList.add("is-current");
  items()[at].scrollIntoView({ block: "nearest" });
  film.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
  if (at >= all.length - AHEAD) document.querySelector("[data-list] .more a")?.click();
}

// A picture of the strip; what has none is told by its place in the list.
function frame(link, number, isCurrent) {
  const one = Object.assign(document.createElement("a"), { href: link.href, title: link.title });
  const image = link.closest("[data-id]").querySelector(".frame > img");
  if (image) one.append(Object.assign(new Image(), { src: image.currentSrc || image.src, alt: link.title }));
  else one.append(Object.assign(document.createElement("span"), { className: "number", textContent: number }));
  if (!image) one.setAttribute("aria-label", `${number}: ${link.title}`);
  if (isCurrent) one.setAttribute("aria-current", "true");
  return one;
}

async function step(address) {
  if (await show(absolute(address))) history.replaceState({ drawer: true, listed }, "", address);
}

// A row of a table opens as its link does, where nothing else in it was meant.
document.addEventListener("click", (event) => {
  const row = event.target.closest("[data-list] > tr[data-id]");
  if (!row || event.defaultPrevented || event.button || event.target.closest("a, button, input, select, label, form, summary")) return;
  if (!getSelection().isCollapsed) return; // text was marked to be copied
  const { ctrlKey, metaKey, shiftKey } = event;
  row.querySelector(".id a").dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1, ctrlKey, metaKey, shiftKey }));
});

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  if (link === close) { event.preventDefault(); history.back(); return; }
  if (link.matches("[data-list] .id a") && event.detail) {
    event.preventDefault();
    if (isOpen()) return step(link.href);
    if (!await show(link.href)) return;
    history.replaceState({ listed }, "", listed);
    history.scrollRestoration = "manual"; // of this entry: the list was narrower when it was left
    history.pushState({ drawer: true, listed }, "", link.href);
  } else if (isOpen() && drawer.contains(link) && link.matches("[rel=next], [rel=prev], [data-drawer-film] a")) {
    event.preventDefault();
    step(link.href);
  }
});

// A form about this inference is answered by its page again; others lead to pages of their own.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const action = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.action;
  if (!shown.contains(form) || event.defaultPrevented || form.method !== "post") return;
  if (!new URL(action).pathname.startsWith(location.pathname)) return;
  event.preventDefault();
  const reading = ahead.read(action, { method: "POST", body: new FormData(form, event.submitter) });
  ahead.clear();
  await show(location.href, reading);
});

document.addEventListener("inference:again", () => { if (isOpen()) show(location.href); });

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !isOpen() || event.defaultPrevented) return;
  if (document.querySelector("dialog[open], [data-menu][open]") || event.target.closest("input:not([type=checkbox], [type=range]), textarea, select")) return;
  close.click();
});

// Boxes that are not saved may keep it open: then the entry of the history that was left comes back.
function mayLeave(onward) {
  return shown.dispatchEvent(new CustomEvent("inference:leaving", { bubbles: true, cancelable: true, detail: { onward } }));
}

// A list that is asked for closes it, whatever asks: a link, the panel, a slider.
document.addEventListener("htmx:confirm", (event) => {
  const { target, issueRequest } = event.detail;
  if (isOpen() && target.matches("#browse, #results") && !mayLeave(() => issueRequest(true))) event.preventDefault();
});

addEventListener("popstate", ({ state }) => {
  if (isOpen() && !mayLeave(() => history.back())) history.pushState({ drawer: true, listed }, "", current);
  else if (state?.listed && state.listed !== listed) location.reload();
  else if (state?.drawer) show(location.href);
  else hide();
});
for (const name of ["htmx:pushedIntoHistory", "htmx:replacedInHistory"]) {
  document.addEventListener(name, () => {
    listed = location.href;
    hide();
  });
}
