// The window that grey levels are shown in: as stored, one of a list, or what a drag made of it.

import { dragged, hasGreyLevels, shownWindow, startingWindow, windowParameter, windowsFor } from "./windows.js";

export class Greys {
  list = []; // windows on offer
  #chosen = null; // null: as stored
  #from = null; // where a drag began
  #modality = "";

  /** Forgets everything; the next images are of this modality. */
  clear(modality = "") {
    this.list = [];
    this.#chosen = this.#from = null;
    this.#modality = modality;
  }

  /** Takes note of an image's attributes; whether it has grey levels at all. */
  describe(ds, frame) {
    const grey = hasGreyLevels(ds);
    this.list = grey ? windowsFor(ds, this.#modality, frame) : [];
    return grey;
  }

  /** A window of the list by its place in it, or null for the window as stored. */
  choose(place) {
    const window = place === null ? null : this.list[place];
    if (window === undefined) return false;
    this.#chosen = window && { center: window.center, width: window.width };
    return true;
  }

  get dragging() {
    return this.#from !== null;
  }

  /** Begins a drag on an image that is shown as `rendering` says. */
  start(ds, frame, rendering) {
    if (hasGreyLevels(ds)) this.#from = this.#chosen ?? shownWindow(rendering) ?? startingWindow(ds, this.#modality, frame);
  }

  /** The window after a drag by so many pixels; whether it changed. */
  drag(right, down) {
    if (!this.#from || Math.hypot(right, down) < 3) return false;
    this.#chosen = dragged(this.#from, right, down);
    return true;
  }

  end() {
    this.#from = null;
  }

  /** For the request: `{window}`, or nothing for the window as stored. */
  get query() {
    return this.#chosen ? { window: windowParameter(this.#chosen) } : {};
  }

  /** What the screen tells of a picture that is shown as `rendering` says; "" for colour and LUTs. */
  words(rendering) {
    const as = this.#chosen ?? shownWindow(rendering);
    if (!as) return "";
    // Without a window of its own, an image is shown from its lowest to its highest value.
    const note = !this.#chosen && as.source === "computed" ? "  full range" : "";
    return `L ${readable(as.center)}  W ${readable(as.width)}${note}`;
  }

  /** The list's own value for the window that is chosen. */
  get place() {
    if (!this.#chosen) return "";
    const place = this.list.findIndex(({ center, width }) => center === this.#chosen.center && width === this.#chosen.width);
    return place >= 0 ? String(place) : "own";
  }
}

function readable(value) {
  return String(Number(value.toPrecision(6)));
}
