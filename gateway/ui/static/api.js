// The public DICOMweb endpoints: the only things that this page talks to.

import { authorization, signIn, token } from "./signin.js";

export const ROOT = new URL("dicomweb/", document.baseURI);

/** An answer that is no success. `status` is 0 when there was no answer at all. */
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether the object just has no picture, as opposed to something being wrong. */
  get noPicture() {
    return [404, 406, 415].includes(this.status);
  }
}

/** A DICOMweb path from its names and UIDs. */
export function path(...parts) {
  return parts.map(encodeURIComponent).join("/");
}

/** The address of a resource with its query parameters; empty ones are left out. */
export function address(resource, query = {}) {
  const url = new URL(resource, ROOT);
  for (const [key, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.append(key, value);
  }
  return url;
}

/** GETs a resource; asks for a token when the server wants one. Throws Failure, or AbortError when `signal` says so. */
export function get(resource, { query, accept, signal } = {}) {
  return ask("GET", address(resource, query), { Accept: accept }, signal);
}

/** Deletes a resource. Throws Failure. */
export function remove(resource) {
  return ask("DELETE", address(resource), {});
}

/** The methods that a resource takes. Throws Failure. */
export async function allowed(resource) {
  const response = await ask("OPTIONS", address(resource), { Accept: "application/json" });
  return (response.headers.get("Allow") ?? "").split(",").map((method) => method.trim());
}

/** What the gateway answers to a JSON object that is posted to one of its own resources, such as `links`. Throws Failure. */
export async function answerOf(resource, body) {
  const url = new URL(resource, document.baseURI);
  const response = await ask("POST", url, { "Content-Type": "application/json" }, undefined, JSON.stringify(body));
  return response.json();
}

/** Ends a link. Throws Failure. */
export function withdraw(id) {
  return ask("DELETE", new URL(`links/${encodeURIComponent(id)}`, document.baseURI), {});
}

async function ask(method, url, headers, signal, body) {
  for (;;) {
    const used = token();
    let response;
    try {
      response = await fetch(url, { method, headers: { ...headers, ...authorization() }, signal, body });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure(0, "The gateway does not answer. Is it running?");
    }
    if (response.status !== 401) {
      if (response.ok) return response;
      throw new Failure(response.status, await explanation(response));
    }
    try {
      await signIn(used);
    } catch (error) {
      throw new Failure(401, error.message);
    }
  }
}

const PLAIN = {
  400: "The gateway did not understand the question.",
  403: "You may not see this.",
  404: "This is not in the archive.",
  413: "This is larger than the gateway accepts.",
  429: "Too many requests at once. Try again in a moment.",
  503: "A part of the archive is not available at the moment. Try again soon.",
  507: "The archive has no space left.",
};

/** What an answer says went wrong: the problem body's own words (RFC 9457) when it has one. */
export async function explanation(response) {
  const problem = await response.json().catch(() => null);
  const own = problem && (problem.detail || problem.title);
  return typeof own === "string" && own ? own : (PLAIN[response.status] ?? `The gateway answered ${response.status}.`);
}

/** Searches (PS3.18 10.6): `{items, total}`; `total` is NaN when the server does not say. */
export async function search(resource, query, signal) {
  const response = await get(resource, { query, signal, accept: "application/dicom+json" });
  const items = response.status === 204 ? [] : await response.json();
  const total = response.headers.get("X-Total-Count");
  return { items, total: total === null ? NaN : Number(total) };
}

/** Everything that a search finds, page by page, whatever the server's own limit is. */
export async function searchAll(resource, query, signal) {
  const found = [];
  for (;;) {
    const { items, total } = await search(resource, { ...query, limit: 1000, offset: found.length }, signal);
    // A server that ignores `offset` would give the first page for ever.
    const repeated = found.length > 0 && items.length > 0 && JSON.stringify(items[0]) === JSON.stringify(found[0]);
    if (repeated) return found;
    found.push(...items);
    if (items.length === 0 || found.length >= total) return found;
  }
}

/** The data set of one instance without its bulk data (PS3.18 10.4.1.1.2). */
export async function metadata(resource, signal) {
  const response = await get(`${resource}/metadata`, { signal, accept: "application/dicom+json" });
  return (await response.json())[0];
}

/** The types that pictures are asked for in. */
export const PICTURES = "image/jpeg, image/png;q=0.9";

/** A rendered picture as a Blob; its property `rendering` is what the gateway says of it, as text. */
export async function picture(resource, query, signal) {
  const response = await get(resource, { query, signal, accept: PICTURES });
  return Object.assign(await response.blob(), { rendering: response.headers.get("Gantry-Rendering") ?? "" });
}
