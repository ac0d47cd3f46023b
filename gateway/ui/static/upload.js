// Storing files by STOW-RS (PS3.18 10.5): dropped anywhere on the page or chosen, one request for each file, so that the
// outcome of each is known.

import { address, explanation } from "./api.js";
import { TAG, number, text, values } from "./dicom.js";
import { count, fill, h, icon } from "./dom.js";
import { authorization, signIn, token } from "./signin.js";

const AT_ONCE = 4;
const SKIPPED = /^(\..*|DICOMDIR|Thumbs\.db|desktop\.ini)$/i;

// Failure Reason (PS3.18 I.2.2) in words.
const REASONS = new Map([
  [0xc000, "is no readable DICOM file"],
  [0x0111, "differs from an object that is stored under the same UID"],
  [0xa900, "does not agree with itself"],
  [0x0122, "is of a kind that is not accepted"],
  [0xc122, "has a transfer syntax that is not accepted"],
  [0xa700, "could not be stored: no space, or too large"],
  [0x0110, "could not be stored"],
]);

let panel = null;
let afterStore = () => {};
let none = false;

/** Makes the whole page take dropped files; `stored` is called when some have been stored. */
export function takeFiles(button, stored) {
  afterStore = stored;
  fill(button, icon("upload"), h("span", {}, "Upload"));
  button.addEventListener("click", () => chooseFiles());
  const veil = h("div", { class: "veil", hidden: true }, h("div", {}, icon("upload"), h("p", {}, "Drop to store in the archive")));
  document.body.append(veil);
  let depth = 0;
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth += 1;
    veil.hidden = none;
  });
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth -= 1;
    veil.hidden = depth <= 0;
  });
  addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    if (none) return; // nor does the browser open them in place of the page
    // The entries are only there during the event: take them before the first await.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    store(entries.length ? (await Promise.all(entries.map(filesBelow))).flat() : files);
  });
}

/** Whether files are not to be taken, since they would be refused. */
export function takeNone(value) {
  none = value;
  document.body.classList.toggle("looks-only", value);
}

