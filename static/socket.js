// Transport: one WebSocket at a time. Connects, notices silence, comes back with full jitter, stays away when told to.

import { closeCodeOf } from './ended.js';

export const SUBPROTOCOL = 'hearth.v1.json';
export const SILENCE_PROBE_MS = 25_000;
export const SILENCE_DEATH_MS = 35_000;
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const STABLE_AFTER_MS = 5_000;
/** A server that has had enough, of us (4002) or of everybody (4003), isn't asked again as soon as one that is just gone. */
const ENOUGH = new Set([4002, 4003]);
const ENOUGH_ATTEMPT = 3;
/** One's role is another: nothing to wait for, but the next welcome says what one may do. */
const CHANGED = 4004;
const HANDSHAKE_MS = 10_000;

/** Close codes are the whole reconnect policy: below 4500 come back, from 4500 on stay away. */
export function closePolicy(code, reason = '') {
  if (code >= 4500) return { stay: true, delayMs: null };
  const delay = /(?:^|;)delay_ms=(\d+)/.exec(reason);
  return { stay: false, delayMs: code === 1012 && delay ? Number(delay[1]) : null };
}

/** Full jitter: anything between nothing and the exponential ceiling. */
export function fullJitter(attempt, random = Math.random) {
  return Math.floor(random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt));
}

export class Socket {
  #ws = null;
  #attempt = 0;
  #heardAt = 0;
  #retryTimer = null;
  #pulseTimer = null;
  #stableTimer = null;
  #handshakeTimer = null;
  #wanted = false;
  /** Before this the server doesn't want to see us, whatever makes us hurry. */
  #notBefore = 0;

  /**
   * `onState({state, retryAt, code})` with state connecting | open | waiting | offline | stopped;
   * `onText(text)`; `onLost()` once per lost socket; `refusal()` asks, when a handshake fails, what the server has against us,
   * because browsers hide its status: null or an error with `code` and perhaps `retry_after_ms`; `signal` ends the listening to the page.
   */
  constructor({ url, onState, onText, onLost, refusal, signal }) {
    Object.assign(this, { url, onState, onText, onLost, refusal });
    addEventListener('online', () => this.#hurry(), { signal });
    addEventListener('offline', () => this.#wanted && !this.isOpen && this.onState({ state: 'offline' }), { signal });
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.#hurry(), { signal });
  }

  get isOpen() {
    return this.#ws?.readyState === WebSocket.OPEN;
  }

  start() {
    this.#wanted = true;
    this.#connect();
  }

  stop(code = 1000) {
    this.#wanted = false;
    this.#discard(code);
    this.onState({ state: 'stopped', code });
  }

  send(text) {
    if (!this.isOpen) return false;
    this.#ws.send(text);
    return true;
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    if (!this.#wanted || this.#ws) return;
    this.onState({ state: 'connecting' });
    const ws = new WebSocket(this.url, SUBPROTOCOL);
    let opened = false;
    this.#ws = ws;
    this.#handshakeTimer = setTimeout(() => this.#lost(1006, '', false), HANDSHAKE_MS);
    ws.onopen = () => {
      opened = true;
      clearTimeout(this.#handshakeTimer);
      this.#heardAt = Date.now();
      this.#pulseTimer = setInterval(() => this.#pulse(), 5_000);
      this.#stableTimer = setTimeout(() => { this.#attempt = 0; }, STABLE_AFTER_MS);
      this.onState({ state: 'open' });
    };
    ws.onmessage = ({ data }) => {
      this.#heardAt = Date.now();
      this.onText(data);
    };
    ws.onclose = ({ code, reason }) => this.#lost(code, reason, opened);
  }

  /** Typing sends frames that get no answer, so a quiet server is asked before it is given up. */
  #pulse() {
    const silence = Date.now() - this.#heardAt;
    if (silence >= SILENCE_DEATH_MS) this.#lost(4000, '', true);
    else if (silence >= SILENCE_PROBE_MS) this.send('{"type":"ping"}');
  }

  async #lost(code, reason, opened) {
    this.#discard(1000);
    const { stay, delayMs } = closePolicy(code, reason);
    if (!this.#wanted) return;
    if (stay) {
      this.#wanted = false;
      this.onState({ state: 'stopped', code });
      return;
    }
    if (ENOUGH.has(code)) this.#attempt = Math.max(this.#attempt, ENOUGH_ATTEMPT);
    const atOnce = code === CHANGED && this.#attempt === 0;
    const delay = delayMs ?? fullJitter(this.#attempt++);
    this.#comeBack(atOnce ? 0 : delay, delayMs !== null || ENOUGH.has(code));
    if (opened) return;
    const refusal = await this.refusal();
    if (!refusal || !this.#wanted) return;
    const closed = closeCodeOf(refusal);
    if (closed) {
      this.#wanted = false;
      this.#discard(1000);
      this.onState({ state: 'stopped', code: closed });
    } else if (refusal.retry_after_ms && !this.#ws) {
      this.#comeBack(refusal.retry_after_ms + fullJitter(this.#attempt++), true);
    }
  }

  /** Connects after a while; `told` when the server said how long, or that it has too much to do. */
  #comeBack(delay, told) {
    clearTimeout(this.#retryTimer);
    const retryAt = Date.now() + delay;
    this.#notBefore = told ? retryAt : 0;
    this.onState({ state: navigator.onLine ? 'waiting' : 'offline', retryAt });
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
  }

  /** Lets go of the socket at once: a dead network would not let it close by itself. */
  #discard(code) {
    clearTimeout(this.#handshakeTimer);
    clearTimeout(this.#stableTimer);
    clearTimeout(this.#retryTimer);
    clearInterval(this.#pulseTimer);
    const ws = this.#ws;
    if (!ws) return;
    this.#ws = null;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.close(code === 1000 ? 1000 : undefined);
    this.onLost();
  }

  #hurry() {
    if (!this.#wanted) return;
    if (this.isOpen) this.#pulse();
    else if (this.#retryTimer && !this.#ws && Date.now() >= this.#notBefore) this.#connect();
  }
}
