// Sharing one study: a link for somebody outside, with a QR code, that ends by itself or when it is withdrawn.

import { answerOf, withdraw } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { session } from "./session.js";

const CHOICES = [[60, "1 hour"], [24 * 60, "1 day"], [7 * 24 * 60, "1 week"], [30 * 24 * 60, "30 days"], [365 * 24 * 60, "1 year"]];
const USUAL = 24 * 60;

/** Asks for whom and how long, makes the link and shows it. `lines` tell which study it is. */
export async function share(study, lines) {
  const { link_days: days } = await session();
  const most = days * 24 * 60;
  const choices = CHOICES.filter(([minutes]) => minutes <= most);
  if (!choices.length) choices.push([most, `${Math.floor(most)} minutes`]);
  const name = h("input", { id: "share-name", required: true, maxlength: "64", autocomplete: "off", placeholder: "Dr Jones, City Hospital" });
  const lasts = h("select", { id: "share-lasts" }, choices.map(([minutes, words]) => h("option", { value: minutes, selected: minutes === USUAL }, words)));
  const trouble = h("p", { class: "problem", role: "alert" });
  const make = h("button", { type: "submit", class: "button primary" }, "Make the link");
  const form = h("form", { class: "stack" },
    h("h2", { id: "share-title" }, "Share this study"),
    h("div", { class: "share-what" }, lines.filter(Boolean).map((line) => h("p", { dir: "auto" }, line))),
    h("p", { class: "muted" }, "Whoever has the link can look at this study and at nothing else, without signing in."),
    h("label", { for: "share-name" }, "For whom"), name,
    h("label", { for: "share-lasts" }, "Lasts for"), lasts,
    trouble,
    h("div", { class: "choices" }, h("button", { type: "button", class: "button", onclick: () => box.close() }, "Cancel"), make));
  const box = h("dialog", { class: "box share", "aria-labelledby": "share-title", onclose: () => box.remove() }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    make.disabled = true;
    trouble.textContent = "";
    try {
      show(box, await answerOf("links", { study, name: name.value.trim(), minutes: Number(lasts.value) }));
    } catch (error) {
      trouble.textContent = error.message;
      make.disabled = false;
    }
  });
  document.body.append(box);
  box.showModal();
  name.focus();
}

function show(box, link) {
  const text = h("input", { id: "share-link", readonly: true, value: link.page, onfocus: () => text.select() });
  const told = h("span", { class: "muted", role: "status" });
  const copy = h("button", { type: "button", class: "button primary", onclick: async () => {
    text.select();
    await navigator.clipboard.writeText(link.page);
    told.textContent = "Copied";
  } }, icon("link"), "Copy the link");
  const until = new Date(link.expires_at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const end = h("button", { type: "button", class: "button", onclick: async () => {
    end.disabled = true;
    try {
      await withdraw(link.id);
      box.close();
    } catch (error) {
      told.textContent = error.message;
      end.disabled = false;
    }
  } }, "Withdraw it");
  fill(box, h("div", { class: "stack" },
    h("h2", { id: "share-title" }, "The link is ready"),
    h("img", { class: "qr", src: link.qr, alt: "QR code of the link", width: "220", height: "220" }),
    h("label", { for: "share-link" }, "Link"), text,
    window.isSecureContext && h("div", { class: "share-copy" }, copy, told),
    h("p", { class: "muted" }, `For ${link.name}, until ${until}. It is shown only now.`),
    h("div", { class: "choices" }, end, h("button", { type: "button", class: "button", onclick: () => box.close() }, "Done"))));
  (window.isSecureContext ? copy : text).focus();
}
