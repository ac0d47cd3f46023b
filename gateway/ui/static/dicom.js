// Reading the DICOM JSON model (PS3.18 Annex F) and saying values the way people write them.

export const TAG = {
  ImageType: "00080008", SOPClassUID: "00080016", SOPInstanceUID: "00080018", StudyDate: "00080020", SeriesDate: "00080021",
  StudyTime: "00080030", AccessionNumber: "00080050", Modality: "00080060", ModalitiesInStudy: "00080061",
  AvailableTransferSyntaxUID: "00083002", StudyDescription: "00081030", SeriesDescription: "0008103E", FailureReason: "00081197", RetrieveURL: "00081190",
  FailedSOPSequence: "00081198", ReferencedSOPSequence: "00081199", OtherFailuresSequence: "0008119A",
  RecommendedDisplayFrameRate: "00082144", PatientName: "00100010", PatientID: "00100020",
  PatientBirthDate: "00100030", PatientSex: "00100040", BodyPartExamined: "00180015", CineRate: "00180040",
  FrameTime: "00181063", StudyInstanceUID: "0020000D", SeriesInstanceUID: "0020000E", SeriesNumber: "00200011",
  InstanceNumber: "00200013", ImageOrientationPatient: "00200037", NumberOfStudyRelatedSeries: "00201206",
  NumberOfStudyRelatedInstances: "00201208", NumberOfSeriesRelatedInstances: "00201209",
  PhotometricInterpretation: "00280004", NumberOfFrames: "00280008", Rows: "00280010", Columns: "00280011",
  WindowCenter: "00281050", WindowWidth: "00281051", WindowExplanation: "00281055", SharedFunctionalGroups: "52009229",
  PerFrameFunctionalGroups: "52009230", FrameVOILUT: "00289132", PlaneOrientation: "00209116",
};

/** The values of an element; empty when it is absent or has none. */
export function values(ds, tag) {
  return ds?.[tag]?.Value ?? [];
}

/** The first value as text. */
export function text(ds, tag) {
  const value = values(ds, tag)[0];
  return value === undefined || value === null || typeof value === "object" ? "" : String(value);
}

/** The first value as a number, or NaN. IS and DS may be written as text (PS3.18 F.2.3). */
export function number(ds, tag) {
  const value = text(ds, tag);
  return value === "" ? NaN : Number(value);
}

/** All values as numbers. */
export function numbers(ds, tag) {
  return values(ds, tag).map(Number).filter(Number.isFinite);
}

/** A person's name (PS3.5 6.2.1): "Family, Given Middle", other scripts after it in brackets. */
export function personName(ds, tag) {
  const name = values(ds, tag)[0];
  if (!name || typeof name !== "object") return typeof name === "string" ? readable(name) : "";
  const groups = [name.Alphabetic, name.Ideographic, name.Phonetic].filter(Boolean).map(readable).filter(Boolean);
  const [first = "", ...others] = groups;
  return others.length ? `${first} (${others.join(", ")})` : first;
}

function readable(group) {
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = group.split("^").map((part) => part.trim());
  const after = [prefix, given, middle, suffix].filter(Boolean).join(" ");
  return [family, after].filter(Boolean).join(", ");
}

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });

/** A DA value in the reader's own way of writing dates; as it is when it is none. */
export function date(value) {
  const [, year, month, day] = /^(\d{4})\.?(\d\d)\.?(\d\d)$/.exec(value) ?? [];
  if (!year) return value;
  const parsed = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return Number.isNaN(parsed.valueOf()) ? value : DATE.format(parsed);
}

/** A TM value as hours and minutes. */
export function time(value) {
  const [, hours, minutes] = /^(\d\d):?(\d\d)/.exec(value) ?? [];
  return hours ? `${hours}:${minutes}` : "";
}

// What an object without a picture is, by SOP Class UID below 1.2.840.10008.5.1.4.1.1. The longest start wins.
const KINDS = [
  ["88.59", "Key object selection", "document"], ["88.", "Structured report", "document"],
  ["104.1", "PDF document", "document"], ["104.2", "Clinical document (CDA)", "document"],
  ["104.", "3D model", "layers"], ["11.", "Presentation state", "layers"], ["9.", "Waveform", "wave"],
  ["481.3", "Structure set", "layers"], ["481.5", "Radiotherapy plan", "document"], ["481.8", "Radiotherapy plan", "document"],
  ["481.", "Radiotherapy object", "layers"], ["66.4", "Segmentation", "layers"], ["66.1", "Spatial registration", "layers"],
  ["66", "Raw data", "none"], ["4.2", "MR spectroscopy", "wave"], ["77.1.1.1", "Endoscopy video", "play"],
];
const STORAGE = "1.2.840.10008.5.1.4.1.1.";

/** What an object is, in words, with an icon for it. */
export function kindOf(sopClass, modality = "") {
  const rest = sopClass.startsWith(STORAGE) ? sopClass.slice(STORAGE.length) : "";
  const found = rest && KINDS.find(([start]) => (start.endsWith(".") ? rest.startsWith(start) : rest === start || rest.startsWith(`${start}.`)));
  if (found) return { name: found[1], icon: found[2] };
  const [name, symbol] = MODALITIES_WITHOUT_PICTURE[modality] ?? [modality ? `${modality} object` : "Object", "none"];
  return { name, icon: symbol };
}

const MODALITIES_WITHOUT_PICTURE = {
  SR: ["Structured report", "document"], KO: ["Key object selection", "document"],
  DOC: ["Document", "document"], PLAN: ["Plan", "document"], RTPLAN: ["Radiotherapy plan", "document"],
  RTSTRUCT: ["Structure set", "layers"], REG: ["Registration", "layers"], M3D: ["3D model", "layers"], AU: ["Audio", "wave"],
};

/** Whether a series of this modality never has a picture, so that none is asked for. */
export function withoutPicture(modality) {
  return modality in MODALITIES_WITHOUT_PICTURE;
}

/** Patient directions at the edges of the picture (PS3.3 C.7.6.2.1.1): {left, right, top, bottom}, or null. */
export function edges(orientation) {
  if (orientation.length !== 6) return null;
  const right = direction(orientation.slice(0, 3));
  const bottom = direction(orientation.slice(3));
  const opposite = (letters) => [...letters].map((letter) => "RLAPHF"["LRPAFH".indexOf(letter)]).join("");
  return { right, bottom, left: opposite(right), top: opposite(bottom) };
}

/** What lies at the edges of the screen when the picture is mirrored and then turned by quarters, clockwise. */
export function turnedEdges(letters, { turns, mirrored }) {
  if (!letters) return null;
  const { left, top, right, bottom } = mirrored ? { ...letters, left: letters.right, right: letters.left } : letters;
  const clockwise = [top, right, bottom, left];
  const at = (side) => clockwise[(side + 4 - turns) % 4];
  return { top: at(0), right: at(1), bottom: at(2), left: at(3) };
}

function direction(vector) {
  const names = ["LR", "PA", "HF"];
  return vector
    .map((part, axis) => ({ size: Math.abs(part), letter: names[axis][part < 0 ? 1 : 0] }))
    .filter(({ size }) => size > 0.2)
    .sort((one, other) => other.size - one.size)
    .map(({ letter }) => letter)
    .join("");
}
