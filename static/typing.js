// Tells a room that its writer is typing: starts at most every 3 s, stops on blur, on emptiness and after 5 s of idleness.

export const RENEW_MS = 3_000;
export const IDLE_MS = 5_000;

export class Typing {
  #room = null;
  #startedAt = -Infinity;
  #idle = null;

  constructor(tell, { now = Date.now, timers = globalThis } = {}) {
    Object.assign(this, { tell, now, timers });
  }

  input(roomId, text) {
    if (!text.trim()) {
      this.stop();
      return;
    }
    if (this.#room !== roomId) this.stop();
    if (this.now() - this.#startedAt >= RENEW_MS) {
      this.#startedAt = this.now();
      this.#room = roomId;
      this.tell('typing.start', { room_id: roomId });
    }
    this.timers.clearTimeout(this.#idle);
    this.#idle = this.timers.setTimeout(() => this.stop(), IDLE_MS);
  }

  stop() {
    const room = this.#room;
    this.sent();
    if (room !== null) this.tell('typing.stop', { room_id: room });
  }

  /** A message ends its writer's typing by itself. */
  sent() {
    this.timers.clearTimeout(this.#idle);
    this.#room = null;
    this.#startedAt = -Infinity;
  }
}
