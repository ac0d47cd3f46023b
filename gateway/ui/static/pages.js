// PDF documents drawn by the page itself, where the browser shows none inside a page, as on phones: with PDF.js, which is
// loaded only here. Scripts and forms of a document are not run, and its links lead nowhere.

import { fill, h } from "./dom.js";
import { trusted } from "./trusted.js";

const LIBRARY = "./pdfjs/pdf.min.mjs";
const AHEAD = "100%"; // of the screen: pages that near are drawn already
const SHARPEST = 2; // pixels of the device for one of CSS
const SPOKEN = 5000; // characters of a page that are read out

let loaded = null;

async function library() {
  if (!loaded) {
    loaded = await import(LIBRARY);
    loaded.GlobalWorkerOptions.workerSrc = trusted("pdfjs/pdf.worker.min.mjs");
  }
  return loaded;
}

/** An element with the pages of a document one below the other, and `free()`. Throws an Error where it cannot be read. */
export async function openPages(blob, name) {
  const pdfjs = await library();
  const below = (folder) => new URL(`pdfjs/${folder}/`, import.meta.url).href;
  const task = pdfjs.getDocument({
    data: await blob.arrayBuffer(), standardFontDataUrl: below("standard_fonts"), wasmUrl: below("wasm"),
    useWasm: false, isEvalSupported: false, enableXfa: false,
  });
  const pdf = await task.promise;
  const first = await pdf.getPage(1);
  const { width, height } = first.getViewport({ scale: 1 });
  const sheets = Array.from({ length: pdf.numPages }, (_, at) => {
    const canvas = h("canvas", { role: "img", "aria-label": `Page ${at + 1} of ${pdf.numPages}`, "data-page": at + 1, width: 100, height: Math.round((100 * height) / width) });
    return h("div", { class: "sheet" }, canvas);
  });
  const element = h("div", { class: "document pages", tabindex: "0", role: "document", "aria-label": name });
  fill(element, sheets);
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      draw(pdfjs, pdf, target).catch(() => target.classList.add("blank"));
    }
  }, { root: element, rootMargin: AHEAD });
  for (const sheet of sheets) watcher.observe(sheet.firstChild);
  return { element, free: () => { watcher.disconnect(); task.destroy(); } };
}

async function draw(pdfjs, pdf, canvas) {
  const page = await pdf.getPage(Number(canvas.dataset.page));
  const wide = page.getViewport({ scale: 1 }).width;
  const scale = (canvas.clientWidth * Math.min(devicePixelRatio, SHARPEST)) / wide;
  const viewport = page.getViewport({ scale });
  canvas.width = Math.round(viewport.width);
  canvas.height = Math.round(viewport.height);
  await page.render({ canvas, viewport, annotationMode: pdfjs.AnnotationMode.ENABLE }).promise;
  canvas.dataset.drawn = "true";
  const { items } = await page.getTextContent();
  const text = items.map(({ str, hasEOL }) => str + (hasEOL ? " " : "")).join("").slice(0, SPOKEN);
  canvas.setAttribute("aria-label", `${canvas.getAttribute("aria-label")}: ${text}`);
}
