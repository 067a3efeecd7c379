// How the gallery looks to this person: the size of pictures and the text below them, kept in
// cookies, and the height of the bar above, below which focused cards must come to rest.
const A_YEAR = 365 * 24 * 3600;
const gallery = () => document.querySelector(".gallery");

function keep(name, value) { document.cookie = `${name}=${value}; path=/; max-age=${A_YEAR}; samesite=lax`; }

// What is in the middle of the screen stays there while everything changes its place.
function steadily(change) {
  const cards = [...gallery().querySelectorAll("[data-id]")];
  const middle = cards.find((card) => card.getBoundingClientRect().bottom > innerHeight / 3);
  const before = middle?.getBoundingClientRect().top;
  change(gallery());
  if (middle && scrollY) scrollBy({ top: middle.getBoundingClientRect().top - before, behavior: "instant" });
}

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-size]") || !gallery()) return;
  const size = event.target.value;
  steadily((list) => { list.className = list.className.replace(/size-\d/, `size-${size}`); });
  keep("thumbnails", size);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-captions]");
  if (!button || !gallery()) return;
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  steadily((list) => list.classList.toggle("captions", on));
  keep("captions", on ? 1 : 0);
});

const measured = new ResizeObserver(([entry]) => {
  document.documentElement.style.setProperty("--bar", `${entry.borderBoxSize[0].blockSize}px`);
});
function measure() {
  measured.disconnect();
  const bar = document.querySelector("[data-list-bar]");
  if (bar) measured.observe(bar);
}
document.addEventListener("htmx:afterSettle", measure);
measure();
