// Who is at the page, as the gateway sees it, and what they may do: asked once for each token.

import { authorization, token } from "./signin.js";

let known = null;
let asked = null;

/** What the gateway says: `{name, may, link_days}`; nothing is permitted while it says nothing. */
export function session() {
  if (asked === null || known !== token()) {
    known = token();
    asked = fetch(new URL("session", document.baseURI), { headers: authorization() })
      .then((response) => (response.ok ? response.json() : Promise.reject(new Error("no answer"))))
      .catch(() => {
        asked = null;
        return { name: "", may: [], link_days: 0 };
      });
  }
  return asked;
}

/** Whether they may do this with any study: "share", "delete", "store". */
export async function may(action) {
  return (await session()).may.includes(action);
}
