// The client behind the views: joins transport, frames, state and effects, and offers what a person can do.

import { api } from './api.js';
import { Attention } from './attention.js';
import { Answerer } from './answerer.js';
import { Asker } from './asker.js';
import { Changer } from './changer.js';
import { Effects } from './effects.js';
import { Outbox } from './outbox.js';
import { Preferences } from './preferences.js';
import { Reading } from './reading.js';
import { Sender } from './sender.js';
import { Socket } from './socket.js';
import { createStore } from './store.js';
import { unsaved } from './store/changing.js';
import { Typing } from './typing.js';
import { Wire } from './wire.js';

export const DRAFTS_KEY = 'hearth.drafts';
/** Closes after which nobody is signed in: expired, signed out, account closed. */
const ENDING = new Set([4500, 4501, 4502]);

export class Client {
  #ended = new AbortController();

  constructor(me, { onSessionEnded }) {
    this.onSessionEnded = onSessionEnded;
    this.store = createStore();
    this.outbox = new Outbox(me.id);
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    this.socket = new Socket({
      url: `${scheme}//${location.host}/ws`,
      onText: (text) => this.wire.receive(text),
      onLost: () => this.wire.lost(),
      onState: (connection) => this.#connection(connection),
      refusal: () => api.get('/me').then(() => null, (error) => error),
      signal: this.#ended.signal,
    });
    this.wire = new Wire({
      send: (text) => this.socket.send(text),
      onFrame: (frame) => this.#frame(frame),
      onLate: ({ type, data }, reply) => this.#late(type, data, reply),
    });
    this.preferences = new Preferences(this.store, this.wire, api);
    const settle = () => this.preferences.settle();
    this.sender = new Sender(this.store, this.wire, { settle });
    this.asker = new Asker(this.store, this.wire, { settle });
    this.answerer = new Answerer(this.store, this.wire, api);
    this.changer = new Changer(this.store, this.wire);
    this.effects = new Effects(this.store, this.wire);
    this.reading = new Reading(this.store, this.wire, this.#ended.signal);
    this.typing = new Typing((type, data) => this.wire.tell(type, data), { seen: (roomId) => this.state.rooms[roomId]?.timeline.seq });
    addEventListener('pagehide', () => this.preferences.flush(), { signal: this.#ended.signal });
    this.attention = new Attention((type, data) => this.wire.tell(type, data));
    this.store.dispatch({ type: 'me/learned', me });
    this.#restoreDrafts();
    this.store.subscribe((state) => this.#settled(state));
    this.clock = setInterval(() => this.store.dispatch({ type: 'clock/ticked', now: Date.now() }), 1_000);
  }

  get state() {
    return this.store.state;
  }

  start() {
    this.socket.start();
    this.restored = this.outbox.restore((entries) => this.#restore(entries)).then(() => this.#adopt());
    this.#learn('/account', (account) => ({ type: 'account/learned', account }));
  }

  restart() {
    this.socket.start();
  }

  open(roomId) {
    this.typing.stop();
    this.store.dispatch({ type: 'room/opened', room_id: roomId });
  }

  post(roomId, body) {
    this.typing.sent();
    this.sender.post(roomId, body);
  }

  edit(roomId, messageId, text) {
    this.changer.edit(roomId, messageId, this.state.edits[messageId].version, text);
  }

  remove(roomId, messageId) {
    this.changer.remove(roomId, messageId);
  }

  /** How many messages and changes the server doesn't have yet. */
  get waiting() {
    return this.state.outbox.length + unsaved(this.state).length;
  }

  async createRoom(wish) {
    const room = await api.make('/rooms', wish);
    this.store.dispatch({ type: 'room/learned', room });
    return room;
  }

  /** The direct room with somebody, made if there is none yet. */
  async direct(userId) {
    const known = Object.values(this.state.rooms).find(({ kind, members }) => kind === 'direct'
      && members?.length === 2 && members.some(({ id }) => id === userId));
    if (known) return known;
    const room = await this.createRoom({ kind: 'direct', members: [userId] });
    if (!room.members) await this.learnRoom(room.id);
    return room;
  }

  async learnRoom(roomId) {
    const room = await api.get(`/rooms/${roomId}`);
    this.store.dispatch({ type: 'room/learned', room });
    return room;
  }

  notify(text) {
    this.store.dispatch({ type: 'notice/shown', text });
  }

  async signOut() {
    try {
      await api.delete('/sessions/current');
    } catch (error) {
      // Without an answer it is done all the same where the socket was told so, or there is no such session any more.
      if (!this.stopped && !error.isSignedOut) throw error;
    }
    // First of all: what ends with the socket must not be written down again.
    this.stop();
    sessionStorage.removeItem(DRAFTS_KEY);
    await this.outbox.forget();
  }

  stop() {
    this.stopped = true;
    this.#ended.abort();
    clearInterval(this.clock);
    this.attention.stop();
    this.preferences.stop();
    this.asker.stop();
    this.outbox.stop();
    this.socket.stop();
  }

  #connection(connection) {
    this.store.dispatch({ type: 'connection/changed', connection });
    if (connection.state === 'stopped' && ENDING.has(connection.code)) this.onSessionEnded(connection.code);
  }

  #frame(frame) {
    // Somebody else signed in with this browser: nothing that is cached here is theirs.
    if (frame.type === 'welcome' && frame.data.user.id !== this.state.me.id) {
      location.reload();
      return;
    }
    this.store.dispatch({ type: 'frame', frame, now: Date.now() });
    if (frame.type === 'action.request') this.answerer.considers(frame.data.request_id);
    if (frame.type !== 'welcome') return;
    this.preferences.connected();
    this.attention.connected();
    this.restored.then(() => this.#adopt());
  }

  #settled(state) {
    if (this.stopped) return;
    this.outbox.save([...state.outbox, ...unsaved(state)]);
    if (state.drafts !== this.savedDrafts) this.#saveDrafts(state.drafts);
    this.settling ??= Promise.resolve().then(() => {
      this.settling = null;
      this.effects.run();
      this.sender.pump();
      this.changer.pump();
      this.reading.consider();
    });
  }

  #adopt() {
    return this.outbox.adopt((entries) => this.#restore(entries));
  }

  #restore(entries) {
    if (entries.length) this.store.dispatch({ type: 'send/restored', entries, now: Date.now() });
  }

  /** The answer to what has timed out already. */
  #late(type, data, reply) {
    if (type === 'message.post') this.sender.acked(data, reply);
    if (type === 'message.edit') this.changer.acked({ kind: 'edit', ...data }, reply);
    if (type === 'message.delete') this.changer.acked({ kind: 'delete', ...data }, reply);
  }

  #learn(path, action) {
    return api.get(path).then((answer) => this.store.dispatch(action(answer)), () => {});
  }

  #saveDrafts(drafts) {
    this.savedDrafts = drafts;
    const texts = Object.entries(drafts).filter(([, { text }]) => text).map(([id, { text }]) => [id, { text, reason: null, revision: 1 }]);
    try {
      sessionStorage.setItem(DRAFTS_KEY, JSON.stringify({ user: this.state.me.id, drafts: Object.fromEntries(texts) }));
    } catch {
      // A draft that cannot be kept only misses the next reload.
    }
  }

  #restoreDrafts() {
    try {
      const { user, drafts } = JSON.parse(sessionStorage.getItem(DRAFTS_KEY)) ?? {};
      if (user === this.state.me.id) this.store.dispatch({ type: 'draft/restored', drafts });
    } catch {
      sessionStorage.removeItem(DRAFTS_KEY);
    }
  }
}
