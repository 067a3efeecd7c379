// Asks before a link, a key or another form leaves work that is not saved. `isUnsaved` says
// whether there is any, `said` are the words, `left` hears that it is left, `form` saves it.
export function guard({ form, said, stay, isUnsaved, left, signal }) {
  function leave(onward, address) {
    const answer = (given) => given.then((word) => {
      if (word === "yes") { left(); onward(); }
      if (word === "instead") {
        if (address && form.elements.onward) form.elements.onward.value = address;
        form.requestSubmit(form.querySelector(".primary"));
      }
    });
    const detail = { said, yes: "Leave without saving", instead: "Save them", no: stay, answer };
    document.dispatchEvent(new CustomEvent("ask", { detail }));
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || !isUnsaved() || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || link.target === "_blank" || link.hasAttribute("download")) return;
    const to = new URL(link.getAttribute("href"), location.href);
    if (to.href.split("#")[0] === location.href.split("#")[0] && to.hash) return;
    event.preventDefault();
    event.stopPropagation();
    const click = new MouseEvent("click", { bubbles: true, cancelable: true, detail: event.detail });
    leave(() => link.dispatchEvent(click), to.pathname + to.search); // links of drawings have no click()
  }, { capture: true, signal });

  document.addEventListener("submit", (event) => {
    if (event.target === form || !isUnsaved()) return;
    event.preventDefault();
    event.stopPropagation();
    const [other, pressed] = [event.target, event.submitter];
    leave(() => other.requestSubmit(pressed));
  }, { capture: true, signal });

  document.addEventListener("inference:leaving", (event) => {
    if (!isUnsaved()) return;
    event.preventDefault();
    leave(event.detail.onward);
  }, { signal });

  // The browser's own question: before a tab is closed or Back is pressed no page can ask itself.
  window.addEventListener("beforeunload", (event) => { if (isUnsaved()) event.preventDefault(); }, { signal });
}
