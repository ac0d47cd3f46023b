// A point that the arrow keys move over the picture, to measure without a pointing device.

import { shape } from "./dom.js";

const STEP = 10; // CSS pixels
const FINE = 1;
const HELP = "Arrow keys move the point, with Shift by single pixels; Enter sets it, Escape ends";

export class Caret {
  #screen;
  #ruler;
  #at = null; // CSS pixels of the screen
  #drawing = false;
  #cross = shape("path", { class: "caret", d: "M-12 0H-3M3 0H12M0-12V-3M0 3V12" });

  constructor(screen) {
    this.#screen = screen;
    this.#ruler = screen.ruler;
  }

  /** Shows the point in the middle of the screen; where it is there, it becomes an end of a line. */
  press() {
    if (!this.#at) {
      const { clientWidth, clientHeight } = this.#screen.element;
      this.#at = { x: clientWidth / 2, y: clientHeight / 2 };
      this.#screen.tell(HELP);
    } else if (this.#drawing) {
      this.#ruler.end();
      this.#drawing = false;
    } else {
      this.#ruler.start(this.#at);
      this.#drawing = true;
      this.#screen.tell("The line starts here");
    }
    this.#show();
  }

  /** Takes the point away, with a line that has only one end. */
  hide() {
    if (!this.#at) return;
    if (this.#drawing) this.#ruler.cancel();
    this.#drawing = false;
    this.#at = null;
    this.#show();
  }

  /** Keys that are the point's own while it is there. */
  get keys() {
    if (!this.#at) return {};
    const moves = [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]];
    return {
      ...Object.fromEntries(moves.map(([key, right, down]) => [key, () => this.#move(right * STEP, down * STEP)])),
      ...Object.fromEntries(moves.map(([key, right, down]) => [`Shift+${key}`, () => this.#move(right * FINE, down * FINE)])),
      Escape: () => this.hide(),
    };
  }

  #move(right, down) {
    const { clientWidth, clientHeight } = this.#screen.element;
    this.#at = { x: Math.min(clientWidth, Math.max(0, this.#at.x + right)), y: Math.min(clientHeight, Math.max(0, this.#at.y + down)) };
    if (this.#drawing) this.#ruler.drag(this.#at);
    this.#show();
  }

  #show() {
    if (this.#at) this.#cross.setAttribute("transform", `translate(${this.#at.x} ${this.#at.y})`);
    this.#ruler.over(this.#at ? this.#cross : null);
  }
}
