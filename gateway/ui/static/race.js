// Pictures on their way to the screen: the newest that is wanted may overtake a slow one, and never the other way round.

const AT_ONCE = 2; // requests under way for the picture that is wanted now

export class Race {
  #pictures;
  #underway = new Set();
  #failed = new Map();
  #asked = 0;
  #drawn = 0;
  #closed = false;

  constructor(pictures) {
    this.#pictures = pictures;
  }

  /** What is wanted now is on the screen: all that is under way comes too late. */
  settle() {
    this.#drawn = ++this.#asked;
  }

  /** Fetches a picture; `arrived` is called with it unless a newer one came first, and `over` in any case. */
  run(want, arrived, over) {
    if (this.#underway.has(want.key) || this.#underway.size >= AT_ONCE) return;
    this.#underway.add(want.key);
    const turn = ++this.#asked;
    this.#pictures
      .load(want)
      .then((bitmap) => {
        if (this.#closed || turn <= this.#drawn) return;
        this.#drawn = turn;
        arrived(bitmap);
      })
      .catch((error) => {
        if (!this.#closed) this.#failed.set(want.key, error);
      })
      .finally(() => {
        if (this.#closed) return;
        this.#underway.delete(want.key);
        over();
      });
  }

  /** Why a picture could not be had, or undefined. */
  failure(key) {
    return this.#failed.get(key);
  }

  /** The next time it is asked for again. */
  forgive(key) {
    this.#failed.delete(key);
  }

  close() {
    this.#closed = true;
  }
}
