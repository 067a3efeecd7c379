// Steps of a review: the next inference is loaded ahead and swapped in, saving goes on to it. The
// address is that of the whole page, which a reload and browsers without scripts get.
import { Ahead, absolute } from "./ahead.js";

const main = document.getElementById("main");
const ahead = new Ahead("[data-review]", 4);
let asked = 0;

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
  for (const way of ["next", "prev"]) ahead.load(review.querySelector(`a[rel="${way}"]`));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-review] a[data-step]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const address = absolute(link.href);
  show(address, ahead.take(address));
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.closest("[data-review]") || event.defaultPrevented || form.method !== "post") return;
  const action = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.action;
  event.preventDefault();
  ahead.clear(); // pages around it show what is saved now
  show(location.href, ahead.read(action, { method: "POST", body: new FormData(form, event.submitter) }));
});

// What scored less than the slider says is not accepted.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-accept]")) return;
  event.target.elements.least.value = document.querySelector("[data-threshold] input")?.value ?? "";
}, { capture: true });

ready();
