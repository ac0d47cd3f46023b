// Small helpers to build the page. Text from data only ever becomes text nodes and attribute values, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("p", { class: "note", onclick: f }, "text", child)`. Null and false children are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  fill(element, ...children);
  return element;
}

/** An element of an SVG picture. */
export function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  fill(element, ...children);
  return element;
}

/** Replaces what `element` holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

// Icons are drawn on a 24 by 24 grid with round strokes; `F` marks a filled shape.
const SHAPES = {
  back: ["M15 5l-7 7 7 7"],
  contrast: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "F M12 3a9 9 0 0 1 0 18z"],
  document: ["M6 3h8l5 5v13H6z", "M14 3v5h5", "M9 13h7M9 17h7"],
  down: ["M12 4v11M7 11l5 5 5-5", "M5 20h14"],
  fit: ["M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"],
  eraser: ["M8 20l-5-5L14 4l6 6-10 10z", "M9 9l6 6", "M8 20h12"],
  flip: ["M12 3v18", "M9 7L3 18h6z", "F M15 7l6 11h-6z"],
  folder: ["M3 6h6l2 3h10v10H3z"],
  help: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8", "M12 17v.01"],
  invert: ["M4 4h16v16H4z", "F M4 20L20 4v16z"],
  layers: ["M12 3l9 5-9 5-9-5z", "M3 12.5l9 5 9-5", "M3 16.8l9 5 9-5"],
  link: ["M10 14a4.5 4.5 0 0 0 6.4 0l3-3a4.5 4.5 0 0 0-6.4-6.4l-1.4 1.4", "M14 10a4.5 4.5 0 0 0-6.4 0l-3 3a4.5 4.5 0 0 0 6.4 6.4l1.4-1.4"],
  minus: ["M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z", "M15.5 15.5L21 21", "M7.8 10.5h5.4"],
  more: ["F M5 10.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM12 10.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM19 10.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3z"],
  move: ["M12 3v18M3 12h18", "M9.5 5.5L12 3l2.5 2.5M9.5 18.5L12 21l2.5-2.5M5.5 9.5L3 12l2.5 2.5M18.5 9.5L21 12l-2.5 2.5"],
  none: ["M4 5h16v14H4z", "M4 16l5-5 4 4 3-3 4 4", "M3 3l18 18"],
  pause: ["F M7 5h3.5v14H7zM13.5 5H17v14h-3.5z"],
  play: ["F M8 5l11 7-11 7z"],
  open: ["M10 5H5v14h14v-5", "M14 4h6v6M20 4l-9 9"],
  plus: ["M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z", "M15.5 15.5L21 21", "M10.5 7.8v5.4M7.8 10.5h5.4"],
  refresh: ["M20 11a8 8 0 1 0-2.3 6.3", "M20 5v6h-6"],
  reset: ["M4 12a8 8 0 1 0 2.5-5.8", "M4 4v5h5"],
  ruler: ["M3 16L16 3l5 5L8 21z", "M7 12l2 2M10 9l3 3M13 6l2 2"],
  search: ["M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z", "M15.5 15.5L21 21"],
  share: ["F M18 2.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM6 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM18 15.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6z", "M8.5 10.7l7-3.8M8.5 13.3l7 3.8"],
  stack: ["M12 3v18", "M8.5 6.5L12 3l3.5 3.5M8.5 17.5L12 21l3.5-3.5", "M5 12h14"],
  trash: ["M4 7h16", "M9 7V4h6v3", "M6 7l1 14h10l1-14", "M10 11v6M14 11v6"],
  turn: ["M20 12a8 8 0 1 1-2.5-5.8", "M20 4v5h-5", "M9.5 9.5h5v5h-5z"],
  upload: ["M12 16V5M7 9l5-5 5 5", "M5 20h14"],
  wave: ["M2 12h4l2-6 4 13 3-9 2 2h5"],
  x: ["M6 6l12 12M18 6L6 18"],
  zoom: ["M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z", "M15.5 15.5L21 21", "M10.5 7.8v5.4M7.8 10.5h5.4"],
};

/** An icon that screen readers pass over. */
export function icon(name) {
  const parts = SHAPES[name].map((d) => (d.startsWith("F ") ? shape("path", { d: d.slice(2), class: "solid" }) : shape("path", { d })));
  return shape("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, parts);
}

/** Calls `f` once the calls have stopped for `milliseconds`. */
export function settled(f, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...values), milliseconds);
  };
}

/** "1 image", "2 images". */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString()} ${number === 1 ? one : many}`;
}
