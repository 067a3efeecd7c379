// A box and its row light up together; a threshold hides what scored below it.
function attach(root) {
  const rows = [...root.querySelectorAll("tr[data-row]")];
  const drawn = [...root.querySelectorAll(".frame [data-row]")];

  function light(number) {
    for (const part of [...rows, ...drawn]) {
      const own = part.dataset.row === number;
      part.classList.toggle("lit", own);
      part.classList.toggle("dim", number !== undefined && !own && !part.matches("tr"));
    }
    const svg = drawn.find((part) => part.dataset.row === number);
    svg?.parentNode.append(svg); // on top of the others
  }

  for (const part of [...rows, ...drawn]) {
    part.addEventListener("pointerenter", () => light(part.dataset.row));
    part.addEventListener("pointerleave", () => light());
  }
  for (const row of rows) {
    row.addEventListener("focus", () => light(row.dataset.row));
    row.addEventListener("blur", () => light());
  }
  for (const shape of drawn) {
    shape.addEventListener("click", () => {
      rows.find((row) => row.dataset.row === shape.dataset.row)?.focus();
    });
  }

  // The page can be used before this module has run: what is focused or pointed at by then lights up now.
  const current = [...rows, ...drawn].find((part) => part === document.activeElement || part.matches(":hover"));
  if (current) light(current.dataset.row);

  const threshold = root.querySelector("[data-threshold]");
  if (threshold) {
    const [input, output] = threshold.querySelectorAll("input, output");
    const count = root.querySelector("[data-found-count]");
    threshold.hidden = false;
    const hideBelow = () => {
      output.value = Number(input.value).toFixed(2);
      const below = new Set(rows.filter((row) => row.dataset.score < input.valueAsNumber).map((row) => row.dataset.row));
      for (const part of [...rows, ...drawn]) part.classList.toggle("below", below.has(part.dataset.row));
      count.textContent = below.size ? `${rows.length - below.size} of ${rows.length}` : rows.length;
    };
    input.addEventListener("input", hideBelow);
    if (input.value !== input.defaultValue) hideBelow(); // a reload gives the slider back as it was left
  }
}

function attachWithin(page) {
  const root = page.querySelector("[data-overlay]");
  if (root) attach(root);
}
document.addEventListener("inference:shown", (event) => attachWithin(event.target));
attachWithin(document);
