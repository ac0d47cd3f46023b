// The viewer of whole-slide images: tiles as they are needed, drawn by OpenSeadragon.

import { metadata, picture } from "./api.js";
import { button } from "./controls.js";
import { TAG, text } from "./dicom.js";
import { fill, h } from "./dom.js";
import { downloadInstance } from "./download.js";
import { flavour, pyramids } from "./pyramid.js";
import { roundLength } from "./spacing.js";
import { library } from "./tiles.js";

const SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6";
const TILES_AT_ONCE = 6;
const TILES_KEPT = matchMedia("(pointer: coarse)").matches ? 120 : 400;
const BAR = 0.2; // of the width of the screen, at most
const MICROMETRES_AT_ONE = 10; // a pixel of 10 µm is what a magnification of 1 is called
const MAGNIFICATIONS = [1.25, 2.5, 5, 10, 20, 40, 80];

/** Whether a series, as a search returns its instances, is a whole slide. */
export function isSlide(instances) {
  return instances.some((ds) => text(ds, TAG.SOPClassUID) === SLIDE && flavour(ds) === "VOLUME");
}

/** Shows a slide, zoomable. */
export class SlideViewer {
  #place = h("div", { class: "tiles" });
  #who = h("div", { class: "corner who" });
  #what = h("div", { class: "corner what" });
  #how = h("div", { class: "corner how" });
  #bar = h("span", { class: "scale-length" });
  #barName = h("span");
  #scale = h("div", { class: "scale", hidden: true }, this.#barName, this.#bar);
  #pictures = h("div", { class: "beside", hidden: true });
  #instead = h("div", { class: "instead", hidden: true });
  #screen = h("div", { class: "screen", role: "group", "aria-label": "Slide" },
    this.#place, this.#who, this.#what, h("div", { class: "foot" }, this.#scale, this.#how), this.#pictures, this.#instead);
  #planes = h("select", { "aria-label": "Channel or focal plane", hidden: true, onchange: () => this.#showPlane() });
  #own = h("option", { value: "own", hidden: true });
  #magnification = h("select", { "aria-label": "Magnification", onchange: () => this.#magnify() });
  #beside = button("layers", "Label and overview", () => this.#showBeside(), { "aria-pressed": "false", hidden: true });
  #urls = [];
  #opened = new AbortController();
  #library = null; // see tiles.js
  #view = null; // OpenSeadragon's
  #found = []; // pyramids
  #shown = null; // the one on the screen
  #label = null;

