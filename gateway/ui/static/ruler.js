// Distances measured on the picture, and the bar that tells its scale. Lines belong to the picture they were drawn on.

import { fill, h, shape } from "./dom.js";
import { distance, millimetres, roundLength, spacingAt } from "./spacing.js";

const SHORTEST = 4; // CSS pixels; a shorter drag draws nothing
const BAR = 0.22; // of the width of the screen, at most

/** What lies over the canvas: `element` for the lines, `bar` for the scale. Points are parts of the picture's width and height. */
export class Ruler {
  element = shape("svg", { class: "lines", "aria-hidden": "true" });
  #length = h("span", { class: "scale-length" });
  #name = h("span");
  bar = h("div", { class: "scale", hidden: true }, this.#name, this.#length);
  #surface;
  #changed;
  #lines = new Map(); // picture to lines
  #drawing = null;
  #picture = null;
  #ds = null;
  #over = null;

  /** `changed` is called with what there is to tell of the measurement, and whether there are any lines. */
  constructor(surface, changed) {
    this.#surface = surface;
    this.#changed = changed;
  }

  /** What is on the screen now: one of a stack's pictures, and the attributes of its instance as far as they are known. */
  show(picture, ds) {
    this.#picture = picture;
    this.#ds = ds;
    this.draw();
  }

  start(at) {
    const point = this.#surface.inPicture(at);
    this.#drawing = point && this.#picture && { from: point, to: point, screen: at };
  }

  drag(at) {
    if (!this.#drawing) return;
    this.#drawing.to = this.#surface.inPicture(at) ?? this.#drawing.to;
    this.#drawing.far = Math.hypot(at.x - this.#drawing.screen.x, at.y - this.#drawing.screen.y) >= SHORTEST;
    this.draw();
  }

  end() {
    const line = this.#drawing;
    this.#drawing = null;
    if (line?.far) {
      const lines = this.#lines.get(this.#picture) ?? [];
      this.#lines.set(this.#picture, [...lines, line]);
      this.#changed(`Distance ${this.#told(line)}`, true);
    }
    this.draw();
  }

  /** Gives up the line that is being drawn. */
  cancel() {
    this.#drawing = null;
    this.draw();
  }

  /** Shows one more element over the lines; null for none. */
  over(element) {
    this.#over = element;
    this.draw();
  }

  /** Forgets all lines. */
  clear() {
    const had = this.#lines.size > 0;
    this.#lines.clear();
    this.#drawing = null;
    if (had) this.#changed("Measurements removed", false);
    this.draw();
  }

  /** Puts everything where it belongs after the picture moved. */
  draw() {
    const lines = [...(this.#lines.get(this.#picture) ?? []), ...(this.#drawing?.far ? [this.#drawing] : [])];
    fill(this.element, this.#surface.size && [...lines.map((line) => this.#line(line)), this.#over]);
    this.#drawBar();
  }

  #told(line) {
    const [from, to] = [this.#inPixels(line.from), this.#inPixels(line.to)];
    const spacing = this.#ds && spacingAt(this.#ds, this.#picture.frame, from);
    if (!spacing) return `${Math.hypot(from.x - to.x, from.y - to.y).toFixed(0)} pixels`;
    return [millimetres(distance(from, to, spacing)), spacing.note].filter(Boolean).join(" ");
  }

  #inPixels({ x, y }) {
    return { x: x * (this.#picture.columns || this.#surface.size.width), y: y * (this.#picture.rows || this.#surface.size.height) };
  }

  #line(line) {
    const [from, to] = [this.#surface.onScreen(line.from), this.#surface.onScreen(line.to)];
    const ends = { x1: from.x, y1: from.y, x2: to.x, y2: to.y };
    const right = from.x > to.x ? from : to;
    const tick = ({ x, y }) => shape("circle", { cx: x, cy: y, r: 3 });
    return shape("g", {}, shape("line", { ...ends, class: "under" }), shape("line", ends), tick(from), tick(to),
      shape("text", { x: right.x + 8, y: right.y + 4 }, this.#told(line)));
  }

  #drawBar() {
    const size = this.#surface.size;
    const spacing = size && this.#ds && this.#picture && spacingAt(this.#ds, this.#picture.frame, this.#inPixels({ x: 0.5, y: 0.5 }));
    this.bar.hidden = !spacing;
    if (!spacing) return;
    // Along the screen lie the columns of the picture, or its rows when it is turned.
    const millimetresOfPixel = this.#surface.turns % 2 ? (spacing.down * (this.#picture.rows || size.height)) / size.height : (spacing.across * (this.#picture.columns || size.width)) / size.width;
    const pixelsPerMillimetre = this.#surface.scale / devicePixelRatio / millimetresOfPixel;
    const { length, name } = roundLength((BAR * this.element.clientWidth) / pixelsPerMillimetre || 1);
    this.#length.style.width = `${length * pixelsPerMillimetre}px`;
    fill(this.#name, [name, spacing.note].filter(Boolean).join(" "));
  }
}
