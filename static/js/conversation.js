// A button to copy each block of code and each JSON of a conversation, also of what comes later.
const SHOWN_MS = 1500;

function ready(root) {
  if (!navigator.clipboard) return;
  for (const block of root.querySelectorAll("[data-markdown] pre, [data-code] pre")) {
    if (block.closest(".code-box")) continue;
    const box = Object.assign(document.createElement("div"), { className: "code-box" });
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button quiet copy", textContent: "Copy" });
    button.setAttribute("aria-label", "Copy the code");
    button.dataset.copyCode = "";
    block.replaceWith(box);
    block.tabIndex = 0;
    box.append(block, button);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-code]");
  if (!button) return;
  await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, SHOWN_MS);
});

ready(document);
document.addEventListener("htmx:load", (event) => ready(event.target));
document.addEventListener("inference:shown", (event) => ready(event.target));
