// The canvas: draws one picture, placed by zoom, pan, quarter turns and mirroring. It knows nothing of series or servers.

const NEAREST = 0.1;
const CLOSEST = 20;

/** A canvas that shows a bitmap. `zoom` 1 fits the picture into the canvas; `painted` is called after each drawing. */
export class Surface {
  zoom = 1;
  turns = 0; // quarter turns clockwise, after the mirroring
  mirrored = false; // left and right of the picture exchanged
  #panX = 0;
  #panY = 0;
  #bitmap = null;
  #inverted = false;
  #canvas;
  #context;
  #painted;
  #queued = false;

  constructor(canvas, painted = () => {}) {
    this.#canvas = canvas;
    this.#painted = painted;
    this.#context = canvas.getContext("2d", { alpha: false });
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Screen pixels of the device for one pixel of the picture. */
  get scale() {
    return this.#bitmap ? this.#fitted() * this.zoom : 1;
  }

  /** Width and height of the picture, or null when there is none. A bitmap that was freed has no size. */
  get size() {
    return this.#bitmap?.width ? { width: this.#bitmap.width, height: this.#bitmap.height } : null;
  }

  get inverted() {
    return this.#inverted;
  }

  set inverted(value) {
    this.#inverted = value;
    this.draw();
  }

  show(bitmap) {
    this.#bitmap = bitmap;
    this.draw();
  }

  /** The whole picture, as large as it fits. */
  fit() {
    this.zoom = 1;
    this.#panX = this.#panY = 0;
    this.draw();
  }

  /** Fitted, upright and not mirrored. */
  reset() {
    this.turns = 0;
    this.mirrored = false;
    this.fit();
  }

  /** A quarter turn clockwise about the middle of the screen. */
  turn() {
    this.turns = (this.turns + 1) % 4;
    [this.#panX, this.#panY] = [-this.#panY, this.#panX];
    this.draw();
  }

  /** Exchanges left and right of the screen, or top and bottom. */
  flip({ upsideDown = false } = {}) {
    this.turns = ((upsideDown ? 6 : 4) - this.turns) % 4;
    this.mirrored = !this.mirrored;
    if (upsideDown) this.#panY = -this.#panY;
    else this.#panX = -this.#panX;
    this.draw();
  }

  pan(right, down) {
    this.#panX += right * devicePixelRatio;
    this.#panY += down * devicePixelRatio;
    this.draw();
  }

  /** Zooms by `factor` so that the point (x, y), in CSS pixels of the canvas, stays where it is. */
  zoomBy(factor, x = this.#canvas.clientWidth / 2, y = this.#canvas.clientHeight / 2) {
    const zoom = Math.min(CLOSEST, Math.max(NEAREST, this.zoom * factor));
    const real = zoom / this.zoom;
    const fromCentreX = x * devicePixelRatio - this.#canvas.width / 2;
    const fromCentreY = y * devicePixelRatio - this.#canvas.height / 2;
    this.#panX = fromCentreX - (fromCentreX - this.#panX) * real;
    this.#panY = fromCentreY - (fromCentreY - this.#panY) * real;
    this.zoom = zoom;
    this.draw();
  }

  /** Where a point of the canvas, in CSS pixels, is in the picture, as parts of its width and height. */
  inPicture({ x, y }) {
    if (!this.size) return null;
    const point = this.#placement().inverse().transformPoint({ x: x * devicePixelRatio, y: y * devicePixelRatio });
    return { x: point.x / this.#bitmap.width, y: point.y / this.#bitmap.height };
  }

  /** Where a point of the picture, in parts of its width and height, is on the canvas, in CSS pixels. */
  onScreen({ x, y }) {
    if (!this.size) return null;
    const point = this.#placement().transformPoint({ x: x * this.#bitmap.width, y: y * this.#bitmap.height });
    return { x: point.x / devicePixelRatio, y: point.y / devicePixelRatio };
  }

  /** Draws before the next paint of the browser. */
  draw() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.#paint();
    });
  }

  #fitted() {
    const { width, height } = this.#bitmap;
    const [across, down] = this.turns % 2 ? [height, width] : [width, height];
    return Math.min(this.#canvas.width / across, this.#canvas.height / down);
  }

  /** From pixels of the picture to pixels of the canvas. */
  #placement() {
    const { width, height } = this.#canvas;
    return new DOMMatrix()
      .translate(width / 2 + this.#panX, height / 2 + this.#panY)
      .rotate(90 * this.turns)
      .scale(this.scale * (this.mirrored ? -1 : 1), this.scale)
      .translate(-this.#bitmap.width / 2, -this.#bitmap.height / 2);
  }

  #resize() {
    const width = Math.round(this.#canvas.clientWidth * devicePixelRatio);
    const height = Math.round(this.#canvas.clientHeight * devicePixelRatio);
    if (!width || !height || (width === this.#canvas.width && height === this.#canvas.height)) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#paint();
  }

  #paint() {
    const { width, height } = this.#canvas;
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalCompositeOperation = "source-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (this.size) {
      context.setTransform(this.#placement());
      // Beyond eight times, the pixels themselves are what one wants to see.
      context.imageSmoothingEnabled = this.scale < 8;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.#bitmap, 0, 0);
      if (this.#inverted) {
        context.globalCompositeOperation = "difference";
        context.fillStyle = "#fff";
        context.fillRect(0, 0, this.#bitmap.width, this.#bitmap.height);
      }
    }
    this.#painted();
  }
}
