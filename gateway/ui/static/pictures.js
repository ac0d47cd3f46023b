// Rendered pictures for a stack: what is looked at now first, its neighbours after it, nothing fetched twice.

import { picture } from "./api.js";

const KEPT_BYTES = 96 * 2 ** 20;
const KEPT_PIXELS = (matchMedia("(pointer: coarse)").matches ? 12 : 40) * 2 ** 20;
const AHEAD_AT_ONCE = 3;

/** A picture that is wanted: `key` names it; `resource` and `query` are where it comes from. */
export function wanted(resource, query) {
  return { key: `${resource}?${new URLSearchParams(query)}`, resource, query };
}

/** The pictures of the stack that is open. */
export class Pictures {
  #encoded = new Map(); // key to Blob, least recently used first
  #bytes = 0;
  #renderings = new Map(); // key to text
  #decoded = new Map(); // key to ImageBitmap, least recently used first
  #decoding = new Set(); // keys
  #pixels = 0;
  #loading = new Map(); // key to Promise of a Blob
  #ahead = [];
  #aheadRunning = new Map(); // key to AbortController
  #closed = new AbortController();

  /** The picture if it can be drawn at once. */
  ready(want) {
    const bitmap = this.#decoded.get(want.key);
    if (bitmap) touch(this.#decoded, want.key, bitmap);
    return bitmap;
  }

  /** What the gateway said of a picture that was fetched, by its key. */
  rendering(key) {
    return this.#renderings.get(key) ?? "";
  }

  /** The picture, fetched and decoded if need be. Throws Failure. */
  async load(want) {
    const ready = this.ready(want);
    if (ready) return ready;
    let blob;
    try {
      blob = await this.#blob(want);
    } catch (error) {
      if (error.name !== "AbortError" || this.#closed.signal.aborted) throw error;
      // It was under way as a neighbour and was just given up as one.
      blob = await this.#blob(want);
    }
    return this.#keep(want.key, await createImageBitmap(blob));
  }

  /** Fetches these when there is nothing better to do, in this order; what an earlier call asked for is dropped. */
  prefetch(wants) {
    this.#ahead = wants;
    const still = new Set(wants.map(({ key }) => key));
    for (const [key, controller] of this.#aheadRunning) if (!still.has(key)) controller.abort();
    this.#pump();
  }

  /** Decodes what has been fetched already, so that drawing it takes no time. */
  async decode(wants) {
    for (const want of wants) {
      const blob = this.#encoded.get(want.key);
      if (!blob || this.#decoded.has(want.key) || this.#decoding.has(want.key)) continue;
      this.#decoding.add(want.key);
      const bitmap = await createImageBitmap(blob).finally(() => this.#decoding.delete(want.key));
      if (this.#closed.signal.aborted) return bitmap.close();
      this.#keep(want.key, bitmap);
    }
  }

  /** Frees everything. */
  close() {
    this.#closed.abort();
    this.prefetch([]);
    for (const bitmap of this.#decoded.values()) bitmap.close();
    this.#decoded.clear();
    this.#encoded.clear();
  }

  #blob(want, signal = this.#closed.signal) {
    const kept = this.#encoded.get(want.key);
    if (kept) {
      touch(this.#encoded, want.key, kept);
      return Promise.resolve(kept);
    }
    const underway = this.#loading.get(want.key);
    if (underway) return underway;
    const loading = picture(want.resource, want.query, signal)
      .then((blob) => {
        this.#encoded.set(want.key, blob);
        this.#renderings.set(want.key, blob.rendering);
        this.#bytes += blob.size;
        for (const [key, old] of this.#encoded) {
          if (this.#bytes <= KEPT_BYTES || key === want.key) break;
          this.#encoded.delete(key);
          this.#bytes -= old.size;
        }
        return blob;
      })
      .finally(() => this.#loading.delete(want.key));
    this.#loading.set(want.key, loading);
    return loading;
  }

  #keep(key, bitmap) {
    const known = this.#decoded.get(key);
    if (known && known !== bitmap) {
      bitmap.close();
      return known;
    }
    if (!known) this.#pixels += bitmap.width * bitmap.height;
    touch(this.#decoded, key, bitmap);
    for (const [oldKey, old] of this.#decoded) {
      // The two newest stay whatever their size: one is on the screen, one is about to be.
      if (this.#pixels <= KEPT_PIXELS || this.#decoded.size <= 2 || oldKey === key) break;
      this.#decoded.delete(oldKey);
      this.#pixels -= old.width * old.height;
      old.close();
    }
    return bitmap;
  }

  #pump() {
    while (this.#aheadRunning.size < AHEAD_AT_ONCE && this.#ahead.length && this.#bytes < 0.9 * KEPT_BYTES) {
      const want = this.#ahead.shift();
      if (this.#encoded.has(want.key) || this.#loading.has(want.key)) continue;
      const controller = new AbortController();
      this.#aheadRunning.set(want.key, controller);
      // A neighbour that fails is asked for again, and reported, when it is looked at.
      this.#blob(want, controller.signal).catch(() => {}).finally(() => {
        this.#aheadRunning.delete(want.key);
        this.#pump();
      });
    }
  }
}

function touch(map, key, value) {
  map.delete(key);
  map.set(key, value);
}
