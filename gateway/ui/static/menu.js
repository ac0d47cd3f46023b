// A button that opens a menu: by mouse, touch and the keys of the ARIA pattern for menu buttons.

import { fill, h, icon } from "./dom.js";

/** `items` gives `{icon, name, action}` or `{icon, name, href}` for each entry when the menu is opened; null is left out. */
export function menuButton(name, symbol, items) {
  const list = h("div", { class: "menu-list", role: "menu", "aria-label": name, hidden: true });
  const button = h("button", { type: "button", class: "button quiet square", title: name, "aria-label": name, "aria-haspopup": "menu", "aria-expanded": "false" }, icon(symbol));
  const element = h("div", { class: "menu" }, button, list);

  const entries = () => [...list.children];
  const open = () => {
    fill(list, items().filter(Boolean).map(entry));
    list.hidden = false;
    button.setAttribute("aria-expanded", "true");
    entries()[0]?.focus();
    document.addEventListener("pointerdown", outside, true);
  };
  const close = ({ back = true } = {}) => {
    if (list.hidden) return;
    list.hidden = true;
    button.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside, true);
    if (back) button.focus();
  };
  const outside = (event) => {
    if (!element.contains(event.target)) close({ back: false });
  };
  const entry = ({ icon: sign, name: title, action, href, bad }) => {
    const attributes = { role: "menuitem", tabindex: "-1", class: bad ? "bad" : "" };
    const parts = [icon(sign), h("span", {}, title)];
    const left = () => close();
    if (href) return h("a", { ...attributes, href, target: "_blank", rel: "opener", onclick: left }, ...parts);
    return h("button", { ...attributes, type: "button", onclick: () => { close(); action(); } }, ...parts);
  };

  button.addEventListener("click", () => (list.hidden ? open() : close()));
  element.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    const all = entries();
    const at = all.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 };
    if (event.key in steps) all[steps[event.key] % all.length].focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  });
  return element;
}
