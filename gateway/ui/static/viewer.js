// The viewer: one stack, one picture of it on the screen, and the tools that change what is seen.

import { Caret } from "./caret.js";
import { Cine } from "./cine.js";
import { showHelp, strip, toolbar } from "./controls.js";
import { TAG, edges, kindOf, number, numbers, turnedEdges, values } from "./dicom.js";
import { h, settled } from "./dom.js";
import { downloadInstance } from "./download.js";
import { gestures } from "./gestures.js";
import { Greys } from "./greys.js";
import { viewerKeys } from "./keys.js";
import { around, onward } from "./neighbours.js";
import { Paper } from "./paper.js";
import { Pictures, wanted } from "./pictures.js";
import { Race } from "./race.js";
import { Screen } from "./screen.js";

const LARGEST = 2048; // pixels on a side that are fetched before the user zooms in
const AHEAD = 400; // pictures fetched around the one that is shown
const DECODED_AROUND = 6;
const DECODED_NEXT = 4; // on the way the user is going, while the user is going
const NOTHING = { index: -1, key: "" };

export class Viewer {
  #screen = new Screen((any) => this.#tools.showMeasured(any));
  #surface = this.#screen.surface;
  #ruler = this.#screen.ruler;
  #caret = new Caret(this.#screen);
  #paper = new Paper(this.#screen.element);
  #greys = new Greys();
  #tools;
  #strip;
  #cine;
  #tool = matchMedia("(pointer: coarse)").matches ? "scroll" : "window";

  #stack = null;
  #pictures = null;
  #race = null;
  #modality = "";
  #index = 0; // the picture that is wanted
  #shown = NOTHING; // the picture that is on the screen
  #direction = 1;
  #description = null;
  #letters = null; // directions in the patient at the edges of the picture as it is stored
  #full = false; // whether large pictures are fetched in full

