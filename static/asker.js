// Asks assistants about messages that are there: once more after a refusal when its time has come, and anew after an answer; and stops them.

export class Asker {
  #timers = new Map();

  constructor(store, wire, { settle = async () => undefined, now = Date.now, timers = globalThis } = {}) {
    Object.assign(this, { store, wire, settle, now, timers });
  }

  /**
   * `ask` is `{room_id, at, message_id, assistant_id, regenerates}`; `at` is the message it is shown at. Where the server said how long
   * to wait, it waits. Gives the reply, or nothing when it was refused.
   */
  async ask(ask) {
    const key = `${ask.at} ${ask.assistant_id}`;
    const known = this.store.state.rooms[ask.room_id]?.asks[ask.at]?.find(({ assistant_id }) => assistant_id === ask.assistant_id);
    if (this.#timers.has(key) || known?.state === 'asking') return undefined;
    const wait = (known?.retryAt ?? 0) - this.now();
    if (wait > 0) {
      this.store.dispatch({ type: 'ask/started', ask, how: 'waiting' });
      await new Promise((resolve) => this.#timers.set(key, this.timers.setTimeout(resolve, wait)));
      this.#timers.delete(key);
    }
    this.store.dispatch({ type: 'ask/started', ask, how: 'asking' });
    const { room_id, message_id, assistant_id, regenerates } = ask;
    try {
      const settings_version = await this.settle();
      const reply = await this.wire.request('ai.ask', { room_id, message_id, assistant_id, regenerates: regenerates ?? undefined, settings_version });
      this.store.dispatch({ type: 'ask/done', ask });
      return reply;
    } catch ({ code, message, retryable, retry_after_ms, run_id }) {
      this.store.dispatch({ type: 'ask/refused', ask, error: { code, message, retryable, retry_after_ms, run_id }, now: this.now() });
      return undefined;
    }
  }

  /** Ends an answer; it says so itself when it has. */
  async end(room_id, run_id) {
    this.store.dispatch({ type: 'stop/asked', room_id, run_id, stopping: true });
    try {
      await this.wire.request('ai.stop', { room_id, run_id });
    } catch (error) {
      this.store.dispatch({ type: 'stop/asked', room_id, run_id, stopping: false });
      this.store.dispatch({ type: 'notice/shown', text: `The answer was not stopped: ${error.message}` });
    }
  }

  stop() {
    for (const timer of this.#timers.values()) this.timers.clearTimeout(timer);
  }
}
