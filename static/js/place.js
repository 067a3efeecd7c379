// Back keeps the place: as many of the list as were loaded, and how far it was scrolled.
const MOST = 1000; // of a list that is built up again
const PATIENCE_MS = 5000;

// While an inference is open beside the list, the address is that of the inference.
const key = () => `place:${document.documentElement.dataset.listed ?? location.href}`;
const list = () => document.querySelector("[data-list]");
const count = () => list()?.querySelectorAll("[data-id]").length ?? 0;
const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

// A table is scrolled within its area, the gallery with the page.
const area = () => list()?.closest("[data-table-area]");

function keep() {
  if (!list()) return;
  const [inner, across] = [area()?.scrollTop, area()?.scrollLeft];
  sessionStorage.setItem(key(), JSON.stringify({ loaded: count(), top: scrollY, inner, across }));
}

// The link to the next part is followed by itself when it comes into view.
async function build(loaded) {
  let end = Date.now() + PATIENCE_MS;
  while (count() < Math.min(loaded, MOST) && Date.now() < end) {
    const more = list()?.querySelector(".more");
    if (!more) return;
    const before = count();
    more.scrollIntoView({ block: "end" });
    await pause();
    if (count() > before) end = Date.now() + PATIENCE_MS;
  }
}

async function restore({ loaded, top, inner = 0, across = 0 }) {
  history.scrollRestoration = "manual"; // the browser would scroll in a list that is too short
  await build(loaded);
  area()?.scrollTo({ top: inner, left: across, behavior: "instant" });
  scrollTo({ top, behavior: "instant" });
}

document.addEventListener("list:renewed", ({ detail }) => restore(detail));
addEventListener("pagehide", keep);
const came = performance.getEntriesByType("navigation")[0]?.type;
const kept = sessionStorage.getItem(key());
if (kept && (came === "back_forward" || came === "reload")) restore(JSON.parse(kept));
