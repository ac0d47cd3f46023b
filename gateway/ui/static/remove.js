// Deleting a study or series, where the gateway lets one, after the person has said so twice.

import { allowed, remove } from "./api.js";
import { h } from "./dom.js";

/** Whether the gateway deletes resources like this one. */
export async function mayRemove(resource) {
  return (await allowed(resource).catch(() => [])).includes("DELETE");
}

/** Asks, deletes, and calls `removed` once that is done. `what` names it: "series", "study"; `lines` tell which. */
export function askToRemove(resource, what, lines, removed) {
  const trouble = h("p", { class: "problem", role: "alert" });
  const cancel = h("button", { type: "button", class: "button", onclick: () => box.close() }, "Keep it");
  const confirm = h("button", { type: "button", class: "button danger", onclick: async () => {
    confirm.disabled = true;
    trouble.textContent = "";
    try {
      await remove(resource);
      box.close();
      removed();
    } catch (error) {
      trouble.textContent = error.message;
      confirm.disabled = false;
    }
  } }, `Delete the ${what}`);
  const box = h("dialog", { class: "box", "aria-labelledby": "remove-title", "aria-describedby": "remove-what", onclose: () => box.remove() },
    h("div", { class: "stack" }, h("h2", { id: "remove-title" }, `Delete this ${what}?`),
      h("div", { id: "remove-what" }, lines.filter(Boolean).map((line) => h("p", { dir: "auto" }, line)),
        h("p", { class: "muted" }, "It goes from the archive for everybody, and cannot be brought back from here.")),
      trouble, h("div", { class: "choices" }, cancel, confirm)));
  document.body.append(box);
  box.showModal();
  cancel.focus();
}
