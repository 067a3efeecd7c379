// Steps of a review: the next inference is loaded ahead and swapped in, saving goes on to it. The
// address is that of the whole page, which a reload and browsers without scripts get.
const KEPT = 4; // pages that were loaded ahead
const main = document.getElementById("main");
const ahead = new Map(); // address: the promise of its text
let asked = 0;

const absolute = (address) => new URL(address, location.href).href;

async function read(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { "HX-Request": "true" } });
  if (!answer.ok) throw new Error(answer.status);
  return { part: parsed(await answer.text()), address: answer.url };
}

function parsed(text) { return new DOMParser().parseFromString(text, "text/html").querySelector("[data-review]"); }

function preload(link) {
  const address = link && absolute(link.href);
  if (!address || ahead.has(address)) return;
  const reading = read(address).then((page) => {
    const source = page.part?.querySelector("[data-viewer] img")?.getAttribute("src");
    if (source) new Image().src = source;
    return page;
  });
  reading.catch(() => ahead.delete(address));
  ahead.set(address, reading);
  if (ahead.size > KEPT) ahead.delete(ahead.keys().next().value);
}

// Shows a page that is read. What cannot be read becomes a page of its own, which says why.
async function show(address, reading) {
  const turn = ++asked;
  main.setAttribute("aria-busy", "true");
  const page = await reading.catch(() => null);
  if (turn !== asked) return;
  main.removeAttribute("aria-busy");
  if (!page?.part) return location.assign(address);
  document.querySelector(".toasts").append(...page.part.querySelectorAll("[data-toast]"));
  const shown = document.adoptNode(page.part);
  document.querySelector("[data-review]").replaceWith(shown);
  history.replaceState({}, "", page.address);
  window.htmx.process(shown);
  shown.dispatchEvent(new CustomEvent("inference:shown", { bubbles: true }));
  ready();
}

function ready() {
  const review = document.querySelector("[data-review]");
  review.querySelector(".film [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  for (const way of ["next", "prev"]) preload(review.querySelector(`a[rel="${way}"]`));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-review] a[data-step]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const address = absolute(link.href);
  const reading = ahead.get(address) ?? read(address);
  ahead.delete(address);
  show(address, reading);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.closest("[data-review]") || event.defaultPrevented || form.method !== "post") return;
  const action = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.action;
  event.preventDefault();
  ahead.clear(); // pages around it show what is saved now
  show(location.href, read(action, { method: "POST", body: new FormData(form, event.submitter) }));
});

// What scored less than the slider says is not accepted.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-accept]")) return;
  event.target.elements.least.value = document.querySelector("[data-threshold] input")?.value ?? "";
}, { capture: true });

ready();
