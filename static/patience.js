// When something is sent again that was refused, and what a person is told about it.

import { fullJitter } from './socket.js';

const MAX_TRIES = 6;
const RETRY_MS = 500;
/** The server says when; how often that was doesn't matter, only how old it gets. */
const PATIENT = new Set(['rate_limited', 'read_only']);

/** When to send it again by itself; undefined when it is not. Nobody knows whether what timed out is not still under way. */
export function nextTry(error, tries, now, random = Math.random) {
  if (!error.retryable || error.code === 'timeout' || error.code === 'disconnected') return undefined;
  if (!PATIENT.has(error.code) && tries >= MAX_TRIES) return undefined;
  return now + (error.retry_after_ms ?? RETRY_MS) + fullJitter(PATIENT.has(error.code) ? 0 : tries, random);
}

/** Whether everything else would be refused for the same reason. */
export const concernsAll = (error) => PATIENT.has(error.code) || error.code === 'overloaded';

const WAITING = {
  rate_limited: 'Many messages in a short time: this one waits for its turn…',
  read_only: 'The server takes nothing new for the moment. Waiting…',
  overloaded: 'The server has much to do. Trying again…',
};

export const waitingText = (code) => WAITING[code] ?? 'Trying again…';

const REFUSED = {
  duplicate_message: 'You have said just this several times. Change it, or wait a while.',
};

/** The error as it is shown: some codes deserve better words than the server's. */
export const worded = (error) => (REFUSED[error.code] ? { ...error, code: error.code, message: REFUSED[error.code] } : error);
