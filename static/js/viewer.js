// The large picture: zoom with the wheel, buttons or keys, pan by dragging, layers on and off; and
// the form of the metadata beside it.
const MOST = 16;
const PREVIEW = 1280; // pixels a side
function attach(root) {
  const stage = root.querySelector("[data-viewer]");
  const frame = stage?.querySelector("[data-frame]");
  const tools = root.querySelector("[data-viewer-tools]");
  if (!frame) return;
  const place = { scale: 1, x: 0, y: 0 };

  function look() {
    frame.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.scale})`;
    stage.classList.toggle("zoomed", place.scale > 1);
    tools.querySelector("[data-zoom-said]").value = `${Math.round(100 * place.scale)} %`;
  }

  // The picture as it was stored has more to show than its preview.
  function sharpen() {
    const image = frame.querySelector("img");
    if (!stage.dataset.full || image.dataset.sharp) return;
    image.dataset.sharp = "";
    const full = new Image();
    full.onload = () => { image.removeAttribute("srcset"); image.src = full.src; };
    full.src = stage.dataset.full;
  }

  function zoom(factor, x = 0, y = 0) {
    const scale = Math.min(Math.max(place.scale * factor, 1), MOST);
    const by = scale / place.scale;
    // What lies under the pointer stays there; x and y are from the middle of the stage.
    place.x = scale === 1 ? 0 : x - (x - place.x) * by;
    place.y = scale === 1 ? 0 : y - (y - place.y) * by;
    place.scale = scale;
    if (scale > 1.4) sharpen();
    look();
  }

  function pan(event) {
    const start = { x: event.clientX - place.x, y: event.clientY - place.y };
    stage.setPointerCapture(event.pointerId);
    const move = (one) => { place.x = one.clientX - start.x; place.y = one.clientY - start.y; look(); };
    stage.addEventListener("pointermove", move);
    stage.addEventListener("pointerup", () => stage.removeEventListener("pointermove", move), { once: true });
  }

  tools.hidden = false;
  if (frame.clientWidth * devicePixelRatio > 1.2 * PREVIEW) sharpen();
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    zoom(event.deltaY < 0 ? 1.25 : 0.8, x, y);
  }, { passive: false });
  // While shapes are drawn, the picture is moved with Alt or with the middle button.
  stage.addEventListener("pointerdown", (event) => {
    const isDrawn = stage.classList.contains("correcting");
    const isMeant = event.button === 1 || (event.button === 0 && (!isDrawn || event.altKey));
    if (isMeant && place.scale > 1) { event.preventDefault(); pan(event); }
  });
  // What lies under the pointer is said at once, also where shapes are drawn over it.
  const said = tools.querySelector("[data-hover-said]");
  stage.addEventListener("pointermove", (event) => {
    const under = document.elementsFromPoint(event.clientX, event.clientY).find((one) => one.matches(".shape .line"));
    said.value = under?.querySelector("title")?.textContent ?? "";
  });
  stage.addEventListener("pointerleave", () => { said.value = ""; });
  stage.addEventListener("dblclick", () => { if (!stage.classList.contains("correcting")) zoom(place.scale > 1 ? 1 / MOST : 2.5); });
  tools.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    if (button) zoom({ in: 1.5, out: 1 / 1.5, fit: 1 / MOST }[button.dataset.zoom]);
  });
  const showLayer = (box) => {
    for (const each of frame.querySelectorAll(`[data-${box.dataset.show}]`)) each.classList.toggle("off", !box.checked);
  };
  const showVerdicts = (box) => frame.classList.toggle("judged", box.checked);
  tools.addEventListener("change", (event) => {
    if ("verdicts" in event.target.dataset) showVerdicts(event.target);
    else showLayer(event.target);
  });
  tools.querySelectorAll("[data-show]").forEach(showLayer); // a reload gives the boxes back as they were left
  tools.querySelectorAll("[data-verdicts]").forEach(showVerdicts);
}
document.addEventListener("inference:shown", (event) => attach(event.target));
attach(document);

// A key that is there brings its type and value into the form that changes it.
function bringValue(input) {
  if (input.id !== "meta-key") return;
  const known = [...document.querySelectorAll("#meta-keys option")].find((one) => one.value === input.value);
  if (!known) return;
  document.getElementById("meta-type").value = known.dataset.type;
  document.getElementById("meta-value").value = known.dataset.value;
}
document.addEventListener("input", (event) => { if (event.target.closest("[data-metadata-form]")) bringValue(event.target); });
bringValue(document.activeElement); // a key that was typed before this module had run
