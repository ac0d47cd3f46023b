// One line at the foot of the page about something that is going on or went wrong, read out by screen readers.

import { fill, h, icon } from "./dom.js";

const SHOWN = 6000; // milliseconds

const place = h("div", { class: "notices", role: "status", "aria-live": "polite" });

/** Shows `text` until it is closed: `say` replaces it, and lets it go by itself unless it is `bad`. */
export function notice(text) {
  if (!place.isConnected) document.body.append(place);
  const words = h("span", {}, text);
  const close = () => line.remove();
  const line = h("p", { class: "notice-line" }, words,
    h("button", { type: "button", class: "button quiet square", title: "Close", "aria-label": "Close", onclick: close }, icon("x")));
  place.append(line);
  return {
    close,
    say(more, { bad = false } = {}) {
      fill(words, more);
      line.classList.toggle("bad", bad);
      if (!bad) setTimeout(close, SHOWN);
    },
  };
}
