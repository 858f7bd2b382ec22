// Works edits and deletions off, one at a time and in order; repeating one is harmless.

import { api } from './api.js';
import { concernsAll, nextTry, worded } from './patience.js';
import { uuid } from './uuid.js';

export class Changer {
  #busy = false;
  #timer = null;
  #restUntil = 0;

  constructor(store, wire) {
    Object.assign(this, { store, wire });
  }

  edit(room_id, message_id, version, body) {
    this.#queue({ kind: 'edit', room_id, message_id, version, body });
  }

  remove(room_id, message_id) {
    this.#queue({ kind: 'delete', room_id, message_id });
  }

  #queue(change) {
    this.store.dispatch({ type: 'change/queued', change: { ...change, key: uuid(), at: Date.now() } });
    this.pump();
  }

  pump() {
    clearTimeout(this.#timer);
    const { connection, changes } = this.store.state;
    // What is being sent waits for its answer, or for the next connection.
    const pending = changes.filter(({ state }) => state === 'pending');
    if (this.#busy || connection.state !== 'connected' || !pending.length) return;
    const now = Date.now();
    const due = Math.max(this.#restUntil, Math.min(...pending.map(({ retryAt }) => retryAt)));
    if (due > now) this.#timer = setTimeout(() => this.pump(), due - now);
    else this.#send(pending.find(({ retryAt }) => retryAt <= now));
  }

  async #send(change) {
    this.#busy = true;
    const { kind, key, room_id, message_id, version, body, tries } = change;
    this.store.dispatch({ type: 'change/started', key });
    try {
      const data = kind === 'edit' ? { room_id, message_id, version, body } : { room_id, message_id };
      const ack = await this.wire.request(`message.${kind}`, data);
      this.acked({ kind, key, room_id, message_id, body }, ack);
    } catch (error) {
      const retryAt = nextTry(error, tries, Date.now());
      if (retryAt && concernsAll(error)) this.#restUntil = retryAt;
      const current = error.code === 'version_conflict' ? await api.get(`/messages/${message_id}`).catch(() => null) : null;
      this.store.dispatch({ type: 'change/refused', key, error: worded(error), retryAt, current });
    } finally {
      this.#busy = false;
      this.pump();
    }
  }

  acked(change, { version, at }) {
    this.store.dispatch({ type: 'change/acked', ...change, version, at });
  }
}
