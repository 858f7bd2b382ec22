// What the state asks for: subscriptions that are missing, pages that are wanted, lists that are stale. Runs after every change.

import { api } from './api.js';
import { TALK, wantedLevel } from './store/rooms.js';

const FIRST_PAGE = 50;
const PAGE = 100;
const RETRY_MS = 2_000;

export class Effects {
  #running = new Set();
  #opened = [];
  #requests = 0;

  constructor(store, wire) {
    Object.assign(this, { store, wire });
  }

  run() {
    const { state } = this.store;
    if (state.connection.state !== 'connected') return;
    this.#subscribe(state);
    if (state.stale.rooms) this.#once('rooms', () => this.#listRooms());
    if (state.stale.users) this.#once('users', () => this.#listUsers());
    if (state.stale.account) this.#once('account', () => this.#learnAccount());
    if (state.stale.sessions && state.sessions) this.#once('sessions', () => this.#listSessions());
    // As it is after the request: a level that is being changed has no pages yet.
    const room = this.store.state.rooms[state.open];
    if (room?.link === 'live' && room.level === 'full' && !room.timeline.loading && !room.timeline.failed && !room.timeline.live.loaded) this.page(room.id, 'newest');
    for (const doubtful of Object.values(state.rooms)) if (doubtful.doubt) this.#once(`count ${doubtful.id}`, () => this.#count(doubtful.id));
  }

  /** The inbox, the commons and the open room first, then as many as one socket may have. */
  #subscribe(state) {
    const all = Object.values(state.rooms);
    const cap = state.limits.subscriptions;
    const taken = all.filter(({ link }) => link === 'asked' || link === 'live' || link === 'refused').length;
    const rank = (room) => (TALK.has(room.kind) ? (room.id === state.open ? 1 : 2) : 0);
    const linked = all.filter(({ link }) => link === 'none' || link === 'torn');
    // Changing the level takes no further place.
    const changed = all.filter((room) => room.link === 'live' && room.level !== wantedLevel(state, room));
    let wanted = linked
      .sort((a, b) => rank(a) - rank(b) || b.unread - a.unread || (b.countedTo - a.countedTo));
    const free = Math.max(0, cap - taken);
    if (wanted.length > free) {
      if (free === 0 && wanted[0]?.id === state.open) this.#makeWay(all, state.open);
      wanted = wanted.slice(0, Math.max(free, wanted[0]?.id === state.open ? 1 : 0));
    }
    wanted = [...changed, ...wanted];
    if (!wanted.length) return;
    const room_ids = wanted.map(({ id }) => id);
    const rooms = wanted.map((room) => {
      if (wantedLevel(state, room) === 'badge') return { room_id: room.id, level: 'badge' };
      return room.timeline.seq === null ? { room_id: room.id } : { room_id: room.id, after: room.timeline.seq };
    });
    const request = (this.#requests += 1);
    this.store.dispatch({ type: 'rooms/asked', room_ids, request });
    this.wire.request('room.subscribe', { rooms, epoch: state.epoch }).then(
      ({ rooms: entries }) => {
        this.store.dispatch({ type: 'rooms/subscribed', entries, now: Date.now(), request });
        for (const [delay, refused] of byDelay(entries)) this.#later(refused, delay);
      },
      (error) => error.code !== 'disconnected' && this.#later(room_ids, error.retry_after_ms),
    );
  }

  #later(room_ids, delay = RETRY_MS) {
    setTimeout(() => this.store.dispatch({ type: 'rooms/unanswered', room_ids }), delay);
  }

  /** More rooms than subscriptions: the one looked at longest ago gives its place to the open one. */
  #makeWay(rooms, open) {
    this.#opened = [...this.#opened.filter((id) => id !== open), open];
    const age = (id) => this.#opened.indexOf(id);
    const victim = rooms.filter(({ id, kind, link }) => TALK.has(kind) && link === 'live' && id !== open).sort((a, b) => age(a.id) - age(b.id))[0];
    if (!victim) return;
    this.wire.tell('room.unsubscribe', { room_id: victim.id });
    this.store.dispatch({ type: 'room/parked', room_id: victim.id });
  }

  /** Reads one page of history: newest | older | newer | around a message. */
  async page(roomId, want, messageId) {
    const room = this.store.state.rooms[roomId];
    if (!room || room.timeline.loading) return false;
    const { generation, excerpt, live } = room.timeline;
    const of = (want === 'older' || want === 'newer') && excerpt ? 'excerpt' : want === 'around' ? 'excerpt' : 'live';
    const window = of === 'excerpt' ? excerpt : live;
    const query = new URLSearchParams({ limit: want === 'newest' ? FIRST_PAGE : PAGE });
    if (want === 'older' && window.messages.length) query.set('before', window.messages[0].id);
    if (want === 'newer' && window.messages.length) query.set('after', window.messages.at(-1).id);
    if (want === 'around') query.set('around', messageId);
    this.store.dispatch({ type: 'history/asked', room_id: roomId, want });
    try {
      const page = await api.get(`/rooms/${roomId}/messages?${query}`);
      this.store.dispatch({ type: 'history/paged', room_id: roomId, want, of, generation, page });
      return true;
    } catch (error) {
      this.store.dispatch({ type: 'history/failed', room_id: roomId, want, message: error.message });
      return false;
    }
  }

  async #listRooms() {
    this.store.dispatch({ type: 'rooms/refreshing' });
    const known = Object.keys(this.store.state.rooms).map(Number);
    this.store.dispatch({ type: 'rooms/listed', rooms: await api.all('/rooms', 'rooms'), known });
  }

  async #listUsers() {
    this.store.dispatch({ type: 'users/refreshing' });
    this.store.dispatch({ type: 'users/listed', users: await api.all('/users', 'users') });
  }

  async #learnAccount() {
    this.store.dispatch({ type: 'account/refreshing' });
    this.store.dispatch({ type: 'account/learned', account: await api.get('/account') });
  }

  async #listSessions() {
    this.store.dispatch({ type: 'sessions/refreshing' });
    this.store.dispatch({ type: 'sessions/listed', sessions: await api.all('/sessions', 'sessions') });
  }

  async #count(roomId) {
    try {
      const { head, read, unread } = await api.get(`/rooms/${roomId}`);
      this.store.dispatch({ type: 'room/counted', room_id: roomId, head, read, unread });
    } catch (error) {
      if (error.code !== 'not_found') throw error;
      this.store.dispatch({ type: 'room/uncountable', room_id: roomId });
    }
  }

  async #once(name, work) {
    if (this.#running.has(name)) return;
    this.#running.add(name);
    try {
      await work();
    } catch {
      const lists = name in this.store.state.stale ? { [name]: true } : {};
      setTimeout(() => this.store.dispatch({ type: 'lists/outdated', lists }), RETRY_MS);
    } finally {
      this.#running.delete(name);
    }
  }
}

/** The refused rooms of an answer that may be asked for again, by how long the server wants that to take. */
function byDelay(entries) {
  const delays = new Map();
  for (const { room_id, error } of entries) {
    if (error?.retryable) delays.set(error.retry_after_ms, [...delays.get(error.retry_after_ms) ?? [], room_id]);
  }
  return delays;
}
