// The viewer's buttons and sliders. They hold no state of their own: `actions` does, `show...` tells what it is.

import { fill, h, icon } from "./dom.js";

const TOOLS = [
  ["window", "contrast", "Window", "Drag to change contrast and brightness"],
  ["scroll", "stack", "Scroll", "Drag to go through the images"],
  ["pan", "move", "Pan", "Drag to move the picture"],
  ["zoom", "zoom", "Zoom", "Drag up or down to zoom"],
  ["measure", "ruler", "Measure", "Drag from one point to another to measure the distance; by keys: Enter, arrows"],
];
const SPEEDS = [1, 2, 5, 10, 15, 20, 25, 30, 40, 60];

const HELP = [
  ["Wheel, ↑ ↓ or ← →", "next and previous image"],
  ["Page Up, Page Down", "ten images on or back"],
  ["Home, End", "first and last image"],
  ["Drag", "what the chosen tool does"],
  ["W, S, P, Z, M", "window, scroll, pan, zoom, measure"],
  ["Shift + arrows", "window: ↑ ↓ level, ← → width"],
  ["1 … 9, 0", "windows of the list, as stored"],
  ["I", "invert"],
  ["Right drag, Ctrl + wheel, + −", "zoom"],
  ["Middle or Shift + drag, Ctrl + arrows", "move the picture"],
  ["Two fingers", "zoom and move"],
  ["Double click, F", "fit the picture"],
  ["T", "turn to the right"],
  ["H, V", "flip left and right, top and bottom"],
  ["Enter", "while measuring: a point for the arrow keys to move, then the ends of the line"],
  ["Delete", "remove the measurements"],
  ["R", "everything as it was at first"],
  ["Space", "play and stop"],
  ["[ and ]", "previous and next series"],
  ["?", "this list"],
  ["Esc", "back to the studies"],
];

const PICTURES_ONLY = { "data-pictures-only": true };

/** The bar above the picture. */
export function toolbar(actions) {
  const tools = h("fieldset", { class: "choice", ...PICTURES_ONLY }, h("legend", { class: "unseen" }, "What dragging does"),
    TOOLS.map(([value, symbol, name, title]) => {
      const input = h("input", { type: "radio", name: "tool", value, id: `tool-${value}`, onchange: () => actions.choose(value) });
      return h("span", {}, input, h("label", { for: input.id, title }, icon(symbol), h("span", { class: "name" }, name)));
    }));
  const windows = h("select", { id: "window-preset", ...PICTURES_ONLY, "aria-label": "Window", title: "Grey levels", onchange: () => actions.preset(windows.value) });
  const invert = button("invert", "Invert", () => actions.invert(), { ...PICTURES_ONLY, "aria-pressed": "false" });
  const erase = button("eraser", "Remove the measurements", () => actions.erase(), { ...PICTURES_ONLY, hidden: true });
  const more = h("div", { class: "extras", id: "more-tools" },
    invert, button("turn", "Turn to the right", () => actions.turn(), PICTURES_ONLY), button("flip", "Flip left and right", () => actions.flip(), PICTURES_ONLY),
    button("down", "Download this object", () => actions.download()), button("help", "Keys and gestures", () => showHelp()));
  const unfold = button("more", "More tools", () => {
    const open = element.classList.toggle("unfolded");
    unfold.setAttribute("aria-expanded", String(open));
  }, { "aria-expanded": "false", "aria-controls": "more-tools" });
  unfold.classList.add("unfold");
  const element = h("div", { class: "tools", role: "toolbar", "aria-label": "Viewer tools" },
    tools, windows, h("span", { class: "grow" }), erase, button("reset", "Reset the view", () => actions.reset(), PICTURES_ONLY), unfold, more);
  return {
    element,
    showTool: (value) => (element.querySelector(`#tool-${value}`).checked = true),
    showInverted: (on) => invert.setAttribute("aria-pressed", String(on)),
    /** `list` as windowsFor gives it; `grey` false when the picture has no grey levels to window. */
    showWindows(list, grey) {
      fill(windows, h("option", { value: "" }, grey ? "Window as stored" : "Colour"),
        grey && list.map((window, index) => h("option", { value: String(index) }, `${window.name} (L ${window.center}, W ${window.width})`)),
        grey && h("option", { value: "own", hidden: true }, "Own window"));
      windows.disabled = !grey;
    },
    showPreset: (value) => (windows.value = value),
    showMeasured: (any) => (erase.hidden = !any),
    /** Whether there is a picture that the tools could do something to. */
    showUse: (pictured) => element.classList.toggle("unused", !pictured),
  };
}

/** The bar below the picture: play, where in the stack, how fast. */
export function strip(actions) {
  const play = button("play", "Play", () => actions.play());
  const slider = h("input", { type: "range", min: "1", value: "1", class: "position", "aria-label": "Image", oninput: () => actions.go(Number(slider.value) - 1) });
  const place = h("output", { class: "place" });
  const speed = h("select", { "aria-label": "Speed", title: "Speed", onchange: () => actions.speed(Number(speed.value)) });
  const element = h("div", { class: "strip" }, play, slider, place, speed);
  return {
    element,
    slider,
    showLength(length, rate) {
      element.hidden = length < 2;
      slider.max = String(length);
      const speeds = [...new Set([...SPEEDS, rate])].sort((one, other) => one - other);
      fill(speed, speeds.map((value) => h("option", { value: String(value) }, `${value} / s`)));
      speed.value = String(rate);
    },
    showPosition(index, length) {
      slider.value = String(index + 1);
      slider.setAttribute("aria-valuetext", `Image ${index + 1} of ${length}`);
      place.textContent = `${index + 1} / ${length}`;
    },
    showPlaying(playing) {
      fill(play, icon(playing ? "pause" : "play"));
      play.setAttribute("aria-label", playing ? "Stop" : "Play");
      play.title = playing ? "Stop" : "Play";
    },
  };
}

export function button(symbol, name, onclick, attributes = {}) {
  return h("button", { type: "button", class: "button quiet square", title: name, "aria-label": name, onclick, ...attributes }, icon(symbol));
}

export function showHelp() {
  const box = h("dialog", { class: "box", "aria-labelledby": "help-title", onclose: () => box.remove(), onclick: (event) => event.target === box && box.close() },
    h("form", { method: "dialog", class: "stack" },
      h("h2", { id: "help-title", tabindex: "-1", autofocus: true }, "Keys and gestures"),
      h("dl", { class: "keys" }, HELP.map(([keys, what]) => h("div", {}, h("dt", {}, keys), h("dd", {}, what)))),
      h("button", { class: "button primary" }, "Close")));
  document.body.append(box);
  box.showModal();
}
