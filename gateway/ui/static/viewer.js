// The viewer: one stack, one picture of it on the screen, and the tools that change what is seen.

import { strip, toolbar } from "./controls.js";
import { TAG, edges, kindOf, number, numbers, turnedEdges, values } from "./dicom.js";
import { openDocument } from "./documents.js";
import { fill, h, icon, settled } from "./dom.js";
import { downloadInstance } from "./download.js";
import { gestures } from "./gestures.js";
import { Pictures, wanted } from "./pictures.js";
import { Ruler } from "./ruler.js";
import { Surface } from "./surface.js";
import { dragged, hasGreyLevels, shownWindow, startingWindow, windowParameter, windowsFor } from "./windows.js";

const LARGEST = 2048; // pixels on a side that are fetched before the user zooms in
const AHEAD = 400; // pictures fetched around the one that is shown
const DECODED_AROUND = 6;
const DECODED_NEXT = 4; // on the way the user is going, while the user is going
const AT_ONCE = 2; // requests under way for the picture that is wanted now: the newest may overtake a slow one
const DEFAULT_RATE = 15; // pictures a second

export class Viewer {
  #canvas = h("canvas", { role: "img", "aria-label": "No picture yet" });
  #corners = { who: corner("who"), what: corner("what"), where: corner("where"), how: corner("how") };
  #edges = { left: edge("left"), right: edge("right"), top: edge("top"), bottom: edge("bottom") };
  #instead = h("div", { class: "instead", hidden: true });
  #told = h("p", { class: "unseen", role: "status" });
  #surface = new Surface(this.#canvas, () => this.#ruler?.draw());
  #ruler = new Ruler(this.#surface, (words, any) => this.#showMeasured(words, any));
  #screen = h("div", { class: "screen", tabindex: "0", role: "group", "aria-label": "Picture; arrow keys go through the images" },
    this.#canvas, this.#ruler.element, Object.values(this.#corners), Object.values(this.#edges), this.#ruler.bar,
    h("span", { class: "loading", "aria-hidden": "true" }), this.#instead, this.#told);
  #tools;
  #strip;
  #tool = matchMedia("(pointer: coarse)").matches ? "scroll" : "window";

  #stack = null;
  #pictures = null;
  #modality = "";
  #index = 0; // the picture that is wanted
  #shown = { index: -1, key: "" }; // the picture that is on the screen
  #direction = 1;
  #window = null; // null: as stored
  #dragFrom = null;
  #windows = [];
  #description = null;
  #letters = null; // directions in the patient at the edges of the picture as it is stored
  #document = null; // the document that is on the screen in place of a picture
  #full = false; // whether large pictures are fetched in full
  #chasing = new Set();
  #asked = 0;
  #drawn = 0;
  #failed = new Map();
  #playing = false;
  #rate = DEFAULT_RATE;

  constructor() {
    this.#tools = toolbar({
      choose: (tool) => (this.#tool = tool),
      preset: (value) => this.setPreset(value === "" ? null : this.#windows[Number(value)]),
      invert: () => this.invert(),
      erase: () => this.erase(),
      turn: () => this.turn(),
      flip: () => this.flip(),
      reset: () => this.reset(),
      download: () => this.download(),
    });
    this.#strip = strip({ play: () => this.play(), go: (index) => this.go(index), speed: (rate) => (this.#rate = rate) });
    this.#tools.showTool(this.#tool);
    gestures(this.#screen, {
      tool: () => this.#tool,
      scroll: (steps) => this.step(steps),
      windowStart: () => this.#startWindow(),
      windowDrag: (right, down) => this.#dragWindow(right, down),
      windowEnd: () => this.#endWindow(),
      measureStart: (at) => this.#ruler.start(at),
      measureDrag: (at) => this.#ruler.drag(at),
      measureEnd: () => this.#ruler.end(),
      pan: (right, down) => this.#surface.pan(right, down),
      zoom: (factor, x, y) => this.zoom(factor, x, y),
      reset: () => this.fit(),
    });
    this.element = h("section", { class: "viewer", "aria-label": "Viewer" }, this.#tools.element, this.#screen, this.#strip.element);
  }

