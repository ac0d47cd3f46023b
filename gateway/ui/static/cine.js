// A stack that plays by itself, at a number of pictures a second.

const DEFAULT_RATE = 15;

export class Cine {
  rate = DEFAULT_RATE;
  #strip;
  #ready;
  #next;
  #playing = false;

  /** `ready()` tells whether the picture that is wanted has been shown; `next()` wants the one after it. */
  constructor(strip, { ready, next }) {
    this.#strip = strip;
    this.#ready = ready;
    this.#next = next;
  }

  /** For another stack, at its own rate or the usual one. */
  load(length, rate = DEFAULT_RATE) {
    this.rate = Math.max(1, Math.round(rate));
    this.#strip.showLength(length, this.rate);
  }

  toggle(length) {
    if (this.#playing) return this.stop();
    if (length < 2) return;
    this.#playing = true;
    this.#strip.showPlaying(true);
    let last = performance.now();
    const tick = (now) => {
      if (!this.#playing) return;
      // Waits for a picture that is late rather than leaving it out.
      if (now - last >= 1000 / this.rate - 2 && this.#ready()) {
        last = Math.max(last + 1000 / this.rate, now - 50);
        this.#next();
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  stop() {
    this.#playing = false;
    this.#strip.showPlaying(false);
  }
}
