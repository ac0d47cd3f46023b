// What the page's policy of trusted types lets through: two libraries' own scripts, and the emptying of elements.

const scripts = new Set();

window.trustedTypes?.createPolicy("default", {
  createHTML: (markup) => (markup === "" ? "" : null),
  createScriptURL: (url) => (scripts.has(url) ? url : null),
});

/** The address of a script beside this one, which may be run from now on. */
export function trusted(name) {
  const { href } = new URL(name, import.meta.url);
  scripts.add(href);
  return href;
}