  /** Keys, by their names; see StudyPage. */
  get keys() {
    return {
      ArrowDown: () => this.step(1), ArrowRight: () => this.step(1), ArrowUp: () => this.step(-1), ArrowLeft: () => this.step(-1),
      PageDown: () => this.step(10), PageUp: () => this.step(-10), Home: () => this.first(), End: () => this.last(),
      "Shift+ArrowUp": () => this.changeWindow(0, -10), "Shift+ArrowDown": () => this.changeWindow(0, 10),
      "Shift+ArrowLeft": () => this.changeWindow(-10, 0), "Shift+ArrowRight": () => this.changeWindow(10, 0),
      "Control+ArrowUp": () => this.#surface.pan(0, 40), "Control+ArrowDown": () => this.#surface.pan(0, -40),
      "Control+ArrowLeft": () => this.#surface.pan(40, 0), "Control+ArrowRight": () => this.#surface.pan(-40, 0),
      "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(0.8), f: () => this.fit(), r: () => this.reset(),
      i: () => this.invert(), t: () => this.turn(), h: () => this.flip(), v: () => this.flip({ upsideDown: true }),
      w: () => this.choose("window"), s: () => this.choose("scroll"), p: () => this.choose("pan"), z: () => this.choose("zoom"), m: () => this.choose("measure"),
      " ": () => this.play(), 0: () => this.setPreset(null), Delete: () => this.erase(),
      ...Object.fromEntries(Array.from({ length: 9 }, (_, place) => [String(place + 1), () => this.presetAt(place)])),
    };
  }

