// How far apart the pixels of an image are in the patient, or on the detector (PS3.3 10.7, C.8.5.5).

import { number, numbers, values } from "./dicom.js";

const TAG = {
  PixelSpacing: "00280030", ImagerPixelSpacing: "00181164", NominalScannedPixelSpacing: "00182010",
  PixelMeasures: "00289110", SharedFunctionalGroups: "52009229", PerFrameFunctionalGroups: "52009230",
  UltrasoundRegions: "00186011", RegionMinX: "00186018", RegionMinY: "0018601A", RegionMaxX: "0018601C",
  RegionMaxY: "0018601E", UnitsX: "00186024", UnitsY: "00186026", DeltaX: "0018602C", DeltaY: "0018602E",
};
const CENTIMETRES = 3; // Physical Units X and Y Direction (PS3.3 C.8.5.5.1.15)

/**
 * Millimetres between columns and between rows at a point of a frame, in its pixels: `{across, down, note}`, or null
 * where the image does not say. `note` tells when that is not the size in the patient.
 */
export function spacingAt(ds, frame, point) {
  const groups = [values(ds, TAG.PerFrameFunctionalGroups)[frame - 1], values(ds, TAG.SharedFunctionalGroups)[0]];
  const measured = groups.map((group) => values(group, TAG.PixelMeasures)[0]);
  for (const item of [ds, ...measured]) {
    const found = pair(numbers(item, TAG.PixelSpacing));
    if (found) return { ...found, note: "" };
  }
  const region = values(ds, TAG.UltrasoundRegions).find((one) => covers(one, point));
  if (region) return ofRegion(region);
  const detector = pair(numbers(ds, TAG.ImagerPixelSpacing)) ?? pair(numbers(ds, TAG.NominalScannedPixelSpacing));
  return detector && { ...detector, note: "at the detector" };
}

function pair([down, across]) {
  return down > 0 && across > 0 ? { across, down } : null;
}

function covers(region, { x, y }) {
  return x >= number(region, TAG.RegionMinX) && x <= number(region, TAG.RegionMaxX) && y >= number(region, TAG.RegionMinY) && y <= number(region, TAG.RegionMaxY);
}

function ofRegion(region) {
  if (number(region, TAG.UnitsX) !== CENTIMETRES || number(region, TAG.UnitsY) !== CENTIMETRES) return null;
  const found = pair([10 * Math.abs(number(region, TAG.DeltaY)), 10 * Math.abs(number(region, TAG.DeltaX))]);
  return found && { ...found, note: "" };
}

/** The distance between two points of an image, in millimetres. */
export function distance(one, other, { across, down }) {
  return Math.hypot((one.x - other.x) * across, (one.y - other.y) * down);
}

/** Millimetres as people write them. */
export function millimetres(value) {
  if (value >= 100) return `${value.toFixed(0)} mm`;
  if (value >= 1) return `${value.toFixed(1)} mm`;
  return `${(value * 1000).toPrecision(3).replace(/\.?0+$/, "")} µm`;
}

/** A round length no longer than `most` millimetres, for a scale bar: `{length, name}`. */
export function roundLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((step) => step * power <= most);
  const plain = (value) => String(Number(value.toPrecision(3)));
  if (length >= 10) return { length, name: `${plain(length / 10)} cm` };
  return { length, name: length >= 1 ? `${plain(length)} mm` : `${plain(length * 1000)} µm` };
}
