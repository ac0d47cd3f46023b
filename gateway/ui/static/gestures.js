// What mouse, touch and wheel mean on the picture, told in the words of the viewer.

const WHEEL_STEP = 60; // pixels of a touch pad's wheel events for one slice; a mouse notch is more
const TOUCH_STEP = 14; // pixels of a one-finger drag for one slice
const MOUSE_STEP = 8;
const OWN = "button, a, input, select, iframe, video, .pages"; // what has gestures of its own

/**
 * Turns pointer and wheel events on `surface` into calls:
 * `tool()` gives the chosen tool; `scroll(steps)`, `windowStart()`, `windowDrag(right, down)`, `windowEnd()`,
 * `measureStart(at)`, `measureDrag(at)`, `measureEnd()`, `pan(right, down)`, `zoom(factor, x, y)` with places on the
 * surface, `reset()`.
 */
export function gestures(surface, actions) {
  const fingers = new Map();
  let doing = null; // the tool of the drag that is under way
  let start = null;
  let travelled = 0;
  let wheel = 0;

  const at = (event) => {
    const { left, top } = surface.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };

  const toolFor = (event) => {
    if (event.pointerType === "mouse") {
      if (event.button === 1 || event.shiftKey) return "pan";
      if (event.button === 2 || event.ctrlKey) return "zoom";
    }
    return actions.tool();
  };

  const finish = () => {
    if (doing === "window") actions.windowEnd();
    if (doing === "measure") actions.measureEnd();
    doing = null;
    surface.classList.remove("dragging");
  };

  surface.addEventListener("pointerdown", (event) => {
    if (event.target.closest(OWN)) return;
    surface.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    finish();
    if (fingers.size > 1) return;
    doing = toolFor(event);
    start = at(event);
    travelled = 0;
    surface.classList.add("dragging");
    if (doing === "window") actions.windowStart();
    if (doing === "measure") actions.measureStart(start);
  });

  surface.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = at(event);
    if (fingers.size === 2) pinch(event.pointerId, before, now);
    fingers.set(event.pointerId, now);
    if (fingers.size > 1) return;
    const right = now.x - before.x;
    const down = now.y - before.y;
    if (doing === "pan") actions.pan(right, down);
    else if (doing === "zoom") actions.zoom(1.008 ** -down, start.x, start.y);
    else if (doing === "window") actions.windowDrag(now.x - start.x, now.y - start.y);
    else if (doing === "measure") actions.measureDrag(now);
    else if (doing === "scroll") {
      travelled += down / (event.pointerType === "mouse" ? MOUSE_STEP : TOUCH_STEP);
      const steps = Math.trunc(travelled);
      travelled -= steps;
      if (steps) actions.scroll(steps);
    }
  });

  const pinch = (moving, before, now) => {
    const [[, other]] = [...fingers].filter(([id]) => id !== moving);
    const distance = (one) => Math.max(20, Math.hypot(one.x - other.x, one.y - other.y));
    actions.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    actions.zoom(distance(now) / distance(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
  };

  const lift = (event) => {
    fingers.delete(event.pointerId);
    finish();
  };
  surface.addEventListener("pointerup", lift);
  surface.addEventListener("pointercancel", lift);
  surface.addEventListener("contextmenu", (event) => event.preventDefault());
  surface.addEventListener("dblclick", (event) => {
    if (!event.target.closest(OWN)) actions.reset();
  });

  surface.addEventListener("wheel", (event) => {
    if (event.target.closest(".pages")) return;
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * 40 : event.deltaMode === 2 ? event.deltaY * 400 : event.deltaY;
    if (event.ctrlKey || event.metaKey) {
      const { x, y } = at(event);
      actions.zoom(1.0025 ** -pixels, x, y);
      return;
    }
    // A mouse notch is one slice, however large the system makes it; a touch pad's many small events add up to one.
    if (Math.abs(pixels) >= WHEEL_STEP) {
      wheel = 0;
      actions.scroll(Math.sign(pixels));
      return;
    }
    if (Math.sign(pixels) !== Math.sign(wheel)) wheel = 0;
    wheel += pixels;
    const steps = Math.trunc(wheel / WHEEL_STEP);
    wheel -= steps * WHEEL_STEP;
    if (steps) actions.scroll(steps);
  }, { passive: false });
}
