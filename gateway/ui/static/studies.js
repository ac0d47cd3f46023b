// The list of studies: search, rows with thumbnails, more on scrolling, and what to do when there is none yet.

import { path, search } from "./api.js";
import { TAG, date, kindOf, number, personName, text, time, values, withoutPicture } from "./dicom.js";
import { count, fill, h, icon, settled } from "./dom.js";
import { thumbnail } from "./thumbnails.js";
import { chooseFiles } from "./upload.js";

const PAGE = 50;
const MODALITIES = ["CT", "MR", "US", "DX", "CR", "MG", "XA", "RF", "PT", "NM", "OT", "SC", "ES", "XC", "SM", "OP", "SR", "SEG", "RTDOSE", "RTSTRUCT"];

/** Fills `page` with the search form and the list; gives a function that searches again. */
export function studyList(page) {
  const form = searchForm();
  const status = h("p", { class: "status", role: "status", "aria-live": "polite" });
  const rows = h("ul", { class: "rows", "aria-label": "Studies" });
  const more = h("button", { type: "button", class: "button", hidden: true }, "Show more studies");
  const empty = h("div", { class: "empty", hidden: true });
  const refresh = h("button", { type: "button", class: "button quiet square", title: "Search again", "aria-label": "Search again" }, icon("refresh"));
  let running = new AbortController();
  let asked = null;

  fill(page, h("h1", { class: "unseen" }, "Studies"), form.element,
    h("div", { class: "list-head" }, status, refresh), columnHeads(), rows, more, empty);

  async function run({ next = false } = {}) {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    const query = next ? asked : form.query();
    asked = query;
    page.setAttribute("aria-busy", "true");
    try {
      const shown = next ? rows.children.length : 0;
      let { items, total } = await search("studies", { ...query, limit: PAGE, offset: shown }, signal);
      if (!next && items.length === 0 && query.PatientName) {
        // "given family" is how people say a name; the data have the family name first.
        const turned = { ...query, PatientName: namePattern(form.name(), { turned: true }) };
        if (turned.PatientName !== query.PatientName) {
          ({ items, total } = await search("studies", { ...turned, limit: PAGE, offset: 0 }, signal));
          asked = turned;
        }
      }
      if (next) rows.append(...items.map(row));
      else fill(rows, items.map(row));
      present(shown + items.length, total, items.length === PAGE);
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(rows);
      more.hidden = true;
      page.classList.add("no-rows");
      status.textContent = "";
      showTrouble(error);
    }
    page.removeAttribute("aria-busy");
  }

  function present(shown, total, mayBeMore) {
    const all = Number.isNaN(total) ? shown : total;
    more.hidden = !(Number.isNaN(total) ? mayBeMore : shown < total);
    status.textContent = shown === 0 ? "" : shown < all ? `${count(shown, "study", "studies")} of ${all.toLocaleString()}` : count(shown, "study", "studies");
    page.classList.toggle("no-rows", shown === 0);
    empty.hidden = shown > 0;
    if (shown > 0) return;
    fill(empty, form.narrowed() ? nothingFound(form.clear) : firstImage());
  }

  function showTrouble(error) {
    empty.hidden = false;
    fill(empty, icon("none"), h("h2", {}, error.status === 401 ? "Signed out" : "The studies cannot be shown"),
      h("p", { role: "alert" }, error.message),
      h("button", { type: "button", class: "button primary", onclick: () => run() }, error.status === 401 ? "Sign in" : "Try again"));
  }

  form.element.addEventListener("input", settled(() => run(), 250));
  form.element.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  refresh.addEventListener("click", () => run());
  more.addEventListener("click", () => run({ next: true }));
  new IntersectionObserver(([entry]) => {
    if (entry.isIntersecting && !more.hidden && !page.hasAttribute("aria-busy")) run({ next: true });
  }, { rootMargin: "300px" }).observe(more);
  form.cleared(() => run());
  return run;
}

function searchForm() {
  const field = (name, label, attributes) => {
    const input = h("input", { id: `search-${name}`, name, type: "search", autocomplete: "off", spellcheck: "false", ...attributes });
    return { input, element: h("div", { class: `field field-${name}` }, h("label", { for: input.id }, label), input) };
  };
  const name = field("name", "Patient name", { placeholder: "Family, given", enterkeyhint: "search" });
  const id = field("id", "Patient ID", { enterkeyhint: "search" });
  const accession = field("accession", "Accession", { enterkeyhint: "search" });
  const from = field("from", "Study date from", { type: "date" });
  const to = field("to", "to", { type: "date" });
  const modality = h("select", { id: "search-modality" }, h("option", { value: "" }, "Any"), MODALITIES.map((code) => h("option", { value: code }, code)));
  const clear = h("button", { type: "button", class: "button quiet clear", hidden: true }, "Clear");
  const filters = h("details", { class: "filters" }, h("summary", {}, "More filters"),
    h("div", { class: "fields" }, id.element, accession.element, from.element, to.element,
      h("div", { class: "field field-modality" }, h("label", { for: modality.id }, "Modality"), modality), clear));
  const wide = matchMedia("(min-width: 760px)");
  const unfold = () => (filters.open = wide.matches || narrowedBeyondName());
  const narrowedBeyondName = () => [id.input, accession.input, from.input, to.input, modality].some((input) => input.value !== "");
  wide.addEventListener("change", unfold);
  unfold();
  const element = h("form", { class: "search", role: "search" }, name.element, filters);
  const narrowed = () => name.input.value.trim() !== "" || narrowedBeyondName();
  element.addEventListener("input", () => (clear.hidden = !narrowed()));
  let afterClear = () => {};
  const clearAll = () => {
    element.reset();
    clear.hidden = true;
    name.input.focus();
    afterClear();
  };
  clear.addEventListener("click", clearAll);
  return {
    element,
    narrowed,
    name: () => name.input.value,
    clear: clearAll,
    cleared: (then) => (afterClear = then),
    query: () => ({
      PatientName: namePattern(name.input.value),
      PatientID: anywhere(id.input.value),
      AccessionNumber: anywhere(accession.input.value),
      StudyDate: dateRange(from.input.value, to.input.value),
      ModalitiesInStudy: modality.value,
      includefield: "StudyDescription",
    }),
  };
}

