// Pages of which a script shows a part in its own, some of them loaded before they are asked for.
// It is only imported, never named by a page.
export const absolute = (address) => new URL(address, location.href).href;

export class Ahead {
  #readings = new Map(); // address: the promise of its part

  // `selector` finds the part of a page that is shown, `most` is how many pages are kept.
  constructor(selector, most) { [this.selector, this.most] = [selector, most]; }

  // Asks for a page: its part, which may be missing, and the address that answered. Errors reject.
  async read(address, options = {}) {
    const answer = await fetch(address, { ...options, headers: { "HX-Request": "true" } });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return { part: page.querySelector(this.selector), address: answer.url };
  }

  // Reads the page of a link, and the picture on it, if there is a link.
  load(link) {
    const address = link && absolute(link.href);
    if (!address || this.#readings.has(address)) return;
    const reading = this.read(address).then((page) => {
      const source = page.part?.querySelector("[data-viewer] img")?.getAttribute("src");
      if (source) new Image().src = source;
      return page;
    });
    reading.catch(() => this.#readings.delete(address));
    this.#readings.set(address, reading);
    if (this.#readings.size > this.most) this.#readings.delete(this.#readings.keys().next().value);
  }

  // The page that was loaded, once, for its part goes into the document; else it is asked for now.
  take(address) {
    const reading = this.#readings.get(address) ?? this.read(address);
    this.#readings.delete(address);
    return reading;
  }

  clear() { this.#readings.clear(); }
}
