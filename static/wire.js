// Frames: encodes commands, matches replies and errors to their request_id, hands every other frame on.

import { sentence } from './wording.js';

export const ACK_TIMEOUT_MS = 10_000;

/** Why a command did not succeed: a code of the protocol, or `timeout` or `disconnected` when nobody answered. */
export class Refusal extends Error {
  constructor({ code, message, detail, ...rest }) {
    super(sentence(message ?? detail ?? '') || code);
    Object.assign(this, { code, retryable: false }, rest);
  }

  /** Whether one is nobody here: no credentials, or such as don't hold any more. */
  get isSignedOut() {
    return this.status === 401;
  }
}

const SILENT = new Set(['reply', 'error']);

export class Wire {
  #next = 1;
  #waiting = new Map();
  #overdue = new Map();

  /**
   * `send(text)` answers whether the transport took it; `onFrame(frame)` gets welcome, events and signals;
   * `onLate({type, data}, reply)` gets the data of a reply whose request had already timed out.
   */
  constructor({ send, onFrame, onLate = () => {}, timers = globalThis }) {
    Object.assign(this, { send, onFrame, onLate, timers });
  }

  get outstanding() {
    return this.#waiting.size;
  }

  /** Sends a command; settles exactly once: with the reply's data, or with a Refusal. */
  request(type, data) {
    const requestId = `c${this.#next++}`;
    return new Promise((resolve, reject) => {
      if (!this.send(JSON.stringify({ type, request_id: requestId, data }))) {
        reject(new Refusal({ code: 'disconnected', message: 'Not connected', retryable: true }));
        return;
      }
      const timer = this.timers.setTimeout(() => {
        this.#waiting.delete(requestId);
        this.#overdue.set(requestId, { type, data });
        reject(new Refusal({ code: 'timeout', message: 'The server did not answer', retryable: true }));
      }, ACK_TIMEOUT_MS);
      this.#waiting.set(requestId, { resolve, reject, timer });
    });
  }

  /** Sends a frame that nobody answers. */
  tell(type, data) {
    return this.send(JSON.stringify(data === undefined ? { type } : { type, data }));
  }

  receive(text) {
    const frame = JSON.parse(text);
    if (frame.type === 'ping') this.tell('pong');
    else if (frame.type === 'pong') return;
    else if (SILENT.has(frame.type)) this.#settle(frame);
    else this.onFrame(frame);
  }

  /** The transport is gone: what was outstanding has an unknown outcome. */
  lost() {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#overdue.clear();
    for (const { reject, timer } of waiting) {
      this.timers.clearTimeout(timer);
      reject(new Refusal({ code: 'disconnected', message: 'The connection was lost', retryable: true }));
    }
  }

  #settle(frame) {
    const waiting = this.#waiting.get(frame.request_id);
    if (!waiting) {
      const overdue = this.#overdue.get(frame.request_id);
      this.#overdue.delete(frame.request_id);
      if (overdue && frame.type === 'reply') this.onLate(overdue, frame.data);
      return;
    }
    this.#waiting.delete(frame.request_id);
    this.timers.clearTimeout(waiting.timer);
    if (frame.type === 'reply') waiting.resolve(frame.data);
    else waiting.reject(new Refusal({ ...frame.error, trace_id: frame.trace_id }));
  }
}
