// The API, as everybody uses it. The session is a cookie that scripts do not see.

/** Where the pages are, which need not be the root of the host. */
export const root = new URL("../", import.meta.url);

/** The address of a page or file below the root. */
export function address(path) {
  return new URL(path, root).pathname + new URL(path, root).search;
}

/** What the API says when it does not do what it was asked (RFC 9457). */
export class Problem extends Error {
  constructor(status, shown) {
    super(shown.detail ?? shown.title ?? "Something is wrong here.");
    this.status = status;
    this.word = String(shown.type ?? "").split(":").pop();
    /** Rules that the request breaks: `pointer` or `parameter`, `code`, `detail`. */
    this.errors = shown.errors ?? [];
  }
}

/** Called when the session has ended. */
export const session = { ended: () => {} };

/**
 * Asks the API for something and returns what it answers, or throws a `Problem`. Whoever aborts
 * gets the `AbortError` of the browser.
 */
export async function call(method, path, { body, fields, signal } = {}) {
  const headers = { accept: "application/json", ...fields };
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address(`api/v1/${path}`), {
      method, headers, signal, credentials: "same-origin", cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { type: "offline", detail: "The server cannot be reached. Check the connection and try again." });
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => null);
  if (answer.ok && content !== null) return content;
  // Not ours: whatever stands in front has answered.
  const strange = { detail: `The server answers with ${answer.status}. Try again in a moment.` };
  const problem = new Problem(answer.status, content?.type ? content : strange);
  if (answer.status === 401 && path !== "session") session.ended();
  throw problem;
}

/** A random text for `Idempotency-Key`. Not `randomUUID`, which plain HTTP has not. */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
