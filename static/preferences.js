// Brings the settings for assistants to the server: once after a second of quiet, with the last value, and at once before an assistant is asked.

export const QUIET_MS = 1_000;

export class Preferences {
  #timer = null;
  #running = null;

  constructor(store, wire, api, { timers = globalThis } = {}) {
    Object.assign(this, { store, wire, api, timers });
  }

  get #state() {
    return this.store.state.preferences;
  }

  /** A new socket: what was meant to be told is told now, and what was changed elsewhere meanwhile the inbox says. */
  connected() {
    if (this.#state.draft) this.#soon();
  }

  /** Takes what is being written. */
  write(settings) {
    this.store.dispatch({ type: 'preferences/drafted', settings });
    if (this.#state.draft) this.#soon();
  }

  /** The version that the server has, with everything written so far in it; undefined where nobody knows. */
  async settle() {
    this.timers.clearTimeout(this.#timer);
    await this.learn();
    for (let tries = 0; this.#state.draft && tries < 3; tries++) await this.#sync();
    // With the wrong settings there is no answer worth having; with such as the server won't take, those it has have to do.
    if (this.#state.draft && this.#lost?.retryable) throw this.#lost;
    return this.#state.version ?? undefined;
  }

  /** Asks for them the first time. */
  async learn() {
    if (this.#state.version !== null) return;
    try {
      this.store.dispatch({ type: 'preferences/learned', ...(await this.api.get('/me/settings')) });
    } catch {
      // A question without a version is answered by the settings as they are.
    }
  }

  /** The page is about to go. */
  flush() {
    this.timers.clearTimeout(this.#timer);
    this.#sync();
  }

  stop() {
    this.timers.clearTimeout(this.#timer);
  }

  #soon(wait = 0) {
    this.timers.clearTimeout(this.#timer);
    this.#timer = this.timers.setTimeout(() => this.learn().then(() => this.#sync()), Math.max(QUIET_MS, wait));
  }

  /** One at a time; whatever was written meanwhile goes with the next. */
  #sync() {
    this.#running ??= this.#send().finally(() => { this.#running = null; });
    return this.#running;
  }

  #lost = null;

  async #send() {
    const { draft, version } = this.#state;
    if (!draft || version === null) return;
    this.store.dispatch({ type: 'preferences/syncing', sent: draft });
    try {
      const reply = await this.wire.request('settings.sync', { version, settings: draft });
      this.store.dispatch({ type: 'preferences/learned', version: reply.version, settings: draft });
      this.store.dispatch({ type: 'preferences/syncing', sent: null });
      if (this.#state.draft) this.#soon();
    } catch (error) {
      this.#lost = error;
      const current = error.code === 'version_conflict' ? await this.api.get('/me/settings').catch(() => null) : null;
      this.store.dispatch({ type: 'preferences/refused', error, current });
      if (error.retryable && error.code !== 'disconnected') this.#soon(error.retry_after_ms ?? 0);
    }
  }
}
