// Works the outbox off: one post per room at a time, in order, each tried until it is acked, refused or too old.

import { asksAssistant } from './mentions.js';
import { concernsAll, nextTry, worded } from './patience.js';
import { uuid } from './uuid.js';

export class Sender {
  #busy = new Set();
  #timer = null;
  /** No room sends before: the server has had enough of this user, or of everybody. */
  #restUntil = 0;

  /** `settle()` brings the settings for assistants to the server and gives the version it has of them. */
  constructor(store, wire, { settle = async () => undefined } = {}) {
    Object.assign(this, { store, wire, settle });
  }

  post(roomId, body) {
    const entry = { room_id: roomId, client_message_id: uuid(), body, at: Date.now() };
    this.store.dispatch({ type: 'send/queued', entry });
    this.pump();
  }

  /** Trying again keeps the id, so that nothing is doubled, except where the id itself was the trouble. */
  retry(entry) {
    const fresh_id = entry.error?.code === 'idempotency_conflict' ? uuid() : undefined;
    this.store.dispatch({ type: 'send/retried', client_message_id: entry.client_message_id, fresh_id, now: Date.now() });
    this.pump();
  }

  pump() {
    clearTimeout(this.#timer);
    const { connection, outbox } = this.store.state;
    if (connection.state !== 'connected') return;
    const now = Date.now();
    const heads = new Map();
    for (const entry of outbox) {
      if (entry.state !== 'failed' && !heads.has(entry.room_id)) heads.set(entry.room_id, entry);
    }
    let next = Infinity;
    for (const entry of heads.values()) {
      if (entry.state === 'sending' || this.#busy.has(entry.room_id)) continue;
      if (Math.max(entry.retryAt, this.#restUntil) > now) next = Math.min(next, Math.max(entry.retryAt, this.#restUntil));
      else this.#send(entry);
    }
    if (next < Infinity) this.#timer = setTimeout(() => this.pump(), next - now);
  }

  async #send({ room_id, client_message_id, body, tries }) {
    this.#busy.add(room_id);
    this.store.dispatch({ type: 'send/started', client_message_id });
    try {
      const settings_version = asksAssistant(this.store.state, room_id, body) ? await this.settle() : undefined;
      const ack = await this.wire.request('message.post', { room_id, client_message_id, body, settings_version });
      this.acked({ room_id, client_message_id, body }, ack);
    } catch (error) {
      const retryAt = nextTry(error, tries, Date.now());
      if (retryAt && concernsAll(error)) this.#restUntil = retryAt;
      this.store.dispatch({ type: 'send/refused', client_message_id, error: worded(error), retryAt });
    } finally {
      this.#busy.delete(room_id);
      this.pump();
    }
  }

  acked({ room_id, client_message_id, body }, { id, seq, at, runs }) {
    this.store.dispatch({ type: 'send/acked', room_id, client_message_id, body, id, seq, at });
    if (runs) this.store.dispatch({ type: 'answer/asked', room_id, message_id: id, runs, now: Date.now() });
  }
}
