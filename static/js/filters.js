// The filter form: rows of metadata comparisons come and go, a known key brings its type.
const form = document.querySelector("[data-filters]");
const panel = document.querySelector("[data-filter-panel]");
const list = form.querySelector("[data-comparisons]");
const adder = form.querySelector("[data-add-row]");
const known = new Map([...document.querySelectorAll("#known-keys option")].map((one) => [one.value, one.dataset.type]));

function changed() { form.dispatchEvent(new Event("change", { bubbles: true })); }

function blank(row) {
  for (const input of row.querySelectorAll("input")) input.value = "";
  for (const select of row.querySelectorAll("select")) select.selectedIndex = 0;
  row.querySelector(".field-error")?.remove();
}

function add() {
  const row = list.lastElementChild.cloneNode(true);
  blank(row);
  list.append(row);
  row.querySelector("input").focus();
}

function remove(row) {
  if (list.children.length > 1) row.remove(); else blank(row);
  adder.focus();
  changed();
}

adder.hidden = false;
for (const button of list.querySelectorAll("[data-remove-row]")) button.hidden = false;
adder.addEventListener("click", add);
list.addEventListener("click", (event) => {
  const button = event.target.closest("[data-remove-row]");
  if (button) remove(button.closest("[data-comparison]"));
});
list.addEventListener("input", (event) => {
  const type = event.target.name === "key" && known.get(event.target.value);
  if (type) event.target.closest("[data-comparison]").querySelector("[name=type]").value = type;
});

// On a small screen the pictures come first.
if (matchMedia("(max-width: 63.99rem)").matches && !form.querySelector(".field-error:not(:empty)")) panel.open = false;
