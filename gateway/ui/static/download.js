// Saving objects: an instance as the file that was stored, a series or study as a zip archive of such files.

import { address, get } from "./api.js";
import { h } from "./dom.js";
import { notice } from "./notices.js";
import { token } from "./signin.js";

const KEPT = 60_000; // milliseconds that a fetched file stays there for the browser to save

/** Saves an instance. */
export function downloadInstance(instance) {
  return fetched(instance, "application/dicom; transfer-syntax=*", `${instance.split("/").at(-1)}.dcm`);
}

/** Saves all instances of a study or series. */
export async function downloadArchive(resource) {
  const name = `${resource.split("/").at(-1)}.zip`;
  // The browser itself takes the archive as it comes; a token it cannot carry, so then the page fetches the whole of it.
  if (token()) return fetched(resource, "application/zip", name);
  save(address(resource, { accept: "application/zip" }).href, name);
}

async function fetched(resource, accept, name) {
  const told = notice("Downloading …");
  try {
    const response = await get(resource, { accept });
    const url = URL.createObjectURL(await response.blob());
    save(url, name);
    setTimeout(() => URL.revokeObjectURL(url), KEPT);
    told.close();
  } catch (error) {
    told.say(`The download failed: ${error.message}`, { bad: true });
  }
}

function save(url, name) {
  const link = h("a", { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}