  constructor() {
    this.#tools = toolbar({
      choose: (tool) => this.choose(tool),
      preset: (value) => this.setPreset(value === "" ? null : Number(value)),
      invert: () => this.invert(),
      erase: () => this.erase(),
      turn: () => this.turn(),
      flip: () => this.flip(),
      reset: () => this.reset(),
      download: () => this.download(),
    });
    this.#strip = strip({ play: () => this.play(), go: (index) => this.go(index), speed: (rate) => (this.#cine.rate = rate) });
    this.#cine = new Cine(this.#strip, {
      ready: () => this.#shown.index === this.#index || this.#race.failure(this.#want(this.#index).key) !== undefined,
      next: () => {
        this.go((this.#index + 1) % this.#stack.length);
        this.#direction = 1;
      },
    });
    this.#tools.showTool(this.#tool);
    gestures(this.#screen.element, {
      tool: () => this.#tool,
      scroll: (steps) => this.step(steps),
      windowStart: () => this.#startWindow(),
      windowDrag: (right, down) => this.#dragWindow(right, down),
      windowEnd: () => this.#endWindow(),
      measureStart: (at) => this.#ruler.start(at),
      measureDrag: (at) => this.#ruler.drag(at),
      measureEnd: () => this.#ruler.end(),
      pan: (right, down) => this.move(right, down),
      zoom: (factor, x, y) => this.zoom(factor, x, y),
      reset: () => this.fit(),
    });
    this.element = h("section", { class: "viewer", "aria-label": "Viewer" }, this.#tools.element, this.#screen.element, this.#strip.element);
  }

  /** Keys, by their names; see StudyPage. */
  get keys() {
    const measuring = this.#tool === "measure" && this.#surface.size;
    return { ...viewerKeys(this, showHelp), ...(measuring ? { Enter: () => this.#caret.press() } : {}), ...this.#caret.keys };
  }

  /** Shows a stack from its first picture on. `who` and `what` are lines of text for the corners. */
  open(stack, { modality, who, what }) {
    this.close();
    this.#stack = stack;
    this.#pictures = new Pictures();
    this.#race = new Race(this.#pictures);
    this.#modality = modality;
    this.#greys.clear(modality);
    this.#screen.write("who", who);
    this.#screen.write("what", what);
    this.#cine.load(stack.length);
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
    this.#cine.stop();
    this.#race?.close();
    this.#pictures?.close();
    this.#paper.close();
    this.#caret.hide();
    this.#ruler.clear();
    this.#ruler.show(null, null);
    this.#greys.clear();
    this.#pictures = this.#race = this.#stack = this.#description = this.#letters = null;
    this.#shown = NOTHING;
    this.#index = 0;
    this.#direction = 1;
    this.#full = false;
    this.#screen.clean();
  }

  focus() {
    this.#screen.focus();
  }

  /** Shows a line of text in place of a picture. */
  say(symbol, title, note, ...more) {
    this.#screen.say(symbol, title, note, ...more);
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
    this.#cine.stop();
    this.go(this.#index + steps);
  }

  first() {
    this.step(-this.#index);
  }

  last() {
    this.step(this.#stack ? this.#stack.length : 0);
  }

  play() {
    if (this.#stack) this.#cine.toggle(this.#stack.length);
  }

  /** Moves the picture by so many CSS pixels. */
  move(right, down) {
    this.#surface.pan(right, down);
  }

  zoom(factor, x, y) {
    this.#surface.zoomBy(factor, x, y);
    this.#showHow();
    if (!this.#full && this.#stack?.length && this.#isLarge(this.#index) && this.#surface.scale > 1) {
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
    if (tool !== "measure") this.#caret.hide();
  }

  /** Takes the measured distances away. */
  erase() {
    this.#ruler.clear();
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
  setPreset(place) {
    if (!this.#greys.choose(place)) return;
    this.#chase();
    this.#showHow();
  }

  /** Changes the window as a drag by so many pixels would. */
  changeWindow(right, down) {
    this.#startWindow();
    this.#dragWindow(right, down);
    this.#endWindow();
  }

  /** Saves the object that is on the screen. */
  download() {
    if (this.#stack?.length) downloadInstance(this.#stack.pictures[this.#index].instance);
  }

  #isLarge(index) {
    const { rows, columns } = this.#stack.pictures[index];
    return Math.max(rows || 0, columns || 0) > LARGEST;
  }

  #want(index) {
    const query = this.#greys.query;
    if (!this.#full && this.#isLarge(index)) query.viewport = `${LARGEST},${LARGEST}`;
    return wanted(`${this.#stack.pictures[index].resource}/rendered`, query);
  }

  /** What is wanted of these places in the stack, those that are no pictures left out. */
  #wants(places) {
    return places.filter((place) => this.#stack.pictures[place] && !this.#stack.pictures[place].kind).map((place) => this.#want(place));
  }

  /** Gets the wanted picture onto the screen: at once when it is there, else as soon as it arrives. */
  #chase() {
    if (!this.#stack?.length) return;
    const [race, index] = [this.#race, this.#index];
    const want = this.#want(index);
    const ready = this.#pictures.ready(want);
    const failure = race.failure(want.key);
    if (this.#stack.pictures[index].kind || ready || failure) {
      race.settle();
      if (this.#stack.pictures[index].kind) this.#showDocument(index, want);
      else if (ready) this.#show(index, want, ready);
      else this.#showFailure(index, want, failure);
      return;
    }
    this.#screen.late = true;
    race.run(want, (bitmap) => this.#show(index, want, bitmap), () => {
      if (this.#shown.key !== this.#want(this.#index).key) this.#chase();
    });
  }

  #show(index, want, bitmap) {
    this.#shown = { index, key: want.key };
    this.#paper.close();
    this.#tools.showUse(true);
    this.#screen.show(bitmap, `Image ${index + 1} of ${this.#stack.length}`);
    this.#screen.mark(index + 1);
    this.#presented(index, want);
  }

  async #showDocument(index, want) {
    const { instance, kind } = this.#stack.pictures[index];
    if (this.#shown.key === want.key && this.#paper.open) return;
    this.#shown = { index, key: want.key };
    this.#screen.show(null);
    this.#tools.showUse(false);
    this.#screen.mark(index + 1);
    this.#screen.late = true;
    const unplayable = new Error("This browser cannot play this kind of video; it can be downloaded.");
    try {
      if (await this.#paper.put(kind, instance, () => this.#showFailure(index, want, unplayable))) this.#presented(index, want);
    } catch (error) {
      this.#showFailure(index, want, error);
    }
  }

  #showFailure(index, want, error) {
    this.#paper.close();
    this.#tools.showUse(false);
    this.#shown = { index, key: want.key };
    this.#screen.show(null);
    this.#screen.mark("none");
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
    this.#race.forgive(want.key);
    this.#shown = NOTHING;
    this.#screen.unsay();
    this.#tools.showUse(true);
    this.#chase();
  }

  #presented(index, want) {
    this.#screen.late = want.key !== this.#want(this.#index).key;
    const picture = this.#stack.pictures[index];
    const { frame, frames, instanceNumber } = picture;
    this.#ruler.show(picture, this.#description);
    this.#screen.write("where", [
      `Image ${index + 1} of ${this.#stack.length}`,
      [Number.isNaN(instanceNumber) ? "" : `No. ${instanceNumber}`, frames > 1 ? `frame ${frame} of ${frames}` : ""].filter(Boolean).join(", "),
    ]);
    this.#showHow();
    this.#pictures.decode(this.#wants(onward(this.#index, this.#direction, DECODED_NEXT)));
    this.#afterwards();
  }

  #afterwards = settled(() => {
    if (!this.#stack?.length || this.#greys.dragging) return;
    this.#prefetch();
    this.#describe();
  }, 50);

  #prefetch() {
    const wants = this.#wants(around(this.#index, this.#direction, this.#stack.length, AHEAD));
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
    const grey = this.#greys.describe(ds, frame);
    this.#tools.showWindows(this.#greys.list, grey);
    const shared = values(values(ds, TAG.SharedFunctionalGroups)[0], TAG.PlaneOrientation)[0];
    const own = numbers(ds, TAG.ImageOrientationPatient);
    this.#letters = edges(own.length ? own : numbers(shared, TAG.ImageOrientationPatient));
    this.#showEdges();
    this.#ruler.show(stack.pictures[index], ds);
    if (frames > 1) this.#useRate(ds);
    this.#showHow();
  }, 120);

  #useRate(ds) {
    const rates = [number(ds, TAG.RecommendedDisplayFrameRate), number(ds, TAG.CineRate), 1000 / number(ds, TAG.FrameTime)];
    const rate = rates.find((value) => value > 0 && value <= 120);
    if (rate) this.#cine.load(this.#stack.length, rate);
  }

  #showHow() {
    const shown = this.#shown.index >= 0 && this.#screen.clear;
    this.#screen.write("how", shown ? [this.#greys.words(this.#pictures?.rendering(this.#shown.key)), `${Math.round(this.#surface.zoom * 100)} %`] : []);
    this.#tools.showPreset(this.#greys.place);
  }

  #showEdges() {
    this.#screen.letter(turnedEdges(this.#letters, this.#surface));
  }

  #startWindow() {
    if (!this.#stack?.length) return;
    this.#greys.start(this.#description, this.#stack.pictures[this.#index].frame, this.#pictures.rendering(this.#shown.key));
  }

  #dragWindow(right, down) {
    if (!this.#greys.drag(right, down)) return;
    this.#showHow();
    this.#chase();
  }

  #endWindow() {
    this.#greys.end();
    this.#afterwards();
  }
}
