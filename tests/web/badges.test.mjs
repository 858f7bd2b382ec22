// Rooms that are followed by badge, and how a client heals what it missed.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Effects } from '../../static/effects.js';
import { createStore } from '../../static/store.js';
import { wantedLevel } from '../../static/store/rooms.js';
import { ANN, BOB, Client, COMMONS, INBOX, joined, Log, NOW, ROOM, seeded } from './support.mjs';

const badge = (log, read = 0) => {
  const { head, unread } = log.snapshot(ANN, read);
  return { type: 'badge', room_id: ROOM, data: { head, read, unread } };
};
const followed = (log, read = 0) => {
  const { id, kind, name, created_by, head, unread } = log.snapshot(ANN, read);
  return { room: { id, kind, name, created_by }, level: 'badge', head, read, unread };
};
const follows = (client, log, read) => client.does({ type: 'rooms/asked', room_ids: [ROOM] })
  .does({ type: 'rooms/subscribed', entries: [followed(log, read)] });

test('only the open room and the lists are heard in full', () => {
  const { state } = new Client().hears(new Log().welcome()).does({ type: 'room/opened', room_id: ROOM });
  assert.deepEqual([ROOM, INBOX, COMMONS].map((id) => wantedLevel(state, state.rooms[id])), ['full', 'full', 'full']);
  assert.equal(wantedLevel({ ...state, open: 5 }, state.rooms[ROOM]), 'badge');
});

test('a badge is the count', () => {
  const log = new Log();
  const client = follows(new Client().hears(log.welcome()), log);
  log.post(BOB, '1', 'one');
  log.post(ANN, '2', 'mine');
  log.post(BOB, '3', 'three');
  client.hears(badge(log));
  assert.equal(client.room.unread, 2);
  client.hears(badge(log, 2));
  assert.deepEqual([client.room.read, client.room.unread, client.room.doubt], [2, 1, false]);
  const before = client.state;
  client.hears({ type: 'badge', room_id: 999, data: { head: 1, read: 0, unread: 1 } });
  assert.equal(client.state, before);
});

test('opening a room goes on from what is known, and nothing is missing or doubled', () => {
  const log = new Log();
  const client = joined(log).pages(log);
  client.hears(log.post(BOB, '1', 'heard'));
  follows(client, log);
  log.post(BOB, '2', 'by badge');
  client.hears(badge(log));
  assert.deepEqual([client.bodies, client.room.unread], [['heard'], 2]);
  log.post(BOB, '3', 'not even that');
  client.subscribes(log);
  assert.deepEqual([client.bodies, client.room.unread], [['heard', 'by badge', 'not even that'], 3]);
  client.hears(badge(log, 3));
  assert.equal(client.room.unread, 3, 'what is heard in full is counted here');
});

test('a room that was never open begins at its head, and asks for the count it cannot know', () => {
  const log = new Log();
  const client = follows(new Client().hears(log.welcome()), log);
  assert.equal(client.room.timeline.seq, null);
  client.hears(badge(log)).subscribes(log);
  assert.equal(client.room.doubt, false, 'nothing came in between');
  follows(client, log);
  log.post(BOB, '1', 'between');
  const entry = log.subscribe({ after: undefined, epoch: log.epoch });
  delete entry.room.unread;
  delete entry.room.read;
  client.does({ type: 'rooms/subscribed', entries: [entry] });
  assert.equal(client.room.doubt, true);
});

test('a mark that is told before the replay clears no count', () => {
  const log = new Log();
  const client = joined(log, 1).pages(log);
  client.does({ type: 'connection/changed', connection: { state: 'waiting' } });
  for (let i = 0; i < 5; i++) log.post(BOB, `${i}`, `missed ${i}`);
  client.hears(log.welcome(ANN, 1));
  assert.equal(client.room.unread, 5);
  const inbox = new Log(INBOX);
  inbox.events = [];
  client.hears(inbox.append('read.marked', { room_id: ROOM, read: 3 }));
  assert.ok(client.room.unread > 0 || client.room.doubt, 'three are left');
  client.subscribes(log, { read: 3 });
  assert.equal(client.room.unread, 3);
});

test('a list that was asked for before does not undo what was granted or taken since', () => {
  const log = new Log();
  const client = joined(log);
  const known = Object.keys(client.state.rooms).map(Number);
  const inbox = new Log(INBOX);
  inbox.events = [];
  client.hears(inbox.append('membership.granted', { room: { id: 30, kind: 'closed', name: 'Den' } }));
  const listed = (id) => ({ id, kind: 'closed', name: 'x', head: 1, read: 0, unread: 0 });
  client.does({ type: 'rooms/listed', rooms: [listed(ROOM)], known });
  assert.ok(client.state.rooms[30], 'granted meanwhile');
  client.hears(inbox.append('membership.revoked', { room_id: 30 }));
  client.does({ type: 'rooms/listed', rooms: [listed(ROOM), listed(30)], known: [...known, 30] });
  assert.equal(client.state.rooms[30], undefined, 'taken meanwhile');
  client.does({ type: 'rooms/listed', rooms: [listed(31)], known });
  assert.deepEqual([client.room, client.state.rooms[31]?.name], [undefined, 'x']);
});

