// The reducer against the server's history: whatever the order of arrival, the same messages, each once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rowsOf } from '../../static/store/select.js';
import { ANN, BOB, Client, EPOCH, joined, Log, ROOM, seeded } from './support.mjs';

test('an ack before its broadcast and after it both leave one message', () => {
  for (const ackFirst of [true, false]) {
    const log = new Log();
    const client = joined(log).pages(log).posts('a', 'hi');
    const [pending] = rowsOf(client.state, ROOM).filter(({ kind }) => kind === 'message');
    assert.equal(pending.status, 'pending');
    const event = log.post(ANN, 'a', 'hi');
    if (ackFirst) client.acked(event).hears(event);
    else client.hears(event).acked(event);
    const rows = rowsOf(client.state, ROOM).filter(({ kind }) => kind === 'message');
    assert.deepEqual(rows.map(({ status, key }) => [status, key]), [['sent', pending.key]]);
  }
});

test('a duplicate changes nothing, not even the identity of the state', () => {
  const log = new Log();
  const client = joined(log);
  const event = log.post(BOB, 'b', 'once');
  client.hears(event);
  const before = client.state;
  client.hears(event);
  assert.equal(client.state, before);
});

test('an early event waits for the one before it and asks for the hole', () => {
  const log = new Log();
  const client = joined(log);
  const [first, second] = [log.post(BOB, '1', 'one'), log.post(BOB, '2', 'two')];
  client.hears(second);
  assert.deepEqual(client.bodies, []);
  assert.equal(client.room.link, 'torn');
  client.hears(first);
  assert.deepEqual(client.bodies, ['one', 'two']);
});

test('a torn room heals by subscribing from where it was', () => {
  const log = new Log();
  const client = joined(log);
  log.post(BOB, '1', 'one');
  log.post(BOB, '2', 'two');
  client.hears(log.post(BOB, '3', 'three')).subscribes(log);
  assert.equal(client.room.link, 'live');
  assert.deepEqual(client.bodies, ['one', 'two', 'three']);
});

test('room.resync asks again from the last contiguous event', () => {
  const log = new Log();
  const client = joined(log);
  client.hears({ type: 'room.resync', room_id: ROOM, from: 2 });
  assert.equal(client.room.link, 'torn');
  log.post(BOB, '1', 'one');
  client.subscribes(log);
  assert.deepEqual(client.bodies, ['one']);
});

test('a gap drops what is cached and the newest page fills it', () => {
  const log = new Log();
  const client = joined(log).pages(log);
  client.hears(log.post(BOB, '0', 'before'));
  client.does({ type: 'connection/changed', connection: { state: 'waiting' } });
  for (let i = 0; i < 10; i++) log.post(BOB, `m${i}`, `missed ${i}`);
  client.hears(log.welcome()).subscribes(log, { window: 5 });
  assert.deepEqual(client.bodies, []);
  assert.equal(client.room.timeline.live.loaded, false);
  client.pages(log);
  assert.deepEqual(client.room.timeline.live.messages, log.messages());
});

test('another epoch drops every cache and keeps the outbox', () => {
  const client = joined(new Log());
  client.hears(new Log().welcome()).posts('p', 'not yet sent');
  const restored = new Log(ROOM, 'e2');
  client.hears(restored.welcome());
  assert.equal(client.state.epoch, 'e2');
  assert.deepEqual(client.room.timeline.live.messages, []);
  assert.equal(client.state.outbox.length, 1);
  assert.notEqual(restored.epoch, EPOCH);
});

test('a page read before the subscription began is asked again', () => {
  const log = new Log();
  const early = log.head;
  log.post(BOB, '1', 'between');
  const client = joined(log).pages(log, { upTo: early });
  assert.equal(client.room.timeline.live.loaded, false);
  client.pages(log);
  assert.deepEqual(client.bodies, ['between']);
});

test('a page older than an edit or a deletion does not undo it', () => {
  const log = new Log();
  const [kept, gone] = [log.post(BOB, '1', 'draft'), log.post(BOB, '2', 'gone')];
  const client = joined(log);
  const old = log.head;
  client.hears(log.edit(kept.id, 'final')).hears(log.remove(gone.id)).pages(log, { upTo: old });
  assert.deepEqual(client.bodies, ['final']);
});

test('a page of an outdated generation is ignored', () => {
  const log = new Log();
  const client = joined(log);
  client.does({ type: 'history/paged', room_id: ROOM, want: 'older', of: 'live', generation: 99, page: log.page() });
  assert.equal(client.room.timeline.live.loaded, false);
});

