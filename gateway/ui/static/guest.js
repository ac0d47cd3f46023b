// A guest came with a link to one study: its secret is kept for this tab only, and leaves the address bar at once.

import { forget, keep } from "./signin.js";

const KEY = "gantry.study";

/** The Study Instance UID that a guest came for; "" for everybody else. */
export function guestOf() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** Takes a link, `#token=SECRET&study=UID`, out of the address. Whether there was one. */
export function takeLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  const [secret, study] = [given.get("token"), given.get("study")];
  if (!secret || !/^[0-9.]{1,64}$/.test(study ?? "")) return false;
  keep(secret);
  sessionStorage.setItem(KEY, study);
  history.replaceState(null, "", `#/studies/${study}`);
  return true;
}

/** Forgets the study and the secret of the link. */
export function leave() {
  sessionStorage.removeItem(KEY);
  forget();
}
