// The page: which part of it is shown follows the address. Search terms never go into it, since they name patients.

import { guestOf, leave, takeLink } from "./guest.js";
import { notice } from "./notices.js";
import { session } from "./session.js";
import { backToViewer, comeBack, endSession, guestsAre, signedIn, token } from "./signin.js";
import { studyList } from "./studies.js";
import { StudyPage } from "./study.js";
import { takeFiles, takeNone } from "./upload.js";

const listPage = document.getElementById("list-page");
const studyPage = document.getElementById("study-page");
const out = document.getElementById("sign-out");

if (!takeLink()) comeBack();
guestsAre(() => guestOf() !== "");

let scrolled = 0;
let stale = true;
const searchAgain = studyList(listPage);
const study = new StudyPage(studyPage, document.getElementById("bar-title"), () => (stale = true));

function follow() {
  if (takeLink()) {
    location.reload(); // whatever was there before is another person's
    return;
  }
  const only = guestOf();
  if (only && !location.hash.startsWith(`#/studies/${only}`)) location.replace(`#/studies/${only}`);
  const [, studyUID, , seriesUID] = /^#\/studies\/([^/]+)(\/series\/([^/]+))?$/.exec(location.hash) ?? [];
  if (studyUID && studyPage.hidden) scrolled = listPage.scrollTop;
  listPage.hidden = Boolean(studyUID);
  studyPage.hidden = !studyUID;
  document.body.classList.toggle("viewing", Boolean(studyUID));
  if (studyUID) {
    document.title = "Study – Gantry";
    study.show(decodeURIComponent(studyUID), seriesUID && decodeURIComponent(seriesUID));
    return;
  }
  document.title = "Gantry";
  if (location.hash === "#/sign-in-failed") {
    history.replaceState(null, "", "#/");
    notice("").say("Signing in did not succeed. Try again, or ask who runs this archive.", { bad: true });
  }
  study.leave();
  listPage.scrollTop = scrolled;
  if (stale) {
    stale = false;
    searchAgain();
  }
}

out.hidden = token() === "";
if (document.body.dataset.signIn && !token()) {
  session().then(({ signed_in: signedIn, name }) => {
    if (!signedIn) return;
    out.hidden = false;
    out.title = `Signed in as ${name}`;
    backToViewer();
  });
}
out.addEventListener("click", async () => {
  const provider = token() ? "" : await endSession();
  leave();
  if (provider) location.assign(provider);
  else location.reload();
});
document.body.classList.toggle("guest", guestOf() !== "");
if (!guestOf()) {
  takeFiles(document.getElementById("upload-button"), () => {
    if (listPage.hidden) stale = true;
    else searchAgain();
  });
}

/** Who is known, and may look only, is offered nothing to store. */
async function offer() {
  const { may } = await session();
  takeNone(may.length > 0 && !may.includes("store"));
}
signedIn(offer);
offer();
addEventListener("hashchange", follow);
follow();
