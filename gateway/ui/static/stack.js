// A series as a stack of pictures: one for each frame of each of its instances, in order; a document or film is one.

import { metadata, path, searchAll } from "./api.js";
import { TAG, number, text } from "./dicom.js";
import { documentKind } from "./documents.js";

/** The instances of a series in order, as a search returns them. */
export async function instancesOf(series, signal) {
  const found = await searchAll(`${series}/instances`, { includefield: "NumberOfFrames,AvailableTransferSyntaxUID,ImageType" }, signal);
  const order = (ds) => number(ds, TAG.InstanceNumber);
  return found.sort((one, other) => (order(one) || 0) - (order(other) || 0));
}

/** What is known of a series' pictures before any of them is fetched. */
export class Stack {
  #described = new Map();

  /** `instances` as a search below `series` returned them. */
  constructor(series, instances) {
    this.pictures = instances.flatMap((ds) => framesOf(series, ds));
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
