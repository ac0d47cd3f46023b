// Thumbnails: asked for when they come into view, a neutral icon where there is no picture.

import { PICTURES, get } from "./api.js";
import { h, icon } from "./dom.js";

const waiting = new WeakMap();

const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    waiting.get(target)?.();
  }
}, { rootMargin: "200px" });

/**
 * A thumbnail of a study or series. `kind` gives the icon when it has no picture, and says what it is;
 * with `resource` null none is asked for.
 */
export function thumbnail(resource, kind) {
  const frame = h("span", { class: "thumb" });
  const neutral = () => {
    frame.classList.add("neutral");
    frame.title = kind.name;
    frame.replaceChildren(icon(kind.icon));
  };
  if (resource === null) {
    neutral();
    return frame;
  }
  waiting.set(frame, async () => {
    try {
      const response = await get(`${resource}/thumbnail`, { query: { viewport: "192,192" }, accept: PICTURES });
      // The gateway warns that this is no more than an icon; the page's own tells more.
      if (response.headers.has("Warning")) return neutral();
      const url = URL.createObjectURL(await response.blob());
      const image = h("img", { alt: "", src: url });
      await image.decode().finally(() => URL.revokeObjectURL(url));
      frame.replaceChildren(image);
    } catch {
      // No picture, or none now: the row is as usable without it.
      neutral();
    }
  });
  watcher.observe(frame);
  return frame;
}
