// A server's log in miniature and a seeded random source, so that every failing run can be repeated by its seed.

import { initialState, reduce } from '../../static/store.js';

export const ANN = { id: 1, name: 'Ann', role: 'admin' };
export const BOB = { id: 2, name: 'Bob', role: 'member' };
export const ROOM = 12;
export const INBOX = 90;
export const COMMONS = 91;
export const EPOCH = 'e1';
export const NOW = Date.parse('2026-01-01T12:00:00.000Z');

export function seeded(seed) {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return { random, below: (n) => Math.floor(random() * n), chance: (p) => random() < p };
}

/** The log of one room, which answers subscriptions and history as the protocol says. */
export class Log {
  events = [];
  #id = 1_000;

  constructor(roomId = ROOM, epoch = EPOCH) {
    Object.assign(this, { roomId, epoch });
    this.append('room.created', { kind: 'open', name: 'General', created_by: 1 });
  }

  get head() { return this.events.length; }

  append(type, data) {
    const seq = this.head + 1;
    const event = { type, id: ++this.#id, seq, room_id: this.roomId, at: new Date(NOW + seq * 1_000).toISOString(), data };
    this.events.push(event);
    return event;
  }

  /** Posting the same client_message_id again answers the original. */
  post(author, client_message_id, body) {
    const known = this.events.find(({ type, data }) => type === 'message.posted' && data.author.id === author.id && data.client_message_id === client_message_id);
    return known ?? this.append('message.posted', { author, client_message_id, body, version: 1 });
  }

  edit(messageId, body, editor_id = 1) {
    const version = this.messages().find(({ id }) => id === messageId).version + 1;
    return this.append('message.edited', { message_id: messageId, body, version, editor_id });
  }

  remove(messageId) {
    return this.append('message.deleted', { message_id: messageId, deleted_by: 1 });
  }

  messages(upTo = this.head) {
    const messages = new Map();
    for (const { type, id, seq, at, room_id, data } of this.events.slice(0, upTo)) {
      if (type === 'message.posted') messages.set(id, { id, room_id, seq, at, edited_at: null, ...data });
      if (type === 'message.edited') Object.assign(messages.get(data.message_id), { body: data.body, version: data.version, edited_at: at });
      if (type === 'message.deleted') messages.delete(data.message_id);
    }
    return [...messages.values()].map((message) => ({ ...message }));
  }

  page({ before = Infinity, limit = 50 } = {}, upTo = this.head) {
    const older = this.messages(upTo).filter(({ id }) => id < before);
    const messages = older.slice(-limit);
    return { messages, next: older.length > messages.length ? 'cursor' : null, head: upTo };
  }

  snapshot(me = ANN, read = 0) {
    const unread = this.messages().filter(({ seq, author }) => seq > read && author.id !== me.id).length;
    return { id: this.roomId, kind: 'open', name: 'General', created_by: 1, head: this.head, read, unread, typing: [] };
  }

  /** The answer to a subscription; `window` is how many events are replayed at most. */
  subscribe({ after, epoch }, { window = 1_000, read = 0 } = {}) {
    const base = { room: this.snapshot(ANN, read), head: this.head };
    if (after === undefined) return { ...base, recovery: 'complete', events: [] };
    if (epoch !== this.epoch) return { ...base, recovery: 'gap', reason: 'epoch_changed', page: 'p' };
    if (after > this.head) return { ...base, recovery: 'gap', reason: 'ahead_of_head', page: 'p' };
    if (this.head - after > window) return { ...base, recovery: 'gap', reason: 'window_exceeded', page: 'p' };
    return { ...base, recovery: 'complete', events: this.events.slice(after) };
  }

  welcome(me = ANN, read = 0) {
    const { head, unread } = this.snapshot(me, read);
    return {
      type: 'welcome',
      data: {
        connection_id: 'x', user: me, epoch: this.epoch, last_id: 1,
        limits: { frame_bytes: 65_536, body_bytes: 16_384, subscriptions: 200 }, flags: { version: 0, values: {} },
        rooms: [
          { room_id: this.roomId, kind: 'open', name: 'General', head, read, unread },
          { room_id: INBOX, kind: 'inbox', name: null, head: 0, read: 0, unread: 0 },
          { room_id: COMMONS, kind: 'commons', name: null, head: 0, read: 0, unread: 0 },
        ],
      },
    };
  }
}

/** A client that is only its state. */
export class Client {
  state = initialState();

  does(action) {
    this.state = reduce(this.state, { now: NOW, ...action });
    return this;
  }

  hears(frame) {
    return this.does({ type: 'frame', frame: structuredClone(frame) });
  }

  subscribes(log, options) {
    const after = this.room.timeline.seq ?? undefined;
    const entry = structuredClone(log.subscribe({ after, epoch: this.state.epoch }, options));
    this.does({ type: 'rooms/asked', room_ids: [ROOM] });
    return this.does({ type: 'rooms/subscribed', entries: [entry] });
  }

  pages(log, { want = 'newest', limit = 50, upTo } = {}) {
    const { generation, live } = this.room.timeline;
    const page = structuredClone(log.page({ before: want === 'older' ? live.messages[0]?.id : undefined, limit }, upTo));
    return this.does({ type: 'history/paged', room_id: ROOM, want, of: 'live', generation, page });
  }

  posts(client_message_id, body) {
    return this.does({ type: 'send/queued', entry: { room_id: ROOM, client_message_id, body, at: NOW } });
  }

  acked(event) {
    const { id, seq, at, room_id, data: { client_message_id, body } } = event;
    return this.does({ type: 'send/acked', id, seq, at, room_id, client_message_id, body });
  }

  get room() { return this.state.rooms[ROOM]; }

  get bodies() { return this.room.timeline.live.messages.map(({ body }) => body); }
}

export function joined(log, read = 0) {
  return new Client().hears(log.welcome(ANN, read)).subscribes(log, { read });
}
