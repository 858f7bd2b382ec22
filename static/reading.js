// Moves the read mark of the open room, when it is really being read, and only forward.

const DEBOUNCE_MS = 500;
const RETRY_MS = 2_000;

export class Reading {
  #timer = null;
  #atBottom = false;

  constructor(store, wire, signal) {
    Object.assign(this, { store, wire });
    addEventListener('focus', () => this.consider(), { signal });
    document.addEventListener('visibilitychange', () => this.consider(), { signal });
  }

  /** Whether somebody looks at the end of the room. */
  get attentive() {
    return this.#atBottom && document.visibilityState === 'visible' && document.hasFocus();
  }

  scrolled(atBottom) {
    this.#atBottom = atBottom;
    this.consider();
  }

  consider() {
    if (this.#timer || this.#target() === null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#mark();
    }, DEBOUNCE_MS);
  }

  #target() {
    const { rooms, open, connection } = this.store.state;
    const room = rooms[open];
    if (!room || !this.attentive || connection.state !== 'connected' || room.timeline.excerpt || !room.timeline.live.loaded) return null;
    const last = room.timeline.live.messages.at(-1)?.seq ?? 0;
    const seq = room.unread > 0 ? Math.max(last, room.timeline.seq ?? 0) : last;
    return seq > room.read ? seq : null;
  }

  #mark() {
    const seq = this.#target();
    if (seq === null) return;
    const room_id = this.store.state.open;
    this.store.dispatch({ type: 'read/moved', room_id, read: seq });
    this.#tell(room_id, seq);
  }

  /** Says it until it is taken, or the mark has moved on: marks never go back. */
  async #tell(room_id, seq) {
    try {
      await this.wire.request('read.mark', { room_id, seq });
    } catch (error) {
      // Without a connection the welcome of the next tells the mark as the server has it, and it is moved again from there.
      if (error.code === 'disconnected' || (!error.retryable && error.code !== 'timeout')) return;
      const again = () => this.store.state.rooms[room_id]?.read === seq && this.#tell(room_id, seq);
      setTimeout(again, error.retry_after_ms ?? RETRY_MS);
    }
  }
}
