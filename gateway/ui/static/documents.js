// What is no stack of pictures: PDF documents, structured reports, films. Each is shown in a frame or player of the browser.

import { address, get } from "./api.js";
import { h } from "./dom.js";
import { openPages } from "./pages.js";
import { token } from "./signin.js";

const STORAGE = "1.2.840.10008.5.1.4.1.1.";
const FILMS = /^1\.2\.840\.10008\.1\.2\.4\.10[0-8]/; // MPEG-2, MPEG-4 AVC and HEVC

const KINDS = {
  pdf: { accept: "application/pdf", name: "PDF document" },
  report: { accept: "text/html", name: "Structured report" },
  film: { accept: "video/*", name: "Video" },
};

/** The kind of document that an object is, or "" when it is shown as pictures. */
export function documentKind(sopClass, transferSyntax) {
  if (FILMS.test(transferSyntax)) return "film";
  if (!sopClass.startsWith(STORAGE)) return "";
  const rest = sopClass.slice(STORAGE.length);
  if (rest === "104.1") return "pdf";
  return rest.startsWith("88.") ? "report" : "";
}

/**
 * The element that shows the document `instance` of this kind, with `free()` to be called when it is no longer shown.
 * Throws Failure, and AbortError when `signal` says so.
 */
export async function openDocument(kind, instance, signal) {
  const { accept, name } = KINDS[kind];
  const resource = `${instance}/rendered`;
  // A player asks for the parts it needs; only with a token, which it cannot carry, the whole film is fetched first.
  if (kind === "film" && !token()) return film(address(resource).href, () => {});
  const response = await get(resource, { accept, signal });
  // Whatever it says of itself, it is opened as what was asked for: nothing that is stored becomes a page.
  const blob = kind === "report" ? await readable(response) : new Blob([await response.blob()], { type: kind === "pdf" ? accept : "video/mp4" });
  const url = URL.createObjectURL(blob);
  const free = () => URL.revokeObjectURL(url);
  if (kind === "film") return film(url, free);
  if (kind === "pdf" && !navigator.pdfViewerEnabled) return pagesOf(blob, url, name, free);
  return { element: frame(kind, url, name), free };
}

function film(url, free) {
  const element = h("video", { class: "film", src: url, controls: true, loop: true, playsinline: true, preload: "metadata", "aria-label": "Video" });
  element.muted = true;
  return { element, free: () => { element.removeAttribute("src"); element.load(); free(); } };
}

function frame(kind, url, name) {
  // Nothing in a report may run or reach out: scripts are off, and the frame has this page's own policy. The browser's
  // viewer of PDF documents does not work in a sandbox; it has one of its own.
  return h("iframe", { class: `document ${kind}`, title: name, src: kind === "pdf" ? `${url}#navpanes=0&view=FitH` : url, ...(kind === "report" ? { sandbox: "allow-same-origin" } : {}) });
}

/** The pages drawn here; what cannot be drawn can still be opened by whatever the device has for it. */
async function pagesOf(blob, url, name, free) {
  try {
    const pages = await openPages(blob, name);
    return { element: pages.element, free: () => { pages.free(); free(); } };
  } catch {
    return { element: link(url, name), free };
  }
}

function link(url, name) {
  return h("div", { class: "unshown" }, h("p", {}, "This document cannot be shown here."),
    h("a", { class: "button primary", href: url, target: "_blank", rel: "noopener" }, `Open the ${name}`));
}

/** A report as it came, with this page's style in place of its own, which the page's policy does not let in. */
async function readable(response) {
  const style = new URL("static/report.css", document.baseURI).href;
  const text = (await response.text()).replace(/<style\b[^>]*>[^]*?<\/style\s*>/gi, "");
  return new Blob([`<!DOCTYPE html><meta charset="utf-8"><link rel="stylesheet" href="${style}">`, text], { type: "text/html" });
}
