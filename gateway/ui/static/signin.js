// The access token: asked for when the server wants one, kept for this browser tab only.

import { h } from "./dom.js";

const KEY = "gantry.token";
const PLACE = "gantry.place";
const VIEWER = "gantry.viewer";
let asking = null;
let guest = () => false;
let told = () => {};

/** Says how to know a guest, who came with a link and has no token to give. */
export function guestsAre(known) {
  guest = known;
}

/** Says whom to tell when a token was given. */
export function signedIn(tell) {
  told = tell;
}

/** The access token, or "" when none was given. */
export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** The headers that carry the token. */
export function authorization() {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}

/** Goes back to where one was before the provider asked. */
export function comeBack() {
  const place = sessionStorage.getItem(PLACE);
  if (place && location.hash === "") history.replaceState(null, "", place);
  sessionStorage.removeItem(PLACE);
}

/** Goes back to the viewer, for one who was sent here to sign in. */
export function backToViewer() {
  const viewer = sessionStorage.getItem(VIEWER);
  sessionStorage.removeItem(VIEWER);
  if (viewer && new URL(viewer, location.href).origin === location.origin) location.replace(viewer);
}

/** Ends the session of a cookie, where there is one; where to go to sign out of the provider too, or "". */
export async function endSession() {
  if (!document.body.dataset.signIn) return "";
  const answer = await fetch("signout", { method: "POST" }).catch(() => null);
  return answer?.ok ? ((await answer.json()).provider ?? "") : "";
}

/** Keeps a token for this tab. */
export function keep(secret) {
  sessionStorage.setItem(KEY, secret);
}

/** Forgets the token. */
export function forget() {
  sessionStorage.removeItem(KEY);
}

/**
 * Asks for a token after the server refused `refused`. Settles when there is another one; rejects when the box is closed.
 * All requests that were refused at the same time share one box.
 */
export function signIn(refused) {
  if (token() !== refused) return Promise.resolve();
  if (guest()) return Promise.reject(new Error("This link is not valid, or not any more. Ask for a new one."));
  asking ??= ask(refused !== "").finally(() => (asking = null));
  return asking;
}

function ask(again) {
  const field = h("input", {
    id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-note",
  });
  const note = h("p", { id: "token-note", class: again ? "problem" : "muted", role: again ? "alert" : null },
    again ? "That token was not accepted. It may have expired." : "This archive is protected. The token stays in this tab and is forgotten when you close it.");
  const address = document.body.dataset.signIn;
  const provider = address && h("a", { class: "button primary", href: address, onclick: () => sessionStorage.setItem(PLACE, location.hash) },
    "Sign in with your organisation");
  const form = h("form", { method: "dialog", class: "stack" },
    h("img", { src: "static/logo.svg", alt: "", width: "44", height: "44" }),
    h("h2", { id: "sign-in-title" }, "Sign in to Gantry"),
    provider,
    note,
    h("label", { for: "token" }, "Access token"),
    field,
    h("button", { class: provider ? "button" : "button primary", type: "submit" }, "Sign in"));
  const box = h("dialog", { class: "box", "aria-labelledby": "sign-in-title" }, form);
  document.body.append(box);
  box.showModal();
  (provider || field).focus();
  return new Promise((resolve, reject) => {
    let given = "";
    form.addEventListener("submit", () => (given = field.value.trim()));
    box.addEventListener("close", () => {
      box.remove();
      if (!given) {
        reject(new Error("Sign in to see the studies."));
        return;
      }
      keep(given);
      document.getElementById("sign-out").hidden = false;
      backToViewer();
      resolve();
      told();
    });
  });
}
