// States that were, for undo and redo. States are values: nobody changes one that was put here.
export class History {
  #past = [];
  #future = [];
  #run = null;

  constructor(state) { this.state = state; }

  get canUndo() { return this.#past.length > 0; }
  get canRedo() { return this.#future.length > 0; }

  // Changes of one run, such as the steps of an arrow key or a drag, are taken back together.
  put(state, run = null) {
    if (run === null || run !== this.#run) this.#past.push(this.state);
    this.#run = run;
    this.#future = [];
    this.state = state;
  }

  undo() { return this.#step(this.#past, this.#future); }
  redo() { return this.#step(this.#future, this.#past); }

  // Takes back what turned out to be nothing, such as a click that drew no box.
  forget() {
    if (this.#past.length) this.state = this.#past.pop();
    this.#run = null;
  }

  #step(from, to) {
    if (!from.length) return false;
    to.push(this.state);
    this.state = from.pop();
    this.#run = null;
    return true;
  }
}
