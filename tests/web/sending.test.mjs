// What becomes of a post that could not be sent.

import assert from 'node:assert/strict';
import test from 'node:test';

import { rowsOf } from '../../static/store/select.js';
import { onRefused } from '../../static/store/sending.js';
import { ANN, joined, Log, NOW, ROOM } from './support.mjs';

test('a post refused for want of a connection waits for the next one and is not tried at once', () => {
  const state = { outbox: [{ client_message_id: 'a', room_id: 1, body: 'hi', state: 'sending', tries: 0 }], drafts: {} };
  const next = onRefused(state, { client_message_id: 'a', error: { code: 'disconnected' } });
  assert.equal(next, state, 'nothing changes, so nothing is set off');
});

test('what is said while an older place is on screen is seen', () => {
  const log = new Log();
  for (let i = 0; i < 4; i++) log.post(ANN, `${i}`, `said ${i}`);
  const client = joined(log).pages(log, { limit: 1 });
  const { generation } = client.room.timeline;
  client.does({ type: 'history/paged', room_id: ROOM, want: 'around', of: 'excerpt', generation, page: { ...log.page(), messages: log.messages().slice(0, 2), next: 'n' } });
  assert.equal(client.room.timeline.excerpt.messages.length, 2);
  client.posts('p', 'and this');
  assert.equal(rowsOf(client.state, ROOM).at(-1).entry.body, 'and this');
});

test('what waited since yesterday has a day of its own, and every row its own name', () => {
  const log = new Log();
  log.post(ANN, 'a', 'said');
  log.events.at(-1).at = new Date(NOW - 86_400_000).toISOString();
  log.post(ANN, 'b', 'today');
  const client = joined(log).pages(log);
  client.does({ type: 'send/queued', entry: { room_id: ROOM, client_message_id: 'p', body: 'waits', at: NOW - 86_400_000 } });
  const keys = rowsOf(client.state, ROOM).map(({ key }) => key);
  assert.equal(new Set(keys).size, keys.length);
  assert.equal(keys.filter((key) => key.startsWith('day:')).length, 3);
});
