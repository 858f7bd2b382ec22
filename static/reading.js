// Moves the read mark of the open room, when it is really being read, and only forward.

const DEBOUNCE_MS = 500;

export class Reading {
  #timer = null;
  #atBottom = false;

  constructor(store, wire) {
    Object.assign(this, { store, wire });
    addEventListener('focus', () => this.consider());
    document.addEventListener('visibilitychange', () => this.consider());
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

  async #mark() {
    const seq = this.#target();
    if (seq === null) return;
    const room_id = this.store.state.open;
    this.store.dispatch({ type: 'read/moved', room_id, read: seq });
    try {
      await this.wire.request('read.mark', { room_id, seq });
    } catch {
      // The next subscription tells the mark as the server has it, and it is moved again from there.
    }
  }
}
