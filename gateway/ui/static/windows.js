// Grey levels: the windows that the data set and custom offer, and how a drag changes them (PS3.3 C.11.2.1.2).

import { TAG, numbers, text, values } from "./dicom.js";

const CUSTOM = {
  CT: [
    ["Soft tissue", 40, 400], ["Lung", -600, 1500], ["Bone", 480, 2500], ["Brain", 40, 80],
    ["Mediastinum", 50, 350], ["Liver", 60, 160],
  ],
};

/** The windows on offer for an instance: its own first (`own` true), then those customary for its modality. */
export function windowsFor(ds, modality, frame = 1) {
  const own = ownWindows(ds, frame);
  const custom = (CUSTOM[modality] ?? []).map(([name, center, width]) => ({ name, center, width }));
  const same = (one, other) => one.center === other.center && one.width === other.width;
  return [...own, ...custom.filter((window) => !own.some((known) => same(known, window)))];
}

function ownWindows(ds, frame) {
  const voi = [ds, frameGroup(ds, TAG.PerFrameFunctionalGroups, frame - 1), frameGroup(ds, TAG.SharedFunctionalGroups, 0)];
  const holder = voi.find((item) => numbers(item, TAG.WindowCenter).length) ?? {};
  const centers = numbers(holder, TAG.WindowCenter);
  const widths = numbers(holder, TAG.WindowWidth);
  return centers.slice(0, widths.length).map((center, index) => ({
    name: sentence(String(values(holder, TAG.WindowExplanation)[index] ?? "")) || (index ? `From the image ${index + 1}` : "From the image"),
    center,
    width: widths[index],
    own: true,
  }));
}

function frameGroup(ds, groups, index) {
  return values(values(ds, groups)[index], TAG.FrameVOILUT)[0];
}

function sentence(words) {
  const lower = words.trim().toLowerCase();
  return lower.charAt(0).toUpperCase() + lower.slice(1);
}

/** The window that a picture shows, from what the gateway says of it: `{center, width, source}`, or null for colour and LUTs. */
export function shownWindow(rendering) {
  const [, center, width] = /window="([^,"]+),([^,"]+)/.exec(rendering ?? "") ?? [];
  const [, source = ""] = /source=(\w+)/.exec(rendering ?? "") ?? [];
  return width === undefined ? null : { center: Number(center), width: Number(width), source };
}

/** Where a drag starts when no window was chosen: the image's own, else a guess by modality. */
export function startingWindow(ds, modality, frame = 1) {
  const [own] = windowsFor(ds, modality, frame);
  if (own) return { center: own.center, width: own.width };
  const bits = numbers(ds, "00280101")[0] ?? 8;
  return { center: 2 ** (bits - 1), width: 2 ** bits };
}

/** The window after a drag by (right, down) pixels from `start`: right widens, down raises the centre. */
export function dragged(start, right, down) {
  const step = Math.max(start.width, 1) / 300;
  const digits = step < 0.02 ? 3 : step < 0.2 ? 1 : 0;
  const round = (value) => Number(value.toFixed(digits));
  return { center: round(start.center + down * step), width: Math.max(round(start.width + right * step), step < 0.2 ? 0.1 : 1) };
}

/** Whether grey levels can be windowed at all. */
export function hasGreyLevels(ds) {
  return !ds || /^MONOCHROME[12]$/.test(text(ds, TAG.PhotometricInterpretation));
}

/** The `window` parameter of a rendered resource (PS3.18 8.3.5.1.4). */
export function windowParameter(window) {
  return window ? `${window.center},${window.width},linear` : "";
}
