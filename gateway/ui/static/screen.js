// What one looks at: the canvas with its picture, words in the corners, letters at the edges, and what stands in their place.

import { fill, h, icon } from "./dom.js";
import { Ruler } from "./ruler.js";
import { Surface } from "./surface.js";

const CORNERS = ["who", "what", "where", "how"];
const EDGES = ["left", "right", "top", "bottom"];

export class Screen {
  #canvas = h("canvas", { role: "img", "aria-label": "No picture yet" });
  #corners = Object.fromEntries(CORNERS.map((name) => [name, h("div", { class: `corner ${name}` })]));
  #edges = Object.fromEntries(EDGES.map((name) => [name, h("span", { class: `edge ${name}`, "aria-hidden": "true" })]));
  #instead = h("div", { class: "instead", hidden: true });
  #told = h("p", { class: "unseen", role: "status" });

  /** `measured` is called with words about the last measurement, and whether there are any. */
  constructor(measured) {
    this.surface = new Surface(this.#canvas, () => this.ruler?.draw());
    this.ruler = new Ruler(this.surface, (words, any) => {
      this.tell(words);
      measured(any);
    });
    this.element = h("div", { class: "screen", tabindex: "0", role: "group", "aria-label": "Picture; arrow keys go through the images" },
      this.#canvas, this.ruler.element, Object.values(this.#corners), Object.values(this.#edges), this.ruler.bar,
      h("span", { class: "loading", "aria-hidden": "true" }), this.#instead, this.#told);
  }

  focus() {
    this.element.focus({ preventScroll: true });
  }

  /** Puts a bitmap on the canvas in place of whatever was there; null makes it dark. */
  show(bitmap, name = "No picture") {
    this.#instead.hidden = true;
    this.surface.show(bitmap);
    this.#canvas.setAttribute("aria-label", name);
  }

  /** Says in the document which picture is shown, by its place from 1 on, or that it is "none". */
  mark(shown) {
    this.element.dataset.shown = String(shown);
  }

  /** Whether what is shown is not what is wanted. */
  set late(value) {
    this.element.classList.toggle("late", value);
  }

  /** Shows lines of text in place of a picture. */
  say(symbol, title, note, ...more) {
    fill(this.#instead, icon(symbol), h("p", { class: "title" }, title), h("p", { class: "muted" }, note), ...more);
    this.#instead.hidden = false;
  }

  /** Takes away what `say` put there. */
  unsay() {
    this.#instead.hidden = true;
  }

  /** Whether there is a picture or document, and no text in its place. */
  get clear() {
    return this.#instead.hidden;
  }

  /** Tells something to who cannot see the screen. */
  tell(words) {
    this.#told.textContent = words;
  }

  /** Lines for a corner: "who", "what", "where" or "how". */
  write(corner, lines) {
    fill(this.#corners[corner], lines.filter(Boolean).map((line) => h("span", { dir: "auto" }, line)));
  }

  /** Letters for what lies at the edges, `{left, right, top, bottom}`; null for none. */
  letter(letters) {
    for (const name of EDGES) this.#edges[name].textContent = letters?.[name] ?? "";
  }

  /** Dark, and without a word. */
  clean() {
    this.show(null, "No picture yet");
    this.letter(null);
    for (const name of CORNERS) this.write(name, []);
    delete this.element.dataset.shown;
  }
}
