// Works the outbox off: one post per room at a time, in order, each tried until it is acked, refused or too old.

import { fullJitter } from './socket.js';
import { uuid } from './uuid.js';

const MAX_TRIES = 6;

export class Sender {
  #busy = new Set();
  #timer = null;

  constructor(store, wire) {
    Object.assign(this, { store, wire });
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
      if (entry.retryAt > now) next = Math.min(next, entry.retryAt);
      else this.#send(entry);
    }
    if (next < Infinity) this.#timer = setTimeout(() => this.pump(), next - now);
  }

  async #send({ room_id, client_message_id, body, tries }) {
    this.#busy.add(room_id);
    this.store.dispatch({ type: 'send/started', client_message_id });
    try {
      const ack = await this.wire.request('message.post', { room_id, client_message_id, body });
      this.acked({ room_id, client_message_id, body }, ack);
    } catch (error) {
      const again = error.retryable && error.code !== 'timeout' && tries < MAX_TRIES;
      const retryAt = again ? Date.now() + (error.retry_after_ms ?? 500) + fullJitter(tries) : undefined;
      this.store.dispatch({ type: 'send/refused', client_message_id, error, retryAt });
    } finally {
      this.#busy.delete(room_id);
      this.pump();
    }
  }

  acked({ room_id, client_message_id, body }, { id, seq, at }) {
    this.store.dispatch({ type: 'send/acked', room_id, client_message_id, body, id, seq, at });
  }
}
