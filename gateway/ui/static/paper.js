// The document or film that is on the screen in place of a picture, if there is one.

import { openDocument } from "./documents.js";

export class Paper {
  #screen;
  #held = null; // {closed, free, element}

  constructor(screen) {
    this.#screen = screen;
  }

  get open() {
    return this.#held !== null;
  }

  /**
   * Puts a document of an instance on the screen, in place of the one that was there: true once it is, false when another
   * one was asked for meanwhile. `broken` is called when the browser cannot play it. Throws Failure.
   */
  async put(kind, instance, broken) {
    this.close();
    const held = (this.#held = { closed: new AbortController(), free: () => {} });
    try {
      const opened = await openDocument(kind, instance, held.closed.signal);
      if (held !== this.#held) {
        opened.free();
        return false;
      }
      Object.assign(held, opened);
      this.#screen.append(opened.element);
      opened.element.addEventListener("error", () => held === this.#held && broken());
      return true;
    } catch (error) {
      if (held !== this.#held) return false;
      throw error;
    }
  }

  close() {
    this.#held?.closed.abort();
    this.#held?.element?.remove();
    this.#held?.free();
    this.#held = null;
  }
}
