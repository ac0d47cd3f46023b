// A series as a stack of pictures: one for each frame of each of its instances, in order; a document or film is one.

import { metadata, path, searchAll } from "./api.js";
import { TAG, number, text } from "./dicom.js";
import { documentKind } from "./documents.js";

/** What is known of a series' pictures before any of them is fetched. */
export class Stack {
  #described = new Map();

  constructor(pictures) {
    this.pictures = pictures;
  }

  /** The stack of a series. */
  static async open(study, series, signal) {
    const resource = path("studies", study, "series", series);
    const found = await searchAll(`${resource}/instances`, { includefield: "NumberOfFrames,AvailableTransferSyntaxUID" }, signal);
    const order = (ds) => number(ds, TAG.InstanceNumber);
    found.sort((one, other) => (order(one) || 0) - (order(other) || 0));
    return new Stack(found.flatMap((ds) => framesOf(resource, ds)));
  }

  get length() {
    return this.pictures.length;
  }

  /** The attributes of the instance that a picture belongs to, fetched once. */
  describe(index) {
    const { instance } = this.pictures[index];
    if (!this.#described.has(instance)) {
      const description = metadata(instance).catch((error) => {
        this.#described.delete(instance);
        throw error;
      });
      this.#described.set(instance, description);
    }
    return this.#described.get(instance);
  }
}

function framesOf(series, ds) {
  const instance = `${series}/${path("instances", text(ds, TAG.SOPInstanceUID))}`;
  const sopClass = text(ds, TAG.SOPClassUID);
  const kind = documentKind(sopClass, text(ds, TAG.AvailableTransferSyntaxUID));
  const frames = kind ? 1 : number(ds, TAG.NumberOfFrames) || 1;
  const common = {
    instance,
    sopClass,
    kind,
    instanceNumber: number(ds, TAG.InstanceNumber),
    rows: number(ds, TAG.Rows),
    columns: number(ds, TAG.Columns),
    frames,
  };
  return Array.from({ length: frames }, (_, index) => ({
    ...common,
    frame: index + 1,
    resource: frames > 1 ? `${instance}/frames/${index + 1}` : instance,
  }));
}