  /** Shows a stack from its first picture on. `who` and `what` are lines of text for the corners. */
  open(stack, { modality, who, what }) {
    this.close();
    this.#stack = stack;
    this.#pictures = new Pictures();
    this.#modality = modality;
    corners(this.#corners.who, who);
    corners(this.#corners.what, what);
    this.#strip.showLength(stack.length, DEFAULT_RATE);
    this.#rate = DEFAULT_RATE;
    this.#tools.showWindows([], true);
    this.#tools.showUse(true);
    this.#surface.reset();
    this.#surface.inverted = false;
    this.#tools.showInverted(false);
    if (stack.length === 0) this.say("none", "This series is empty", "Its objects may have been deleted.");
    this.go(0);
    this.#describe();
  }

  /** Stops and forgets the stack; the screen goes dark. */
  close() {
    this.#stop();
    this.#pictures?.close();
    this.#closeDocument();
    this.#ruler.clear();
    this.#ruler.show(null, null);
    this.#pictures = this.#stack = this.#window = this.#description = this.#dragFrom = null;
    this.#windows = [];
    this.#letters = null;
    this.#shown = { index: -1, key: "" };
    this.#index = 0;
    this.#direction = 1;
    this.#full = false;
    this.#chasing.clear();
    this.#failed.clear();
    this.#surface.show(null);
    this.#instead.hidden = true;
    this.#showEdges();
    for (const text of Object.values(this.#corners)) fill(text);
    delete this.#screen.dataset.shown;
  }

  focus() {
    this.#screen.focus({ preventScroll: true });
  }

  /** Shows a line of text in place of a picture. */
  say(symbol, title, note, ...more) {
    fill(this.#instead, icon(symbol), h("p", { class: "title" }, title), h("p", { class: "muted" }, note), ...more);
    this.#instead.hidden = false;
  }

  go(index) {
    if (!this.#stack?.length) return;
    const next = Math.min(this.#stack.length - 1, Math.max(0, index));
    if (next !== this.#index) this.#direction = Math.sign(next - this.#index);
    this.#index = next;
    this.#strip.showPosition(next, this.#stack.length);
    this.#chase();
  }

  step(steps) {
    this.#stop();
    this.go(this.#index + steps);
  }

  first() {
    this.step(-this.#index);
  }

  last() {
    this.step(this.#stack ? this.#stack.length : 0);
  }

  zoom(factor, x, y) {
    this.#surface.zoomBy(factor, x, y);
    this.#showHow();
    if (!this.#full && this.#stack?.length && this.#isLarge() && this.#surface.scale > 1) {
      this.#full = true;
      this.#chase();
    }
  }

  fit() {
    this.#surface.fit();
    this.#showHow();
  }

  /** A quarter turn clockwise. */
  turn() {
    this.#surface.turn();
    this.#showEdges();
    this.#showHow();
  }

  flip({ upsideDown = false } = {}) {
    this.#surface.flip({ upsideDown });
    this.#showEdges();
  }

  /** Chooses what dragging does. */
  choose(tool) {
    this.#tool = tool;
    this.#tools.showTool(tool);
  }

  /** Takes the measured distances away. */
  erase() {
    this.#ruler.clear();
  }

  /** Changes the window as a drag by so many pixels would. */
  changeWindow(right, down) {
    this.#startWindow();
    this.#dragWindow(right, down);
    this.#endWindow();
  }

  invert() {
    this.#surface.inverted = !this.#surface.inverted;
    this.#tools.showInverted(this.#surface.inverted);
  }

  /** Everything as it was when the series was opened. */
  reset() {
    if (this.#surface.inverted) this.invert();
    this.#surface.reset();
    this.#showEdges();
    this.setPreset(null);
  }

  /** A window of the list by its place in it, or null for the window as stored. */
  setPreset(window) {
    this.#window = window ? { center: window.center, width: window.width } : null;
    this.#chase();
    this.#showHow();
  }

  presetAt(place) {
    if (this.#windows[place]) this.setPreset(this.#windows[place]);
  }

  play() {
    if (this.#playing) return this.#stop();
    if (!this.#stack || this.#stack.length < 2) return;
    this.#playing = true;
    this.#strip.showPlaying(true);
    let last = performance.now();
    const tick = (now) => {
      if (!this.#playing) return;
      // Waits for a picture that is late rather than leaving it out.
      const due = now - last >= 1000 / this.#rate - 2;
      if (due && (this.#shown.index === this.#index || this.#failed.has(this.#want(this.#index).key))) {
        last = Math.max(last + 1000 / this.#rate, now - 50);
        this.go((this.#index + 1) % this.#stack.length);
        this.#direction = 1;
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  #stop() {
    this.#playing = false;
    this.#strip.showPlaying(false);
  }

  #isLarge() {
    const { rows, columns } = this.#stack.pictures[this.#index];
    return Math.max(rows || 0, columns || 0) > LARGEST;
  }

  #want(index) {
    const { resource, rows, columns } = this.#stack.pictures[index];
    const query = {};
    if (this.#window) query.window = windowParameter(this.#window);
    if (!this.#full && Math.max(rows || 0, columns || 0) > LARGEST) query.viewport = `${LARGEST},${LARGEST}`;
    return wanted(`${resource}/rendered`, query);
  }

  /** Gets the wanted picture onto the screen: at once when it is there, else as soon as it arrives. */
  #chase() {
    if (!this.#stack?.length) return;
    const index = this.#index;
    const want = this.#want(index);
    if (this.#stack.pictures[index].kind) {
      this.#drawn = ++this.#asked;
      this.#showDocument(index, want);
      return;
    }
    const ready = this.#pictures.ready(want);
    if (ready) {
      this.#drawn = ++this.#asked;
      this.#show(index, want, ready);
      return;
    }
    if (this.#failed.has(want.key)) {
      this.#drawn = ++this.#asked;
      this.#showFailure(index, want, this.#failed.get(want.key));
      return;
    }
    this.#screen.classList.add("late");
    if (this.#chasing.has(want.key) || this.#chasing.size >= AT_ONCE) return;
    this.#chasing.add(want.key);
    const turn = ++this.#asked;
    const pictures = this.#pictures;
    pictures
      .load(want)
      .then((bitmap) => {
        if (pictures !== this.#pictures || turn <= this.#drawn) return;
        this.#drawn = turn;
        this.#show(index, want, bitmap);
      })
      .catch((error) => {
        if (pictures === this.#pictures) this.#failed.set(want.key, error);
      })
      .finally(() => {
        if (pictures !== this.#pictures) return;
        this.#chasing.delete(want.key);
        if (this.#shown.key !== this.#want(this.#index).key) this.#chase();
      });
  }

  #show(index, want, bitmap) {
    this.#shown = { index, key: want.key };
    this.#closeDocument();
    this.#instead.hidden = true;
    this.#tools.showUse(true);
    this.#surface.show(bitmap);
    this.#canvas.setAttribute("aria-label", `Image ${index + 1} of ${this.#stack.length}`);
    this.#screen.dataset.shown = String(index + 1);
    this.#presented(index, want);
  }

  async #showDocument(index, want) {
    const { instance, kind } = this.#stack.pictures[index];
    if (this.#shown.key === want.key && this.#document) return;
    this.#shown = { index, key: want.key };
    this.#closeDocument();
    this.#instead.hidden = true;
    this.#surface.show(null);
    this.#tools.showUse(false);
    this.#screen.dataset.shown = String(index + 1);
    this.#screen.classList.add("late");
    const opening = (this.#document = { closed: new AbortController(), free: () => {} });
    try {
      const opened = await openDocument(kind, instance, opening.closed.signal);
      if (opening !== this.#document) return opened.free();
      Object.assign(opening, opened);
      this.#screen.append(opened.element);
      opened.element.addEventListener("error", () => this.#unplayable(opening, index, want));
      this.#presented(index, want);
    } catch (error) {
      if (opening === this.#document) this.#showFailure(index, want, error);
    }
  }

  #unplayable(opening, index, want) {
    if (opening !== this.#document) return;
    this.#showFailure(index, want, new Error("This browser cannot play this kind of video; it can be downloaded."));
  }

  #closeDocument() {
    this.#document?.closed.abort();
    this.#document?.element?.remove();
    this.#document?.free();
    this.#document = null;
  }

  #showFailure(index, want, error) {
    this.#closeDocument();
    this.#tools.showUse(false);
    this.#shown = { index, key: want.key };
    this.#surface.show(null);
    this.#screen.dataset.shown = "none";
    const { sopClass } = this.#stack.pictures[index];
    if (error.noPicture) {
      const kind = kindOf(sopClass, this.#modality);
      this.say(kind.icon, kind.name, "This object has no picture.",
        h("button", { type: "button", class: "button", onclick: () => this.download() }, "Download it"));
    } else {
      this.say("none", "The picture cannot be shown", error.message,
        h("button", { type: "button", class: "button", onclick: () => this.#retry(want) }, "Try again"));
    }
    this.#presented(index, want);
  }

  #retry(want) {
    this.#failed.delete(want.key);
    this.#shown = { index: -1, key: "" };
    this.#instead.hidden = true;
    this.#tools.showUse(true);
    this.#chase();
  }

  #presented(index, want) {
    this.#screen.classList.toggle("late", want.key !== this.#want(this.#index).key);
    const { frame, frames, instanceNumber } = this.#stack.pictures[index];
    this.#ruler.show(this.#stack.pictures[index], this.#description);
    corners(this.#corners.where, [
      `Image ${index + 1} of ${this.#stack.length}`,
      [Number.isNaN(instanceNumber) ? "" : `No. ${instanceNumber}`, frames > 1 ? `frame ${frame} of ${frames}` : ""].filter(Boolean).join(", "),
    ]);
    this.#showHow();
    this.#decodeNext();
    this.#afterwards();
  }

  #decodeNext() {
    const next = Array.from({ length: DECODED_NEXT }, (_, step) => this.#index + this.#direction * (step + 1));
    this.#pictures.decode(next.filter((index) => this.#stack.pictures[index] && !this.#stack.pictures[index].kind).map((index) => this.#want(index)));
  }

  #afterwards = settled(() => {
    if (!this.#stack?.length || this.#dragFrom) return;
    this.#prefetch();
    this.#describe();
  }, 50);

  #prefetch() {
    const order = [];
    for (let near = 1; order.length < AHEAD && near < this.#stack.length; near += 1) {
      // Two on the way the user is going for each one behind.
      order.push(this.#index + this.#direction * (2 * near - 1), this.#index + this.#direction * 2 * near, this.#index - this.#direction * near);
    }
    const wants = order.filter((index) => this.#stack.pictures[index] && !this.#stack.pictures[index].kind).map((index) => this.#want(index));
    this.#pictures.prefetch(wants);
    this.#pictures.decode(wants.slice(0, DECODED_AROUND));
  }

  /** Fetches the attributes of the picture that is shown and tells the tools and corners. */
  #describe = settled(async () => {
    const stack = this.#stack;
    const index = this.#index;
    if (!stack?.length) return;
    const ds = await stack.describe(index).catch(() => null);
    if (stack !== this.#stack || index !== this.#index || ds === this.#description) return;
    this.#description = ds;
    const { frame, frames } = stack.pictures[index];
    const grey = hasGreyLevels(ds);
    this.#windows = grey ? windowsFor(ds, this.#modality, frame) : [];
    this.#tools.showWindows(this.#windows, grey);
    const shared = values(values(ds, TAG.SharedFunctionalGroups)[0], TAG.PlaneOrientation)[0];
    const own = numbers(ds, TAG.ImageOrientationPatient);
    this.#letters = edges(own.length ? own : numbers(shared, TAG.ImageOrientationPatient));
    this.#showEdges();
    this.#ruler.show(stack.pictures[index], ds);
    if (frames > 1) this.#useRate(ds);
    this.#showHow();
  }, 120);

  #useRate(ds) {
    const rate = [number(ds, TAG.RecommendedDisplayFrameRate), number(ds, TAG.CineRate), 1000 / number(ds, TAG.FrameTime)].find((value) => value > 0 && value <= 120);
    if (!rate) return;
    this.#rate = Math.max(1, Math.round(rate));
    this.#strip.showLength(this.#stack.length, this.#rate);
  }

  #showHow() {
    const shown = this.#shown.index >= 0 && this.#instead.hidden;
    const actual = shown && shownWindow(this.#pictures?.rendering(this.#shown.key));
    const as = this.#window ?? (actual || null);
    // Without a window of its own, an image is shown from its lowest to its highest value.
    const note = !this.#window && as?.source === "computed" ? "  full range" : "";
    corners(this.#corners.how, shown ? [as ? `L ${readable(as.center)}  W ${readable(as.width)}${note}` : "", `${Math.round(this.#surface.zoom * 100)} %`] : []);
    const place = this.#windows.findIndex(({ center, width }) => center === this.#window?.center && width === this.#window?.width);
    this.#tools.showPreset(this.#window === null ? "" : place >= 0 ? String(place) : "own");
  }

  #showEdges() {
    const letters = turnedEdges(this.#letters, this.#surface);
    for (const [side, element] of Object.entries(this.#edges)) element.textContent = letters?.[side] ?? "";
  }

  #startWindow() {
    if (!this.#stack?.length || !hasGreyLevels(this.#description)) return;
    const { frame } = this.#stack.pictures[this.#index];
    this.#dragFrom = this.#window ?? shownWindow(this.#pictures.rendering(this.#shown.key)) ?? startingWindow(this.#description, this.#modality, frame);
  }

  #dragWindow(right, down) {
    if (!this.#dragFrom || Math.hypot(right, down) < 3) return;
    this.#window = dragged(this.#dragFrom, right, down);
    this.#showHow();
    this.#chase();
  }

  #endWindow() {
    this.#dragFrom = null;
    this.#afterwards();
  }

  #showMeasured(words, any) {
    this.#told.textContent = words;
    this.#tools.showMeasured(any);
  }

  /** Saves the object that is on the screen. */
  download() {
    if (this.#stack?.length) downloadInstance(this.#stack.pictures[this.#index].instance);
  }
}

function readable(value) {
  return String(Number(value.toPrecision(6)));
}

function corner(name) {
  return h("div", { class: `corner ${name}` });
}

function edge(side) {
  return h("span", { class: `edge ${side}`, "aria-hidden": "true" });
}

function corners(element, lines) {
  fill(element, lines.filter(Boolean).map((line) => h("span", { dir: "auto" }, line)));
}