test('a linked excerpt joins the live messages when they meet', () => {
  const log = new Log();
  for (let i = 0; i < 30; i++) log.post(BOB, `m${i}`, `${i}`);
  const client = joined(log).pages(log, { limit: 5 });
  const all = log.messages();
  const page = (messages, next) => ({ messages, next, head: log.head });
  const { generation } = client.room.timeline;
  const paged = (want, of, messages) => client.does({ type: 'history/paged', room_id: ROOM, want, of, generation, page: page(messages, 'n') });
  paged('around', 'excerpt', all.slice(5, 15));
  assert.equal(client.room.timeline.excerpt.messages.length, 10);
  paged('newer', 'excerpt', all.slice(15, 26));
  assert.equal(client.room.timeline.excerpt, null);
  assert.deepEqual(client.room.timeline.live.messages, all.slice(5));
});

/** One seeded life of a client: posts, edits, deletions, lost connections, reordering, duplicates, late and early pages. */
function live(seed) {
  const { below, chance } = seeded(seed);
  const log = new Log();
  for (let i = below(80); i > 0; i--) log.post(BOB, `old${i}`, `old ${i}`);
  const client = joined(log);
  let inFlight = [];
  let acks = [];
  let connected = true;
  let own = 0;
  const unanswered = new Map();
  const transmit = (event) => {
    if (!connected || chance(0.05)) return;
    inFlight.push(event);
    if (chance(0.1)) inFlight.push(event);
  };
  const heal = () => {
    client.subscribes(log, { window: chance(0.2) ? 3 : 1_000 });
  };
  const reconnect = () => {
    connected = true;
    client.hears(log.welcome()).subscribes(log, { window: chance(0.3) ? 3 : 1_000 });
    for (const [id, body] of unanswered) {
      const before = log.head;
      const event = log.post(ANN, id, body);
      acks.push(event);
      if (log.head > before) transmit(event);
    }
  };
  const steps = [
    () => transmit(log.post(BOB, `b${log.head}`, `bob ${log.head}`)),
    () => {
      const id = `a${own++}`;
      client.posts(id, `ann ${id}`);
      unanswered.set(id, `ann ${id}`);
      if (!connected || chance(0.1)) return;
      const event = log.post(ANN, id, `ann ${id}`);
      transmit(event);
      if (!chance(0.1)) acks.push(event);
    },
    () => {
      const messages = log.messages();
      if (messages.length) transmit(log.edit(messages[below(messages.length)].id, `edited ${log.head}`));
    },
    () => {
      const messages = log.messages();
      if (messages.length) transmit(log.remove(messages[below(messages.length)].id));
    },
    () => inFlight.length && client.hears(inFlight.splice(chance(0.7) ? 0 : below(inFlight.length), 1)[0]),
    () => inFlight.length && client.hears(inFlight.splice(0, 1)[0]),
    () => {
      if (!acks.length) return;
      const [event] = acks.splice(below(acks.length), 1);
      unanswered.delete(event.data.client_message_id);
      client.acked(event);
    },
    () => client.pages(log, { want: chance(0.5) ? 'newest' : 'older', limit: 1 + below(20), upTo: log.head - Math.min(log.head - 1, below(4)) }),
    () => client.room.link === 'torn' && connected && heal(),
    () => {
      if (!chance(0.2)) return;
      connected = false;
      inFlight = [];
      acks = [];
      client.does({ type: 'connection/changed', connection: { state: 'waiting' } });
    },
    () => connected || reconnect(),
  ];
  for (let i = 0; i < 250; i++) steps[below(steps.length)]();
  inFlight.splice(0).forEach((event) => client.hears(event));
  connected = false;
  client.does({ type: 'connection/changed', connection: { state: 'waiting' } });
  reconnect();
  inFlight.splice(0).forEach((event) => client.hears(event));
  heal();
  acks.splice(0).forEach((event) => client.acked(event));
  while (!client.room.timeline.live.loaded) client.pages(log);
  while (client.room.timeline.live.older) client.pages(log, { want: 'older' });
  return { client, log };
}

test('random interleavings end in the history of the server', () => {
  const only = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 400 }, (_, seed) => seed);
  for (const seed of only) {
    const { client, log } = live(seed);
    assert.deepEqual(client.room.timeline.live.messages, log.messages(), `SEED=${seed}`);
    assert.deepEqual(client.state.outbox, [], `SEED=${seed}`);
    assert.deepEqual(Object.keys(client.room.timeline.early), [], `SEED=${seed}`);
    const { unread } = log.snapshot(ANN, 0);
    assert.equal(client.room.unread, unread, `unread, SEED=${seed}`);
    const keys = rowsOf(client.state, ROOM).map(({ key }) => key);
    assert.equal(new Set(keys).size, keys.length, `keys, SEED=${seed}`);
  }
});

test('a fresh client has no room until it is welcomed', () => {
  const client = new Client();
  client.hears({ type: 'message.posted', id: 1, seq: 1, room_id: ROOM, at: 'x', data: {} });
  assert.deepEqual(client.state.rooms, {});
});
