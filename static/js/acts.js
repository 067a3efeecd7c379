// Acts on a selection in a dialog over the page: the page of an act is asked for, and its form is
// shown here. What was done is told by a toast, and the list is renewed where it is. Without this
// module, and where the answer leads elsewhere, an act is a page of its own.
const dialog = document.querySelector("[data-act-dialog]");
const title = dialog.querySelector("#act-title");
const shown = dialog.querySelector("[data-act-shown]");
let turn = 0; // an answer to a dialog that was closed comes too late

const parse = (text) => new DOMParser().parseFromString(text, "text/html");
const results = () => document.getElementById("results");
const listed = () => document.documentElement.dataset.listed ?? location.href;
const pathOf = (address) => new URL(address, location.href).pathname;

// The page that answers a form; null where no server answers.
async function send(form, submitter) {
  const action = submitter?.hasAttribute("formaction") ? submitter.formAction : form.action;
  try {
    const response = await fetch(action, { method: "POST", body: new FormData(form, submitter) });
    return { action, response, page: parse(await response.text()) };
  } catch { return null; }
}

function fill(template, text) {
  if (!dialog.open) dialog.showModal();
  shown.replaceChildren(dialog.querySelector(`[data-act-${template}]`).content.cloneNode(true));
  if (text) shown.querySelector("span").textContent = text;
}

async function show(answer, name) {
  if (!answer) return fill("problem", "The server cannot be reached.");
  const { action, response, page } = answer;
  const form = page.querySelector("[data-act]");
  if (form) return take(form, page, action, name);
  if (response.redirected) return finish(response.url, page, action);
  fill("problem", page.querySelector("h1")?.textContent.trim() || `The server answered ${response.status}.`);
}

function take(form, page, action, name) {
  for (const link of page.head.querySelectorAll("link[rel=stylesheet]")) {
    if (!document.head.querySelector(`link[href="${link.getAttribute("href")}"]`)) document.head.append(document.adoptNode(link));
  }
  const heading = form.querySelector("h1");
  title.textContent = heading?.textContent.trim() || name;
  heading?.closest("header").remove();
  form.removeAttribute("aria-labelledby");
  if (!form.hasAttribute("action")) form.setAttribute("action", action);
  if (!dialog.open) dialog.showModal();
  shown.replaceChildren(document.adoptNode(form));
  window.htmx.process(shown);
  dialog.scrollTop = 0;
  (form.querySelector("[role=alert]") ? form : title).scrollIntoView({ block: "nearest" });
  const first = form.querySelector("[autofocus], input:not([type=hidden]), select, button");
  first?.focus({ preventScroll: true });
}

// An act that leads back to the list is told here; whatever else, an export in progress or a dataset, is gone to.
async function finish(address, page, action) {
  const toasts = [...page.querySelectorAll("[data-toast]")];
  if (!results() || pathOf(address) !== pathOf(results().dataset.address)) {
    // What is gone for good, as by an erasure, is not selected when the person comes back.
    if (toasts.some((toast) => toast.classList.contains("acted"))) document.dispatchEvent(new CustomEvent("list:acted", { detail: { acted: true } }));
    return location.assign(address);
  }
  document.querySelector(".toasts").append(...toasts.map((toast) => document.adoptNode(toast)));
  dialog.close();
  const acted = toasts.some((toast) => toast.classList.contains("acted"));
  document.dispatchEvent(new CustomEvent("list:acted", { detail: { acted } }));
  const isAway = action.endsWith("/selection/remove");
  await renew(isAway && acted);
}

async function renew(isAway) {
  const drawer = document.querySelector("#drawer:not([hidden])");
  const [address, top] = [listed(), scrollY];
  const loaded = results().querySelectorAll("[data-list] [data-id]").length;
  const answer = await fetch(address).catch(() => null);
  const fresh = answer?.ok && parse(await answer.text()).getElementById("results");
  if (!fresh) return location.reload();
  // Who selected all while the list was on its way means the new one, too.
  const everything = results().querySelector("[data-everything]")?.value;
  results().replaceWith(document.adoptNode(fresh));
  const field = results().querySelector("[data-everything]");
  if (field && everything) field.value = everything;
  window.htmx.process(results());
  document.dispatchEvent(new CustomEvent("list:renewed", { detail: { loaded, top } }));
  if (!drawer) document.getElementById("main").focus({ preventScroll: true });
  else if (isAway) drawer.querySelector("[data-drawer-close]").click();
  else document.dispatchEvent(new CustomEvent("inference:again"));
}

document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  if (event.defaultPrevented) return;
  const isUndo = form.matches(".undo") && results() && pathOf(form.action).includes("/selection/");
  const isSure = shown.contains(form) && results();
  if (!form.matches("[data-acts]") && !isSure && !isUndo) return;
  event.preventDefault();
  if (submitter?.hasAttribute("aria-busy")) return; // it is being done
  const number = ++turn;
  const isAsked = !isSure && !isUndo;
  const name = isSure ? title.textContent : submitter?.textContent.trim() ?? "";
  const sending = send(form, submitter);
  title.textContent = name;
  if (isSure) submitter?.setAttribute("aria-busy", "true");
  if (isUndo) form.closest("[data-toast]").remove();
  if (isAsked) {
    submitter?.closest("[data-menu]")?.removeAttribute("open");
    fill("waiting");
  }
  const answer = await sending;
  if (number === turn || !isAsked) show(answer, name);
});

dialog.addEventListener("close", () => { turn += 1; shown.replaceChildren(); });
dialog.addEventListener("click", (event) => {
  if (!event.target.closest("[data-act-cancel]")) return;
  event.preventDefault();
  dialog.close();
});
