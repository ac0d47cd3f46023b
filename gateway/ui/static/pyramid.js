// A whole-slide image as a pyramid: which instances are its levels, and which frame is the tile at a place (PS3.3 C.7.6.17.3).

import { number, numbers, text, values } from "./dicom.js";

const TAG = {
  ImageType: "00080008", FrameOfReferenceUID: "00200052", ConcatenationFrameOffset: "00209228",
  DimensionOrganizationType: "00209311", NumberOfFrames: "00280008", Rows: "00280010", Columns: "00280011",
  PhotometricInterpretation: "00280004", BitsStored: "00280101", WindowCenter: "00281050", FrameVOILUT: "00289132", PixelMeasures: "00289110", PixelSpacing: "00280030",
  TotalColumns: "00480006", TotalRows: "00480007", OpticalPaths: "00480105", OpticalPathIdentifier: "00480106",
  OpticalPathIdentification: "00480207", OpticalPathDescription: "00480107", ObjectivePower: "00480112",
  NumberOfOpticalPaths: "00480302", FocalPlanes: "00480303", SharedFunctionalGroups: "52009229",
  PerFrameFunctionalGroups: "52009230", PlanePositionSlide: "0048021A", ColumnPosition: "0048021E", RowPosition: "0048021F",
  ZOffset: "0040074A", AvailableTransferSyntaxUID: "00083002",
};
const JPEG = "1.2.840.10008.1.2.4.50";

/** Value 3 of Image Type: VOLUME, LABEL, OVERVIEW, THUMBNAIL (PS3.3 C.8.12.4.1.1). */
export function flavour(ds) {
  return String(values(ds, TAG.ImageType)[2] ?? "");
}

/**
 * The pyramids of a slide, from `[instance, attributes, transferSyntax]` of its instances: `{name, levels, plane}`,
 * levels from the smallest to the largest. More than one where there are several stains, channels or focal planes.
 */
export function pyramids(instances) {
  const volumes = instances.filter(([, ds]) => flavour(ds) === "VOLUME");
  // Channels may lie in one instance, or have instances of their own.
  const channels = new Set(volumes.flatMap(([, ds]) => values(ds, TAG.OpticalPaths).map(pathName)));
  const sources = volumes.flatMap(([instance, ds, syntax]) => planes(instance, ds, syntax, channels.size > 1));
  const names = [...new Set(sources.map(({ name }) => name))];
  return names.map((name) => ({ name, levels: levels(sources.filter((one) => one.name === name)) }));
}

/** The optical paths and focal planes that one instance holds. */
function planes(instance, ds, syntax, several) {
  const paths = values(ds, TAG.OpticalPaths);
  const sparse = text(ds, TAG.DimensionOrganizationType) !== "TILED_FULL" && values(ds, TAG.PerFrameFunctionalGroups).length > 0;
  if (sparse) return sparsePlanes(instance, ds, syntax, paths, several);
  const focal = number(ds, TAG.FocalPlanes) || 1;
  const count = number(ds, TAG.NumberOfOpticalPaths) || 1;
  return Array.from({ length: focal * count }, (_, at) => {
    const path = Math.floor(at / focal);
    return { instance, ds, syntax, at, name: planeName(pathName(paths[path], path), several || count > 1, at % focal, focal) };
  });
}

function sparsePlanes(instance, ds, syntax, paths, several) {
  const found = new Map();
  const depths = [];
  const shared = values(ds, TAG.SharedFunctionalGroups)[0];
  values(ds, TAG.PerFrameFunctionalGroups).forEach((group, index) => {
    const position = values(group, TAG.PlanePositionSlide)[0];
    if (!position) return;
    const identified = values(group, TAG.OpticalPathIdentification)[0] ?? values(shared, TAG.OpticalPathIdentification)[0];
    const identifier = text(identified, TAG.OpticalPathIdentifier);
    const path = Math.max(0, paths.findIndex((one) => text(one, TAG.OpticalPathIdentifier) === identifier));
    const depth = number(position, TAG.ZOffset) || 0;
    if (!depths.includes(depth)) depths.push(depth);
    const key = `${path}/${depth}`;
    if (!found.has(key)) found.set(key, { path, depth, frames: new Map() });
    const column = Math.floor((number(position, TAG.ColumnPosition) - 1) / number(ds, TAG.Columns));
    const row = Math.floor((number(position, TAG.RowPosition) - 1) / number(ds, TAG.Rows));
    found.get(key).frames.set(`${column},${row}`, index + 1);
  });
  depths.sort((one, other) => one - other);
  return [...found.values()].sort((one, other) => one.path - other.path || one.depth - other.depth).map(({ path, depth, frames }) => (
    { instance, ds, syntax, frames, name: planeName(pathName(paths[path], path), several, depths.indexOf(depth), depths.length) }));
}