test('a room that is followed by badge gets its new name from the inbox, and keeps what is known of it', () => {
  const log = new Log();
  const client = joined(log);
  const inbox = new Log(INBOX);
  inbox.events = [];
  client.hears(inbox.append('membership.granted', { room: { id: 30, kind: 'closed', name: 'Den' } }));
  client.does({ type: 'room/counted', room_id: 30, head: 9, read: 4, unread: 5 });
  const { name, ...before } = client.state.rooms[30];
  client.hears(inbox.append('membership.granted', { room: { id: 30, kind: 'closed', name: 'Lair' } }));
  const { name: renamed, ...after } = client.state.rooms[30];
  assert.deepEqual([name, renamed], ['Den', 'Lair']);
  assert.deepEqual(after, before);
});

test('the rooms that the welcome has no place for stay, and are listed', () => {
  const log = new Log();
  const client = joined(log).does({ type: 'room/learned', room: { id: 40, kind: 'open', name: 'Attic', head: 1, read: 1, unread: 0 } });
  client.does({ type: 'rooms/refreshing' });
  const welcome = log.welcome();
  welcome.data.more_rooms = true;
  client.hears(welcome);
  assert.deepEqual([client.state.rooms[40]?.name, client.state.stale.rooms], ['Attic', true]);
  client.does({ type: 'rooms/refreshing' }).hears(log.welcome());
  assert.deepEqual([client.state.rooms[40], client.state.stale.rooms], [undefined, false], 'a welcome with all of them is the list');
});

test('a message that a page had before its event counts once', () => {
  const log = new Log();
  const client = joined(log).pages(log);
  const event = log.post(BOB, '1', 'ahead');
  client.pages(log);
  assert.equal(client.room.unread, 0);
  client.does({ type: 'room/counted', room_id: ROOM, head: event.seq - 1, read: 0, unread: 0 });
  client.hears(event);
  assert.equal(client.room.unread, 1);
  const next = log.post(BOB, '2', 'ahead, too');
  client.pages(log).does({ type: 'read/moved', room_id: ROOM, read: 1 }).hears(next);
  assert.equal(client.room.unread, 2);
});

test('a request nobody answered leaves what there was, and asks for the rest again', () => {
  const log = new Log();
  const client = follows(new Client().hears(log.welcome()), log);
  client.does({ type: 'rooms/asked', room_ids: [ROOM, INBOX] }).does({ type: 'rooms/unanswered', room_ids: [ROOM, INBOX, 999] });
  assert.deepEqual([ROOM, INBOX].map((id) => [client.state.rooms[id].link, client.state.rooms[id].level]), [['live', 'badge'], ['none', null]]);
  client.does({ type: 'rooms/subscribed', entries: [{ room_id: ROOM, error: { code: 'rate_limited', retryable: true } }] });
  assert.deepEqual([client.room.link, client.room.level], ['refused', null]);
  client.does({ type: 'rooms/unanswered', room_ids: [ROOM] });
  assert.equal(client.room.link, 'none');
  client.subscribes(log);
  const { state } = client;
  assert.equal(client.does({ type: 'rooms/unanswered', room_ids: [ROOM] }).state, state, 'answered meanwhile');
});

test('an error of history does not survive the connection', () => {
  const log = new Log();
  const client = joined(log).does({ type: 'history/failed', room_id: ROOM, want: 'newest', message: 'no' });
  client.does({ type: 'connection/changed', connection: { state: 'waiting' } });
  assert.equal(client.room.timeline.failed, null);
  client.does({ type: 'history/failed', room_id: ROOM, want: 'newest', message: 'late' }).hears(log.welcome());
  assert.equal(client.room.timeline.failed, null);
});

/** The effects over a wire that notes what is asked and answers when told to. */
function effects() {
  const store = createStore();
  const asked = [];
  const wire = { request: (type, data) => new Promise((resolve, reject) => asked.push({ type, data, resolve, reject })), tell: () => true };
  const runner = new Effects(store, wire);
  store.subscribe(() => runner.run());
  return { store, asked };
}

