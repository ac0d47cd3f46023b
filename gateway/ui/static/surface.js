// The canvas: draws one picture, placed by zoom and pan. It knows nothing of series or servers.

const NEAREST = 0.1;
const CLOSEST = 20;

/** A canvas that shows a bitmap. `zoom` 1 fits the picture into the canvas. */
export class Surface {
  zoom = 1;
  #panX = 0;
  #panY = 0;
  #bitmap = null;
  #inverted = false;
  #canvas;
  #context;
  #queued = false;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Screen pixels of the device for one pixel of the picture. */
  get scale() {
    return this.#bitmap ? this.#fitted() * this.zoom : 1;
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

  reset() {
    this.zoom = 1;
    this.#panX = this.#panY = 0;
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
    return Math.min(this.#canvas.width / this.#bitmap.width, this.#canvas.height / this.#bitmap.height);
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
    // A bitmap that was freed has no size.
    if (!this.#bitmap?.width) return;
    const scale = this.scale;
    const [w, h] = [this.#bitmap.width * scale, this.#bitmap.height * scale];
    const [left, top] = [(width - w) / 2 + this.#panX, (height - h) / 2 + this.#panY];
    // Beyond eight times, the pixels themselves are what one wants to see.
    context.imageSmoothingEnabled = scale < 8;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#bitmap, left, top, w, h);
    if (!this.#inverted) return;
    context.globalCompositeOperation = "difference";
    context.fillStyle = "#fff";
    context.fillRect(left, top, w, h);
  }
}
