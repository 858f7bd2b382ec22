// REST: JSON in and out under /api/v1; failures become the same Refusal that the socket gives.

import { uuid } from './uuid.js';
import { Refusal } from './wire.js';

/** Longer than any answer takes, so that nothing waits for a line that is dead. */
const PATIENCE_MS = 30_000;

/** By how much the server's clock is ahead of this one's, as the last answer said. */
let ahead = 0;

/** The last thing that was to be made without an answer, with its key: asked for again, it is the same request. */
let unanswered = null;

async function call(method, path, body, headers = {}) {
  let response;
  let text;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    text = await response.text();
    const date = Date.parse(response.headers.get('date'));
    // The header leaves out the fraction of the second.
    if (date) ahead = date + 500 - Date.now();
  } catch {
    throw new Refusal({ code: 'disconnected', message: 'The server cannot be reached.', retryable: true });
  }
  const answer = /json/.test(response.headers.get('content-type') ?? '') && text ? JSON.parse(text) : null;
  if (response.ok) return answer;
  throw new Refusal({
    code: 'internal',
    message: `The server answered ${response.status}.`,
    ...answer,
    ...(answer?.detail ? { message: answer.detail } : {}),
    status: response.status,
  });
}

export const api = {
  get: (path) => call('GET', path),
  post: (path, body) => call('POST', path, body),

  /** Makes something, once: whoever presses the button again because no answer came gets what was made. */
  async make(path, body) {
    const wish = `${path} ${JSON.stringify(body)}`;
    if (unanswered?.wish !== wish) unanswered = { wish, key: uuid() };
    const { key } = unanswered;
    try {
      const made = await call('POST', path, body, { 'idempotency-key': `"${key}"` });
      if (unanswered?.key === key) unanswered = null;
      return made;
    } catch (error) {
      if (!error.retryable && unanswered?.key === key) unanswered = null;
      throw error;
    }
  },

  put: (path, body) => call('PUT', path, body),
  patch: (path, body, headers) => call('PATCH', path, body, headers),
  delete: (path) => call('DELETE', path),

  /** The time by the server's clock, to a second: what expires does so by it. */
  now: () => Date.now() + ahead,

  /** Follows `next` to the end of a list, up to `pages` pages. */
  async all(path, name, pages = 50) {
    const items = [];
    let cursor = null;
    do {
      const query = `${path.includes('?') ? '&' : '?'}limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`;
      const page = await call('GET', path + query);
      items.push(...page[name]);
      cursor = page.next;
    } while (cursor && --pages > 0);
    return items;
  },
};
