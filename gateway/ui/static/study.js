// One study: its series with thumbnails beside the viewer.

import { path, search, searchAll } from "./api.js";
import { TAG, date, kindOf, number, personName, text, time, withoutPicture } from "./dicom.js";
import { count, fill, h, icon } from "./dom.js";
import { downloadArchive } from "./download.js";
import { menuButton } from "./menu.js";
import { askToRemove, mayRemove } from "./remove.js";
import { guestOf } from "./guest.js";
import { may } from "./session.js";
import { share } from "./share.js";
import { SlideViewer, isSlide } from "./slide.js";
import { Stack, instancesOf } from "./stack.js";
import { thumbnail } from "./thumbnails.js";
import { Viewer } from "./viewer.js";

/** The study page. */
export class StudyPage {
  #page;
  #title;
  #viewer = new Viewer();
  #slide = new SlideViewer();
  #stage = this.#viewer; // the one that is shown
  #rail = h("ul", { class: "series" });
  #study = "";
  #series = [];
  #open = "";
  #who = [];
  #about = [];
  #mayRemove = false;
  #share = h("button", { type: "button", class: "button quiet square", title: "Share the study", "aria-label": "Share the study", hidden: true,
    onclick: () => share(this.#study, [...this.#who, this.#about.filter(Boolean).join(" · ")]) }, icon("share"));
  #changed;
  #running = new AbortController();

  /** `changed` is called when something was deleted. */
  constructor(page, title, changed) {
    this.#changed = changed;
    this.#page = page;
    this.#title = title;
    fill(page, h("nav", { class: "rail", "aria-label": "Series" }, this.#rail), this.#stage.element);
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows a study and one of its series; without `series` the first that has pictures. */
  async show(study, series) {
    if (study === this.#study) {
      if (this.#series.length) this.#show(series);
      return;
    }
    this.leave();
    this.#study = study;
    const { signal } = this.#running;
    try {
      const [found, all] = await Promise.all([
        search("studies", { StudyInstanceUID: study, includefield: "StudyDescription", limit: 1 }, signal),
        searchAll(`${path("studies", study)}/series`, { includefield: "SeriesDescription,BodyPartExamined" }, signal),
      ]);
      if (all.length === 0) {
        this.#viewer.say("none", "This study is not in the archive", "It may have been deleted.");
        return;
      }
      this.#describe(found.items[0] ?? all[0]);
      const order = (ds) => number(ds, TAG.SeriesNumber);
      this.#series = all.sort((one, other) => (order(one) || 0) - (order(other) || 0));
      fill(this.#rail, this.#series.map((ds) => this.#card(ds)));
      this.#show(series);
      this.#share.hidden = Boolean(guestOf()) || !(await may("share"));
      this.#mayRemove = (await may("delete")) && (await mayRemove(path("studies", study)));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#study = "";
      this.#viewer.say("none", "The study cannot be shown", error.message,
        h("button", { type: "button", class: "button", onclick: () => this.show(study, series) }, "Try again"));
    }
  }

  /** Frees the study. */
  leave() {
    this.#running.abort();
    this.#running = new AbortController();
    this.#take(this.#viewer);
    this.#study = this.#open = "";
    this.#series = [];
    fill(this.#rail);
    fill(this.#title);
  }

  #describe(ds) {
    const name = personName(ds, TAG.PatientName) || "Name not given";
    const identity = [text(ds, TAG.PatientID), text(ds, TAG.PatientSex), date(text(ds, TAG.PatientBirthDate))].filter(Boolean).join(" · ");
    const when = [date(text(ds, TAG.StudyDate)), time(text(ds, TAG.StudyTime))].filter(Boolean).join(" ");
    this.#who = [name, identity];
    this.#about = [text(ds, TAG.StudyDescription), when];
    fill(this.#title, h("a", { class: "button quiet square", href: "#/", "data-all": true, title: "All studies", "aria-label": "All studies" }, icon("back")),
      h("h1", {}, h("strong", { dir: "auto" }, name), h("span", { class: "muted", dir: "auto" }, [identity, ...this.#about].filter(Boolean).join(" · "))),
      this.#share, menuButton("Download and more", "more", () => this.#actions()));
  }

  #actions() {
    const study = path("studies", this.#study);
    const series = this.#open && path("studies", this.#study, "series", this.#open);
    const ohif = guestOf() ? "" : document.body.dataset.ohif;
    return [
      { icon: "down", name: "Download the study (zip)", action: () => downloadArchive(study) },
      series && { icon: "down", name: "Download this series (zip)", action: () => downloadArchive(series) },
      series && { icon: "down", name: "Download this object", action: () => this.#stage.download() },
      ohif && { icon: "open", name: "Open in OHIF", href: `${ohif}viewer?StudyInstanceUIDs=${encodeURIComponent(this.#study)}` },
      this.#mayRemove && series && this.#series.length > 1 && { icon: "trash", name: "Delete this series …", bad: true, action: () => this.#removeSeries(series) },
      this.#mayRemove && { icon: "trash", name: "Delete the study …", bad: true, action: () => this.#removeStudy(study) },
    ];
  }

  #removeStudy(study) {
    const objects = this.#series.reduce((sum, ds) => sum + (number(ds, TAG.NumberOfSeriesRelatedInstances) || 0), 0);
    const size = `${count(this.#series.length, "series", "series")}, ${count(objects, "object")}`;
    askToRemove(study, "study", [...this.#who, this.#about.filter(Boolean).join(" · "), size], () => {
      this.#changed();
      location.hash = "#/";
    });
  }

  #removeSeries(series) {
    const ds = this.#series.find((one) => text(one, TAG.SeriesInstanceUID) === this.#open);
    const name = [text(ds, TAG.Modality), text(ds, TAG.SeriesNumber), text(ds, TAG.SeriesDescription)].filter(Boolean).join(" · ");
    const size = count(number(ds, TAG.NumberOfSeriesRelatedInstances) || 0, "object");
    askToRemove(series, "series", [...this.#who, name, size], () => {
      const study = this.#study;
      this.#changed();
      this.leave();
      location.hash = `#/${path("studies", study)}`;
      this.show(study);
    });
  }

  #card(ds) {
    const uid = text(ds, TAG.SeriesInstanceUID);
    const modality = text(ds, TAG.Modality);
    const kind = kindOf("", modality);
    const pictured = !withoutPicture(modality);
    const resource = path("studies", this.#study, "series", uid);
    const seriesNumber = text(ds, TAG.SeriesNumber);
    const instances = number(ds, TAG.NumberOfSeriesRelatedInstances);
    return h("li", {}, h("a", { class: "card", href: `#/${resource}`, "data-series": uid },
      thumbnail(pictured ? resource : null, kind),
      h("span", { class: "card-text" },
        h("span", { class: "card-name", dir: "auto" }, text(ds, TAG.SeriesDescription) || (pictured ? text(ds, TAG.BodyPartExamined) || "No description" : kind.name)),
        h("span", { class: "muted" }, h("span", { class: "badge" }, modality || "?"), seriesNumber && ` ${seriesNumber}`, " · ",
          Number.isNaN(instances) ? "" : pictured ? count(instances, "image") : count(instances, "object")))));
  }

  async #show(asked) {
    const uids = this.#series.map((ds) => text(ds, TAG.SeriesInstanceUID));
    const pictured = this.#series.find((ds) => !withoutPicture(text(ds, TAG.Modality))) ?? this.#series[0];
    const series = uids.includes(asked) ? asked : text(pictured, TAG.SeriesInstanceUID);
    if (series === this.#open) return;
    this.#open = series;
    for (const card of this.#rail.querySelectorAll(".card")) {
      const current = card.dataset.series === series;
      card.setAttribute("aria-current", String(current));
      if (current) card.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.#take(this.#viewer);
    const ds = this.#series[uids.indexOf(series)];
    const { signal } = this.#running;
    try {
      const resource = path("studies", this.#study, "series", series);
      const instances = await instancesOf(resource, signal);
      if (this.#open !== series || signal.aborted) return;
      const words = { modality: text(ds, TAG.Modality), who: this.#who, what: [text(ds, TAG.SeriesDescription), ...this.#about] };
      if (isSlide(instances)) {
        this.#take(this.#slide);
        await this.#slide.open(resource, instances, words);
      } else {
        this.#viewer.open(new Stack(resource, instances), words);
        this.#viewer.focus();
      }
    } catch (error) {
      if (error.name === "AbortError" || this.#open !== series) return;
      this.#open = "";
      this.#viewer.say("none", "The series cannot be shown", error.message,
        h("button", { type: "button", class: "button", onclick: () => this.#show(series) }, "Try again"));
    }
  }

  /** Puts one of the viewers on the stage, and empties both. */
  #take(stage) {
    this.#viewer.close();
    this.#slide.close();
    this.#stage.element.replaceWith(stage.element);
    this.#stage = stage;
  }

  #neighbour(steps) {
    const uids = this.#series.map((ds) => text(ds, TAG.SeriesInstanceUID));
    const next = uids[uids.indexOf(this.#open) + steps];
    if (next) location.hash = `#/${path("studies", this.#study, "series", next)}`;
  }

  #key(event) {
    if (this.#page.hidden || document.querySelector("dialog[open]") || event.metaKey || event.altKey) return;
    const { target, key } = event;
    if (target.matches("select, video, iframe, .pages, input:not([type=range]):not([type=radio])") && key !== "Escape") return;
    if ((key === " " || key === "Enter") && target.matches("button, a")) return;
    if (target.matches("input[type=radio]") && key.startsWith("Arrow")) return;
    if (target.closest(".rail") && key.startsWith("Arrow")) return;
    const actions = {
      "[": () => this.#neighbour(-1), "]": () => this.#neighbour(1), Escape: () => (location.hash = guestOf() ? location.hash : "#/"),
      ...this.#stage.keys,
    };
    const held = key.startsWith("Arrow") && [event.shiftKey && "Shift+", event.ctrlKey && "Control+"].find(Boolean);
    if (event.ctrlKey && !held) return;
    const action = actions[(held || "") + key] ?? (held ? null : actions[key.toLowerCase()]);
    if (!action) return;
    event.preventDefault();
    action();
  }
}