  constructor() {
    const tools = h("div", { class: "tools", role: "toolbar", "aria-label": "Slide tools" },
      button("plus", "Zoom in", () => this.zoom(2)), button("minus", "Zoom out", () => this.zoom(0.5)), this.#magnification, this.#planes,
      h("span", { class: "grow" }), this.#beside, button("reset", "The whole slide", () => this.reset()),
      button("turn", "Turn to the right", () => this.turn()), button("flip", "Flip left and right", () => this.flip()));
    this.element = h("section", { class: "viewer slide", "aria-label": "Slide viewer" }, tools, this.#screen);
  }

  /** Keys, by their names; see StudyPage. */
  get keys() {
    return {
      ArrowLeft: () => this.pan(-1, 0), ArrowRight: () => this.pan(1, 0), ArrowUp: () => this.pan(0, -1), ArrowDown: () => this.pan(0, 1),
      "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5), f: () => this.reset(), r: () => this.reset(),
      Home: () => this.reset(), t: () => this.turn(), h: () => this.flip(), l: () => this.#beside.hidden || this.#showBeside(),
    };
  }

  /** Shows the slide whose instances a search found below `series`. `who` and `what` are lines for the corners. */
  async open(series, instances, { who, what }) {
    this.close();
    corners(this.#who, who);
    corners(this.#what, what);
    const opened = this.#opened;
    try {
      const [loaded, described] = await Promise.all([
        library(),
        Promise.all(instances.map(async (ds) => {
          const instance = `${series}/instances/${encodeURIComponent(text(ds, TAG.SOPInstanceUID))}`;
          return [instance, await metadata(instance, opened.signal), text(ds, TAG.AvailableTransferSyntaxUID)];
        })),
      ]);
      if (opened.signal.aborted) return;
      this.#found = pyramids(described);
      fill(this.#planes, this.#found.map(({ name }, index) => h("option", { value: String(index) }, name || "Slide")));
      this.#planes.hidden = this.#found.length < 2;
      this.#label = described.filter(([, ds]) => ["LABEL", "OVERVIEW"].includes(flavour(ds)));
      this.#beside.hidden = this.#label.length === 0;
      this.#library = loaded;
      this.#start();
      this.#showPlane();
    } catch (error) {
      if (opened.signal.aborted) return;
      fill(this.#instead, h("p", { class: "title" }, "The slide cannot be shown"), h("p", { class: "muted" }, error.message));
      this.#instead.hidden = false;
    }
  }

  /** Stops and forgets the slide. */
  close() {
    this.#opened.abort();
    this.#opened = new AbortController();
    this.#view?.destroy();
    this.#view = this.#shown = null;
    this.#found = [];
    this.#pictures.hidden = true;
    this.#beside.setAttribute("aria-pressed", "false");
    for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
    fill(this.#pictures);
    fill(this.#place);
    this.#instead.hidden = true;
    this.#scale.hidden = true;
    fill(this.#how);
    delete this.#screen.dataset.shown;
  }

  focus() {
    this.#place.querySelector(".openseadragon-canvas")?.focus({ preventScroll: true });
  }

  /** Saves the instance of the level that is on the screen. */
  download() {
    const level = this.#level();
    if (level) downloadInstance(level.sources[0].instance);
  }

  zoom(factor) {
    this.#view?.viewport.zoomBy(factor).applyConstraints();
  }

  /** Moves the view by a sixth of the screen. */
  pan(right, down) {
    const viewport = this.#view?.viewport;
    if (!viewport) return;
    const { width, height } = this.#place.getBoundingClientRect();
    const step = new this.#library.OpenSeadragon.Point((right * width) / 6, (down * height) / 6);
    viewport.panBy(viewport.deltaPointsFromPixels(step)).applyConstraints();
  }

  turn() {
    const viewport = this.#view?.viewport;
    viewport?.setRotation((Math.round(viewport.getRotation(false)) + 90) % 360);
  }

  flip() {
    this.#view?.viewport.toggleFlip();
  }

  reset() {
    const viewport = this.#view?.viewport;
    if (!viewport) return;
    viewport.setFlip(false);
    viewport.setRotation(0);
    viewport.goHome();
  }

  #start() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#view = new this.#library.OpenSeadragon.Viewer({
      element: this.#place,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "BOTTOM_LEFT",
      navigatorBackground: "#000",
      navigatorBorderColor: "#56687a",
      navigatorDisplayRegionColor: "#5fe0d2",
      animationTime: still ? 0 : 0.35,
      blendTime: still ? 0 : 0.1,
      imageLoaderLimit: TILES_AT_ONCE,
      maxImageCacheCount: TILES_KEPT,
      maxZoomPixelRatio: 4,
      minZoomImageRatio: 0.7,
      visibilityRatio: 0.4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { pinchRotate: false },
    });
    // The page has keys of its own, the same ones everywhere.
    this.#view.addHandler("canvas-key", (event) => (event.preventDefaultAction = true));
    this.#view.addHandler("update-viewport", () => this.#tell());
    this.#view.addHandler("tile-load-failed", ({ message }) => (this.#screen.dataset.trouble = String(message)));
    const canvas = this.#place.querySelector(".openseadragon-canvas");
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", "Slide; arrow keys move it, plus and minus zoom");
    this.#place.querySelector(".navigator")?.setAttribute("aria-hidden", "true");
  }

  #showPlane() {
    const pyramid = this.#found[Number(this.#planes.value) || 0];
    if (!pyramid) return;
    const before = this.#shown && this.#view.viewport.getBounds(true);
    this.#shown = pyramid;
    const base = pyramid.levels.at(-1);
    const micrometres = base.spacing * 1000;
    const most = (4 * MICROMETRES_AT_ONE) / micrometres;
    fill(this.#magnification, h("option", { value: "" }, "Fit"),
      MAGNIFICATIONS.filter((value) => value <= most).map((value) => h("option", { value: String(value) }, `${value}×`)), this.#own);
    this.#magnification.hidden = !(micrometres > 0);
    this.#view.addOnceHandler("open", () => {
      if (before) this.#view.viewport.fitBounds(before, true);
      this.#whenWhole(() => (this.#screen.dataset.shown = "1"));
      this.focus();
    });
    this.#view.open(new this.#library.Source(pyramid.levels));
  }

  #whenWhole(then) {
    const image = this.#view.world.getItemAt(0);
    if (image.getFullyLoaded()) then();
    else image.addOnceHandler("fully-loaded-change", then);
  }

  /** Screen pixels of CSS for one pixel of the largest level. */
  #zoomOfImage() {
    return this.#view.world.getItemAt(0)?.viewportToImageZoom(this.#view.viewport.getZoom(true)) ?? NaN;
  }

  /** The level that suits the zoom: the smallest that has a pixel for each of the screen. */
  #level() {
    if (!this.#shown) return null;
    const { levels } = this.#shown;
    const wanted = this.#zoomOfImage() * levels.at(-1).columns;
    return levels.find(({ columns }) => columns >= wanted) ?? levels.at(-1);
  }

  #magnify() {
    const value = Number(this.#magnification.value);
    if (!value) return this.reset();
    const base = this.#shown.levels.at(-1);
    const image = this.#view.world.getItemAt(0);
    const zoom = (value * base.spacing * 1000) / MICROMETRES_AT_ONE;
    this.#view.viewport.zoomTo(image.imageToViewportZoom(zoom));
  }

  #tell() {
    const base = this.#shown?.levels.at(-1);
    const zoom = this.#zoomOfImage();
    if (!base || !(zoom > 0)) return;
    const micrometres = (base.spacing * 1000) / zoom;
    const magnification = MICROMETRES_AT_ONE / micrometres;
    const known = micrometres > 0;
    const level = this.#level();
    corners(this.#how, [
      known ? `${readable(magnification)}×   ${readable(micrometres)} µm / pixel` : `${readable(zoom * 100)} %`,
      `Level ${this.#shown.levels.indexOf(level) + 1} of ${this.#shown.levels.length}, ${level.columns.toLocaleString()} × ${level.rows.toLocaleString()}`,
    ]);
    this.#own.textContent = `${readable(magnification)}×`;
    this.#magnification.value = [...this.#magnification.options].find(({ value }) => Math.abs(Number(value) / magnification - 1) < 0.01)?.value ?? "own";
    this.#scale.hidden = !known;
    if (!known) return;
    const { length, name } = roundLength((BAR * this.#screen.clientWidth * micrometres) / 1000);
    this.#bar.style.width = `${(length * 1000) / micrometres}px`;
    fill(this.#barName, name);
  }

  async #showBeside() {
    const show = this.#pictures.hidden;
    this.#beside.setAttribute("aria-pressed", String(show));
    this.#pictures.hidden = !show;
    if (!show || this.#pictures.childElementCount) return;
    const { signal } = this.#opened;
    for (const [instance, ds] of this.#label) {
      const name = flavour(ds) === "LABEL" ? "Label" : "Overview";
      const blob = await picture(`${instance}/rendered`, { viewport: "480,480" }, signal).catch(() => null);
      if (!blob || signal.aborted) continue;
      const url = URL.createObjectURL(blob);
      this.#urls.push(url);
      this.#pictures.append(h("figure", {}, h("img", { src: url, alt: `${name} of the slide` }), h("figcaption", {}, name)));
    }
  }
}

function corners(element, lines) {
  fill(element, lines.filter(Boolean).map((line) => h("span", { dir: "auto" }, line)));
}

function readable(value) {
  return String(Number(value.toPrecision(value >= 100 ? 3 : 2)));
}
