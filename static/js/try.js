// Shows the fields of the chosen form, the chosen picture, and that the model is at work.
const form = document.querySelector("[data-try]");
const preview = form.querySelector("[data-preview]");
const file = form.querySelector("[type=file]");

function show() {
  const chosen = form.querySelector("[name=form]:checked").value;
  for (const field of form.querySelectorAll("[data-of]")) field.hidden = !field.dataset.of.split(" ").includes(chosen);
  const picture = chosen === "file" && file.files[0]?.type.startsWith("image/") ? file.files[0] : null;
  preview.hidden = !picture;
  if (picture) preview.querySelector("img").src = URL.createObjectURL(picture);
}

form.addEventListener("change", show);
form.addEventListener("submit", () => {
  const button = form.querySelector("button.primary");
  button.disabled = true;
  button.lastChild.textContent = "Asking…";
});
show();