/** Lets the user choose files, or one folder. */
export function chooseFiles({ folder = false } = {}) {
  const input = h("input", { type: "file", multiple: true, webkitdirectory: folder, hidden: true, "aria-label": "DICOM files" });
  input.addEventListener("change", () => {
    store([...input.files]);
    input.remove();
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}

async function filesBelow(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives at most 100 entries at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return found;
    for (const child of some) found.push(...(await filesBelow(child)));
  }
}

async function store(files) {
  const wanted = files.filter((file) => !SKIPPED.test(file.name));
  if (wanted.length === 0) return;
  panel ??= new Panel();
  panel.add(wanted);
}

/** The panel with the progress of all uploads since it was opened. */
class Panel {
  #queue = [];
  #running = new Set();
  #total = 0;
  #bytes = 0;
  #sent = 0;
  #stored = 0;
  #refused = [];
  #studies = new Set();
  #progress = h("progress", { max: "1", value: "0", "aria-label": "Upload" });
  #status = h("p", { role: "status", "aria-live": "polite" });
  #troubles = h("ul", { class: "troubles" });
  #links = h("p", { class: "links" });
  #close = h("button", { type: "button", class: "button quiet square", onclick: () => this.#end() }, icon("x"));
  #element = h("section", { class: "panel", "aria-label": "Upload" },
    h("div", { class: "panel-head" }, h("h2", {}, "Upload"), this.#close), this.#progress, this.#status, this.#links, this.#troubles);

  constructor() {
    document.body.append(this.#element);
  }

  add(files) {
    this.#queue.push(...files);
    this.#total += files.length;
    this.#bytes += files.reduce((sum, file) => sum + file.size, 0);
    this.#show();
    while (this.#running.size < AT_ONCE && this.#queue.length) this.#next();
  }

  async #next() {
    const file = this.#queue.shift();
    const sending = new Sending(file, () => this.#show());
    this.#running.add(sending);
    try {
      const study = await sending.outcome();
      this.#stored += 1;
      if (study) this.#studies.add(study);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#refused.push(file.name);
      this.#troubles.append(h("li", {}, h("strong", { dir: "auto" }, file.name), ` ${error.message}`));
    }
    this.#running.delete(sending);
    this.#sent += file.size;
    if (this.#queue.length) this.#next();
    else if (this.#running.size === 0 && this.#stored) afterStore();
    this.#show();
  }

  #show() {
    const done = this.#stored + this.#refused.length;
    const busy = done < this.#total;
    const underway = [...this.#running].reduce((sum, sending) => sum + sending.sent, 0);
    this.#progress.value = busy ? Math.min(0.99, (this.#sent + underway) / Math.max(1, this.#bytes)) : 1;
    this.#progress.hidden = !busy;
    const outcome = [this.#stored && `${count(this.#stored, "file")} stored`, this.#refused.length && `${this.#refused.length} refused`].filter(Boolean).join(", ");
    this.#status.textContent = busy ? `${done} of ${count(this.#total, "file")}${this.#refused.length ? `, ${this.#refused.length} refused` : ""}` : outcome;
    this.#close.setAttribute("aria-label", busy ? "Stop the upload" : "Close");
    this.#close.title = busy ? "Stop the upload" : "Close";
    const [study] = this.#studies;
    fill(this.#links, !busy && this.#studies.size === 1 && h("a", { href: `#/studies/${encodeURIComponent(study)}`, onclick: () => this.#end() }, "Open the study"),
      !busy && this.#studies.size > 1 && h("a", { href: "#/", onclick: () => this.#end() }, `See the ${this.#studies.size} studies`));
  }

  #end() {
    this.#queue = [];
    for (const sending of this.#running) sending.abort();
    if (this.#running.size && this.#stored) afterStore();
    this.#element.remove();
    panel = null;
  }
}

/** One file on its way. */
class Sending {
  sent = 0;
  #file;
  #told;
  #request = null;
  #stopped = false;

  constructor(file, told) {
    this.#file = file;
    this.#told = told;
  }

  abort() {
    this.#stopped = true;
    this.#request?.abort();
  }

  /** The Study Instance UID under which the file was stored; throws an Error that says why it was not. */
  async outcome() {
    for (;;) {
      const used = token();
      const request = await this.#post();
      if (this.#stopped) throw new DOMException("stopped", "AbortError");
      if (request.status === 401) {
        await signIn(used);
        continue;
      }
      if (request.status === 0) throw new Error("could not be sent: the gateway does not answer");
      return this.#read(request);
    }
  }

  #post() {
    // Fetch tells nothing about the progress of a body; XMLHttpRequest does. The Blob streams the file from the disk.
    const boundary = `gantry-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    const body = new Blob([`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`, this.#file, `\r\n--${boundary}--\r\n`]);
    const request = (this.#request = new XMLHttpRequest());
    request.open("POST", address("studies"));
    request.setRequestHeader("Content-Type", `multipart/related; type="application/dicom"; boundary="${boundary}"`);
    request.setRequestHeader("Accept", "application/dicom+json");
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      this.sent = Math.min(event.loaded, this.#file.size);
      this.#told();
    });
    return new Promise((resolve) => {
      request.addEventListener("loadend", () => resolve(request));
      request.send(body);
    });
  }

  async #read(request) {
    let answer = null;
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // No JSON body: the status alone must do.
    }
    const failed = [...values(answer, TAG.FailedSOPSequence), ...values(answer, TAG.OtherFailuresSequence)];
    const [stored] = values(answer, TAG.ReferencedSOPSequence);
    if (stored && failed.length === 0) {
      const [, study] = /\/studies\/([^/]+)/.exec(text(stored, TAG.RetrieveURL)) ?? [];
      return study ? decodeURIComponent(study) : "";
    }
    if (failed.length) {
      const reason = number(failed[0], TAG.FailureReason);
      throw new Error(REASONS.get(reason) ?? `was refused (reason ${reason.toString(16).toUpperCase().padStart(4, "0")})`);
    }
    const response = new Response(request.responseText, { status: Math.max(200, request.status) });
    throw new Error(`was refused: ${await explanation(response)}`);
  }
}
