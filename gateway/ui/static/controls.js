// The viewer's buttons and sliders. They hold no state of their own: `actions` does, `show...` tells what it is.

import { fill, h, icon } from "./dom.js";

const TOOLS = [
  ["window", "contrast", "Window", "Drag to change contrast and brightness"],
  ["scroll", "stack", "Scroll", "Drag to go through the images"],
  ["pan", "move", "Pan", "Drag to move the picture"],
  ["zoom", "zoom", "Zoom", "Drag up or down to zoom"],
];
const SPEEDS = [1, 2, 5, 10, 15, 20, 25, 30, 40, 60];

const HELP = [
  ["Wheel, ↑ ↓ or ← →", "next and previous image"],
  ["Page Up, Page Down", "ten images on or back"],
  ["Home, End", "first and last image"],
  ["Drag", "what the chosen tool does"],
  ["Right drag, Ctrl + wheel, + −", "zoom"],
  ["Middle drag, Shift + drag", "move the picture"],
  ["Two fingers", "zoom and move"],
  ["Double click, F", "fit the picture"],
  ["1 … 9", "windows in the order of the list"],
  ["0", "window as stored"],
  ["I", "invert"],
  ["Space", "play and stop"],
  ["[ and ]", "previous and next series"],
  ["Esc", "back to the studies"],
];

/** The bar above the picture. */
export function toolbar(actions) {
  const tools = h("fieldset", { class: "choice" }, h("legend", { class: "unseen" }, "What dragging does"),
    TOOLS.map(([value, symbol, name, title]) => {
      const input = h("input", { type: "radio", name: "tool", value, id: `tool-${value}`, onchange: () => actions.choose(value) });
      return h("span", {}, input, h("label", { for: input.id, title }, icon(symbol), h("span", { class: "name" }, name)));
    }));
  const windows = h("select", { id: "window-preset", "aria-label": "Window", title: "Grey levels", onchange: () => actions.preset(windows.value) });
  const invert = button("invert", "Invert", () => actions.invert(), { "aria-pressed": "false" });
  const download = button("down", "Download this object", () => actions.download());
  const help = button("help", "Keys and gestures", () => showHelp());
  const element = h("div", { class: "tools", role: "toolbar", "aria-label": "Viewer tools" },
    tools, windows, h("span", { class: "grow" }), button("reset", "Reset the view", () => actions.reset()), invert, download, help);
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

function button(symbol, name, onclick, attributes = {}) {
  return h("button", { type: "button", class: "button quiet square", title: name, "aria-label": name, onclick, ...attributes }, icon(symbol));
}

export function showHelp() {
  const box = h("dialog", { class: "box", "aria-labelledby": "help-title", onclose: () => box.remove(), onclick: (event) => event.target === box && box.close() },
    h("form", { method: "dialog", class: "stack" },
      h("h2", { id: "help-title" }, "Keys and gestures"),
      h("dl", { class: "keys" }, HELP.map(([keys, what]) => h("div", {}, h("dt", {}, keys), h("dd", {}, what)))),
      h("button", { class: "button primary" }, "Close")));
  document.body.append(box);
  box.showModal();
}