function pathName(path, index) {
  return text(path, TAG.OpticalPathDescription) || `Channel ${text(path, TAG.OpticalPathIdentifier) || index + 1}`;
}

function planeName(path, several, plane, planeCount) {
  return [several && path, planeCount > 1 && `Focal plane ${plane + 1}`].filter(Boolean).join(", ");
}

function levels(sources) {
  const sizes = new Map();
  for (const source of sources) {
    const { ds } = source;
    const columns = number(ds, TAG.TotalColumns) || number(ds, TAG.Columns);
    const rows = number(ds, TAG.TotalRows) || number(ds, TAG.Rows);
    const key = `${columns}x${rows}`;
    if (!sizes.has(key)) sizes.set(key, new Level(columns, rows, ds));
    sizes.get(key).sources.push(source);
  }
  return [...sizes.values()].sort((one, other) => one.columns - other.columns);
}

/** One level: `columns` by `rows` pixels in tiles of `tileColumns` by `tileRows`. */
export class Level {
  sources = [];

  constructor(columns, rows, ds) {
    this.columns = columns;
    this.rows = rows;
    this.tileColumns = number(ds, TAG.Columns);
    this.tileRows = number(ds, TAG.Rows);
    this.across = Math.ceil(columns / this.tileColumns);
    this.down = Math.ceil(rows / this.tileRows);
  }

  /** Millimetres from one column to the next, or NaN. */
  get spacing() {
    const shared = values(this.sources[0].ds, TAG.SharedFunctionalGroups)[0];
    return numbers(values(shared, TAG.PixelMeasures)[0], TAG.PixelSpacing)[1] ?? NaN;
  }

  /** Magnification of the objective, or NaN. */
  get power() {
    return number(values(this.sources[0].ds, TAG.OpticalPaths)[0], TAG.ObjectivePower);
  }

  /** Where the tile at (column, row), both from 0, comes from: the address below the archive; null where there is none. */
  tile(column, row) {
    for (const source of this.sources) {
      const frame = this.#frame(source, column, row);
      if (frame) return `${source.instance}/frames/${frame}${asItIs(source) ? "" : `/rendered${ofWholeRange(source.ds)}`}`;
    }
    return null;
  }

  #frame({ ds, frames, at }, column, row) {
    if (frames) return frames.get(`${column},${row}`);
    const frame = at * this.across * this.down + row * this.across + column + 1 - (number(ds, TAG.ConcatenationFrameOffset) || 0);
    return frame >= 1 && frame <= (number(ds, TAG.NumberOfFrames) || 1) ? frame : 0;
  }
}

/** Whether a browser shows the stored bytes of a frame as they are meant. */
function asItIs({ ds, syntax }) {
  return syntax === JPEG && text(ds, TAG.PhotometricInterpretation).startsWith("YBR_FULL");
}

/**
 * The window of grey tiles that bring none, as a query: that of all values that there can be. Each in a window of its own
 * would make a patchwork.
 */
function ofWholeRange(ds) {
  const shared = values(ds, TAG.SharedFunctionalGroups)[0];
  const brought = [numbers(ds, TAG.WindowCenter), values(shared, TAG.FrameVOILUT)].some((found) => found.length);
  if (brought || !text(ds, TAG.PhotometricInterpretation).startsWith("MONOCHROME")) return "";
  const range = 2 ** (number(ds, TAG.BitsStored) || 8);
  return `?window=${range / 2},${range},linear`;
}
