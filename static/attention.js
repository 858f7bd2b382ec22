// Tells the server whether somebody looks at this page: away while it is hidden, and after 5 min without a sign of life.

/** A tab that is only passed over changes nothing. */
export const SETTLE_MS = 1_000;
export const IDLE_MS = 5 * 60_000;
const SIGNS = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart', 'focus'];

export class Attention {
  #told = 'active';
  #usedAt = 0;
  #settle = null;
  #idle = null;

  constructor(tell, { target = globalThis, page = globalThis.document, now = Date.now, timers = globalThis } = {}) {
    Object.assign(this, { tell, target, page, now, timers });
    this.used = () => this.#used();
    this.moved = () => this.#soon();
    for (const sign of SIGNS) target.addEventListener(sign, this.used, { passive: true });
    page.addEventListener('visibilitychange', this.moved);
    this.#used();
  }

  get state() {
    return this.page.visibilityState === 'hidden' || this.now() - this.#usedAt >= IDLE_MS ? 'away' : 'active';
  }

  /** A new socket begins as active. */
  connected() {
    this.#told = 'active';
    this.#tell();
  }

  stop() {
    for (const sign of SIGNS) this.target.removeEventListener(sign, this.used);
    this.page.removeEventListener('visibilitychange', this.moved);
    this.timers.clearTimeout(this.#settle);
    this.timers.clearTimeout(this.#idle);
  }

  #used() {
    this.#usedAt = this.now();
    this.#idle ??= this.timers.setTimeout(() => this.#rest(), IDLE_MS);
    if (this.#told === 'away') this.#soon();
  }

  /** One timer for all signs of life: it looks how long ago the last one was. */
  #rest() {
    const left = this.#usedAt + IDLE_MS - this.now();
    this.#idle = left > 0 ? this.timers.setTimeout(() => this.#rest(), left) : null;
    if (left <= 0) this.#tell();
  }

  #soon() {
    if (this.page.visibilityState !== 'hidden') this.#usedAt = this.now();
    this.#settle ??= this.timers.setTimeout(() => {
      this.#settle = null;
      this.#tell();
    }, SETTLE_MS);
  }

  #tell() {
    const { state } = this;
    if (state !== this.#told && this.tell('presence.set', { state }) !== false) this.#told = state;
  }
}