test('the room on screen is asked for in full, the others by badge, and switching asks for both', async () => {
  const log = new Log();
  const { store, asked } = effects();
  store.dispatch({ type: 'room/opened', room_id: ROOM });
  const welcome = log.welcome();
  welcome.data.rooms.push({ room_id: 13, kind: 'open', name: 'Other', head: 4, read: 4, unread: 0 });
  store.dispatch({ type: 'users/refreshing' });
  globalThis.fetch = () => new Promise(() => {});
  store.dispatch({ type: 'frame', frame: welcome, now: NOW });
  const [first] = asked.splice(0);
  const levels = Object.fromEntries(first.data.rooms.map(({ room_id, level = 'full' }) => [room_id, level]));
  assert.deepEqual(levels, { [ROOM]: 'full', 13: 'badge', [INBOX]: 'full', [COMMONS]: 'full' });
  const other = { room: { id: 13, kind: 'open', name: 'Other' }, level: 'badge', head: 4, read: 4, unread: 0 };
  const empty = (id, kind) => ({ room: { id, kind, name: null, typing: [] }, head: 0, recovery: 'complete', events: [] });
  first.resolve({ rooms: [log.subscribe({ after: log.head, epoch: log.epoch }), other, empty(INBOX, 'inbox'), empty(COMMONS, 'commons')] });
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(asked, [], 'all is as wanted');
  store.dispatch({ type: 'room/opened', room_id: 13 });
  const switched = asked.splice(0).flatMap(({ data }) => data.rooms);
  assert.deepEqual(switched, [{ room_id: ROOM, level: 'badge' }, { room_id: 13 }]);
});

test('a refusal from before a room was given back takes nothing away', () => {
  const client = joined(new Log());
  const inbox = new Log(INBOX);
  inbox.events = [];
  const given = () => client.hears(inbox.append('membership.granted', { room: { id: 30, kind: 'closed', name: 'Den' } }));
  const asks = (request) => client.does({ type: 'rooms/asked', room_ids: [30], request });
  const refused = { room_id: 30, error: { code: 'not_found', retryable: false } };
  given();
  asks(1);
  client.hears(inbox.append('membership.revoked', { room_id: 30 }));
  given();
  asks(2).does({ type: 'rooms/subscribed', entries: [refused], request: 1 });
  assert.equal(client.state.rooms[30].link, 'asked');
  client.does({ type: 'rooms/subscribed', entries: [refused], request: 2 });
  assert.equal(client.state.rooms[30], undefined);
});

test('a refused subscription is asked for again when its refusal says so', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const settle = async (ms = 0) => {
      mock.timers.tick(ms);
      for (let i = 0; i < 10; i++) await Promise.resolve();
    };
    globalThis.fetch = () => new Promise(() => {});
    const { store, asked } = effects();
    store.dispatch({ type: 'frame', frame: new Log().welcome(), now: NOW });
    const rooms = () => asked.splice(0).map(({ data }) => data.rooms.map(({ room_id }) => room_id));
    const refused = (room_id, retry_after_ms) => ({ room_id, error: { code: 'rate_limited', retryable: true, retry_after_ms } });
    asked[0].resolve({ rooms: [refused(ROOM, 9_000), refused(INBOX, 400), refused(COMMONS)] });
    rooms();
    await settle();
    await settle(399);
    assert.deepEqual(rooms(), []);
    await settle(1);
    assert.deepEqual(rooms(), [[INBOX]]);
    await settle(1_600);
    assert.deepEqual(rooms(), [[COMMONS]]);
    await settle(6_999);
    assert.deepEqual(rooms(), []);
    await settle(1);
    assert.equal(asked.length, 1);
    asked.pop().reject({ code: 'rate_limited', retry_after_ms: 700 });
    await settle();
    await settle(699);
    assert.deepEqual(rooms(), []);
    await settle(1);
    assert.deepEqual(rooms(), [[ROOM]], 'refused as a whole');
  } finally {
    mock.timers.reset();
  }
});

test('in any order of levels, badges and losses the room ends as the server has it', () => {
  for (let seed = 0; seed < 300; seed++) {
    const { below, chance } = seeded(seed);
    const log = new Log();
    const client = joined(log).pages(log);
    for (let step = 0; step < 80; step++) {
      const full = client.room.link === 'live' && client.room.level === 'full';
      const happened = () => {
        const messages = log.messages();
        if (messages.length && chance(0.2)) return log.remove(messages[below(messages.length)].id);
        return log.post(chance(0.3) ? ANN : BOB, `m${log.head}`, `${log.head}`);
      };
      switch (below(5)) {
        case 0:
        case 1: {
          const event = happened();
          if (full && !chance(0.1)) client.hears(event);
          if (client.room.level === 'badge' && chance(0.7)) client.hears(badge(log));
          break;
        }
        case 2:
          follows(client, log);
          break;
        case 3:
          client.subscribes(log, { window: chance(0.2) ? 2 : 1_000 });
          break;
        default:
          if (chance(0.2)) client.does({ type: 'connection/changed', connection: { state: 'waiting' } }).hears(log.welcome());
      }
    }
    client.subscribes(log);
    while (!client.room.timeline.live.loaded) client.pages(log);
    while (client.room.timeline.live.older) client.pages(log, { want: 'older' });
    assert.deepEqual(client.room.timeline.live.messages, log.messages(), `seed ${seed}`);
    const { unread } = log.snapshot(ANN, 0);
    assert.ok(client.room.doubt || client.room.unread === unread, `seed ${seed}: ${client.room.unread}, not ${unread}`);
    follows(client, log);
    assert.equal(client.room.unread, unread, `seed ${seed}`);
  }
});
