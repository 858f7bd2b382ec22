// Tells a room that its writer is typing: starts at most every 3 s, stops on blur, on emptiness and after 5 s of idleness.

export const RENEW_MS = 3_000;
export const IDLE_MS = 5_000;
/** A room takes one start a second from each writer and drops the others. */
export const THROTTLE_MS = 1_000;
/** A little more than that, because the frames may travel at different speeds. */
const MARGIN_MS = 200;

export class Typing {
  #room = null;
  #renewAt = -Infinity;
  #toldAt = new Map();
  #idle = null;
  #late = null;

  /** `seen(roomId)` is the last seq of the room that is on this side: a start that arrives after a later message is too late. */
  constructor(tell, { seen = () => undefined, now = Date.now, timers = globalThis } = {}) {
    Object.assign(this, { tell, seen, now, timers });
  }

  input(roomId, text) {
    if (!text.trim()) {
      this.stop();
      return;
    }
    if (this.#room !== roomId) this.stop();
    if (this.now() >= this.#renewAt) this.#start(roomId);
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
    this.timers.clearTimeout(this.#late);
    this.#room = null;
    this.#renewAt = -Infinity;
  }

  /** Somebody who goes on right after a message is told of when the room listens again. */
  #start(roomId) {
    const wait = Math.max(0, (this.#toldAt.get(roomId) ?? -Infinity) + THROTTLE_MS + MARGIN_MS - this.now());
    this.#renewAt = this.now() + wait + RENEW_MS;
    const tell = () => {
      this.#room = roomId;
      this.#toldAt.set(roomId, this.now());
      this.tell('typing.start', { room_id: roomId, after: this.seen(roomId) ?? undefined });
    };
    if (wait === 0) tell();
    else {
      this.timers.clearTimeout(this.#late);
      this.#late = this.timers.setTimeout(tell, wait);
    }
  }
}