/** Wildcard matching (PS3.4 C.2.2.2.4) that finds the typed text anywhere; the user's own wildcards are kept. */
function anywhere(typed) {
  const wanted = typed.trim();
  return wanted === "" || /[*?]/.test(wanted) ? wanted : `*${wanted}*`;
}

function namePattern(typed, { turned = false } = {}) {
  if (/[*?]/.test(typed)) return typed.trim();
  const words = typed.split(/[\s,^]+/).filter(Boolean);
  if (turned) words.reverse();
  return words.length ? `*${words.join("*")}*` : "";
}

/** A DA range (PS3.4 C.2.2.2.5), open where nothing was chosen. */
function dateRange(from, to) {
  const plain = (value) => value.replaceAll("-", "");
  return from || to ? `${plain(from)}-${plain(to)}` : "";
}

function columnHeads() {
  return h("div", { class: "heads", "aria-hidden": "true" },
    ["", "Patient", "Study", "Modality", "Date", "Size"].map((name) => h("span", {}, name)));
}

function row(study) {
  const modalities = values(study, TAG.ModalitiesInStudy).map(String);
  const uid = text(study, TAG.StudyInstanceUID);
  const pictured = modalities.length === 0 || !modalities.every(withoutPicture);
  const series = number(study, TAG.NumberOfStudyRelatedSeries);
  const instances = number(study, TAG.NumberOfStudyRelatedInstances);
  const born = date(text(study, TAG.PatientBirthDate));
  const who = [text(study, TAG.PatientID), text(study, TAG.PatientSex), born && `born ${born}`].filter(Boolean).join(" · ");
  const accession = text(study, TAG.AccessionNumber);
  return h("li", {}, h("a", { class: "row", href: `#/${path("studies", uid)}` },
    thumbnail(pictured ? path("studies", uid) : null, kindOf("", modalities[0])),
    h("span", { class: "patient" }, h("strong", { dir: "auto" }, personName(study, TAG.PatientName) || "Name not given"), h("span", { class: "muted", dir: "auto" }, who)),
    h("span", { class: "what" }, h("span", { dir: "auto" }, text(study, TAG.StudyDescription) || "No description"),
      accession && h("span", { class: "muted" }, `Accession ${accession}`)),
    h("span", { class: "modalities" }, modalities.map((code) => h("span", { class: "badge" }, code))),
    h("span", { class: "when" }, h("span", {}, date(text(study, TAG.StudyDate)) || "No date"), h("span", { class: "muted" }, time(text(study, TAG.StudyTime)))),
    h("span", { class: "counts" }, h("span", {}, Number.isNaN(instances) ? "" : count(instances, modalities.some(withoutPicture) ? "object" : "image")), h("span", { class: "muted" }, Number.isNaN(series) ? "" : count(series, "series", "series")))));
}

function nothingFound(clear) {
  return [icon("search"), h("h2", {}, "No study matches"),
    h("p", { class: "muted" }, "Part of a name is enough; * stands for any letters."),
    h("button", { type: "button", class: "button", onclick: clear }, "Clear the search")];
}

function firstImage() {
  const { aet, dimsePort } = document.body.dataset;
  const command = `storescu -aec ${aet} +sd +r ${location.hostname} ${dimsePort} path/to/images`;
  const copied = h("span", { class: "muted", role: "status" });
  const copy = h("button", { type: "button", class: "button", onclick: async () => {
    await navigator.clipboard.writeText(command);
    copied.textContent = "Copied";
  } }, "Copy");
  return [h("img", { src: "static/logo.svg", alt: "", width: "72", height: "72" }),
    h("h2", {}, "No studies yet"),
    h("div", { class: "ways" },
      h("section", { class: "way drop-hint" }, icon("upload"), h("h3", {}, "Drop DICOM files or a folder here"),
        h("p", { class: "muted" }, "They are stored at once and show up in this list."),
        h("button", { type: "button", class: "button primary", onclick: () => chooseFiles() }, "Choose files"),
        h("button", { type: "button", class: "button", onclick: () => chooseFiles({ folder: true }) }, "Choose a folder")),
      h("section", { class: "way" }, icon("stack"), h("h3", {}, "Or send them from a modality"),
        h("p", { class: "muted" }, `DICOM C-STORE to AE title ${aet}, port ${dimsePort}. With dcmtk:`),
        h("code", { class: "command", tabindex: "0" }, command),
        window.isSecureContext && h("div", {}, copy, " ", copied)))];
}
