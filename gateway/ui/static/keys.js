// The viewer's keys, by their names, and what each does; see StudyPage.

const TOOLS = { w: "window", s: "scroll", p: "pan", z: "zoom", m: "measure" };
const WINDOW = 10; // pixels of a drag
const MOVE = 40; // CSS pixels

export function viewerKeys(viewer, help) {
  const sides = [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]];
  return {
    ...Object.fromEntries(sides.map(([key, right, down]) => [key, () => viewer.step(right + down)])),
    ...Object.fromEntries(sides.map(([key, right, down]) => [`Shift+${key}`, () => viewer.changeWindow(WINDOW * right, WINDOW * down)])),
    ...Object.fromEntries(sides.map(([key, right, down]) => [`Control+${key}`, () => viewer.move(-MOVE * right, -MOVE * down)])),
    PageDown: () => viewer.step(10), PageUp: () => viewer.step(-10), Home: () => viewer.first(), End: () => viewer.last(),
    "+": () => viewer.zoom(1.25), "=": () => viewer.zoom(1.25), "-": () => viewer.zoom(0.8), f: () => viewer.fit(), r: () => viewer.reset(),
    i: () => viewer.invert(), t: () => viewer.turn(), h: () => viewer.flip(), v: () => viewer.flip({ upsideDown: true }),
    ...Object.fromEntries(Object.entries(TOOLS).map(([key, tool]) => [key, () => viewer.choose(tool)])),
    " ": () => viewer.play(), 0: () => viewer.setPreset(null), Delete: () => viewer.erase(), "?": help,
    ...Object.fromEntries(Array.from({ length: 9 }, (_, place) => [String(place + 1), () => viewer.setPreset(place)])),
  };
}
