// Takes what came of an action request to the server: by the socket, tried again after 100, 200 and 400 ms, and over HTTP where the socket is down.
// However often and by whichever way it comes, the server takes the first and says so of the others.

export const LADDER_MS = [100, 200, 400];
/** Nobody waits for it any more, or it was never ours. */
const OVER = { expired: 'expired', not_found: 'expired', gone: 'expired', forbidden: 'failed' };

export class Answerer {
  #busy = new Set();

  constructor(store, wire, api, { timers = globalThis } = {}) {
    Object.assign(this, { store, wire, api, timers });
  }

  /** A request came, perhaps again: what can't be done is answered so, and what was answered gets the same answer. */
  considers(id) {
    const request = this.#find(id);
    if (!request) return;
    if (request.answer) this.#deliver(request);
    else if (request.fault) this.answer(id, 'failed', { error: request.fault });
  }

  /** Somebody chose, or threw the dice. */
  answer(request_id, status, result) {
    if (!this.#find(request_id)) return;
    this.store.dispatch({ type: 'request/answered', request_id, answer: { status, result } });
    this.#deliver(this.#find(request_id));
  }

  #find(id) {
    return this.store.state.requests.find(({ request_id }) => request_id === id);
  }

  async #deliver({ request_id, answer }) {
    if (this.#busy.has(request_id)) return;
    this.#busy.add(request_id);
    this.store.dispatch({ type: 'request/answered', request_id, answer });
    const settled = (state, trouble) => this.store.dispatch({ type: 'request/settled', request_id, state, trouble });
    try {
      await this.#tries({ request_id, ...answer });
      settled(answer.status);
    } catch (error) {
      settled(OVER[error.code] ?? 'failed', error.message);
    } finally {
      this.#busy.delete(request_id);
    }
  }

  /** Every try goes by the way that is open then; the last by HTTP in any case. */
  async #tries(data) {
    for (let tried = 0; ; tried++) {
      try {
        return await this.#send(data, tried === LADDER_MS.length);
      } catch (error) {
        if (!error.retryable || tried === LADDER_MS.length) throw error;
        const delay = Math.max(LADDER_MS[tried], error.retry_after_ms ?? 0);
        await new Promise((resolve) => this.timers.setTimeout(resolve, delay));
      }
    }
  }

  #send(data, last) {
    if (!last && this.store.state.connection.state === 'connected') return this.wire.request('action.result', data);
    return this.api.post(`/actions/${data.request_id}/result`, data);
  }
}
