// Sending, reading, typing, presence and the lists of rooms, as the reducer sees them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presenceOf } from '../../static/store/attendance.js';
import { roomLists, rowsOf } from '../../static/store/select.js';
import { OUTBOX_MAX_AGE_MS } from '../../static/store/sending.js';
import { ANN, BOB, COMMONS, INBOX, joined, Log, NOW, ROOM } from './support.mjs';

const refuse = (client, client_message_id, error, retryAt) => client.does({ type: 'send/refused', client_message_id, error, retryAt });
const statuses = (client) => rowsOf(client.state, ROOM).filter(({ kind }) => kind === 'message').map(({ status }) => status);

test('a refused message goes back into the composer with the reason', () => {
  const client = joined(new Log()).posts('a', 'not like this');
  refuse(client, 'a', { code: 'forbidden', message: 'You may not.', retryable: false });
  const { text, reason } = client.state.drafts[ROOM];
  assert.deepEqual([text, reason, client.state.outbox.length], ['not like this', 'You may not.', 0]);
});

test('it does not overwrite what is being written', () => {
  const client = joined(new Log()).posts('a', 'first').does({ type: 'draft/typed', room_id: ROOM, text: 'second' });
  refuse(client, 'a', { code: 'forbidden', message: 'You may not.', retryable: false });
  assert.equal(client.state.drafts[ROOM].text, 'second');
  assert.deepEqual(statuses(client), ['failed']);
  client.does({ type: 'send/taken-back', client_message_id: 'a' });
  assert.equal(client.state.drafts[ROOM].text, 'second\nfirst');
});

test('what may pass stays pending until its time, and a lost connection costs no try', () => {
  const client = joined(new Log()).posts('a', 'hi');
  refuse(client, 'a', { code: 'rate_limited', message: '', retryable: true }, NOW + 800);
  assert.deepEqual([client.state.outbox[0].state, client.state.outbox[0].tries, client.state.outbox[0].retryAt], ['pending', 1, NOW + 800]);
  refuse(client, 'a', { code: 'disconnected', message: '', retryable: true });
  assert.equal(client.state.outbox[0].tries, 1);
});

test('without an answer it is failed, and goes out again with the next connection', () => {
  const log = new Log();
  const client = joined(log).posts('a', 'hi');
  refuse(client, 'a', { code: 'timeout', message: 'The server did not answer', retryable: true });
  assert.deepEqual(statuses(client), ['failed']);
  client.hears(log.welcome());
  assert.deepEqual(statuses(client), ['pending']);
  assert.equal(client.state.outbox[0].client_message_id, 'a');
});

test('after a day a restored message is failed with its text', () => {
  const entry = (client_message_id, at) => ({ room_id: ROOM, client_message_id, body: client_message_id, at, state: 'sending', tries: 0, retryAt: 0, error: null });
  const client = joined(new Log()).does({ type: 'send/restored', entries: [entry('new', NOW - 1_000), entry('old', NOW - OUTBOX_MAX_AGE_MS - 1)] });
  assert.deepEqual(client.state.outbox.map(({ body, state, error }) => [body, state, error?.code]), [['old', 'failed', 'expired'], ['new', 'pending', undefined]]);
  client.does({ type: 'send/restored', entries: [entry('new', NOW)] });
  assert.equal(client.state.outbox.length, 2);
});

test('a conflict shows the version of the server and keeps the text of the writer', () => {
  const log = new Log();
  const event = log.post(ANN, 'a', 'original');
  const client = joined(log).pages(log);
  const [message] = client.room.timeline.live.messages;
  client.does({ type: 'edit/opened', room_id: ROOM, message })
    .does({ type: 'change/queued', change: { kind: 'edit', key: 'k', room_id: ROOM, message_id: event.id, version: 1, body: 'mine', at: NOW } });
  assert.equal(client.state.edits[event.id], undefined);
  const current = { ...message, body: 'theirs', version: 4, edited_at: message.at };
  client.does({ type: 'change/refused', key: 'k', error: { code: 'version_conflict', version: 4 }, current });
  assert.deepEqual(client.bodies, ['theirs']);
  const { text, state, version } = client.state.edits[event.id];
  assert.deepEqual([text, state, version], ['mine', 'conflict', 4]);
});

test('unread counts others, not oneself, and follows the read mark and deletions', () => {
  const log = new Log();
  const client = joined(log, 1).pages(log);
  const first = log.post(BOB, '1', 'one');
  client.hears(first).hears(log.post(ANN, 'a', 'mine')).hears(log.post(BOB, '2', 'two')).hears(log.post(BOB, '3', 'three'));
  assert.equal(client.room.unread, 3);
  client.hears(log.remove(first.id));
  assert.equal(client.room.unread, 2);
  client.does({ type: 'read/moved', room_id: ROOM, read: 4 });
  assert.equal(client.room.unread, 1);
  client.does({ type: 'read/moved', room_id: ROOM, read: 2 });
  assert.equal(client.room.read, 4);
});

test('reading on another device clears the count here', () => {
  const log = new Log();
  const inbox = new Log(INBOX);
  inbox.events = [];
  const client = joined(log, 1);
  client.hears(log.post(BOB, '1', 'one'));
  assert.equal(client.room.unread, 1);
  client.hears(inbox.append('read.marked', { room_id: ROOM, read: log.head }));
  assert.equal(client.room.unread, 0);
});

test('typing ends with the message, by itself, and never comes late', () => {
  const log = new Log();
  const client = joined(log);
  const typing = (at_seq, on = true) => client.hears({ type: 'typing', room_id: ROOM, at_seq, data: { user: { id: 2, name: 'Bob' }, typing: on } });
  const who = () => Object.keys(client.room.typing);
  typing(1);
  assert.deepEqual(who(), ['2']);
  client.hears(log.post(BOB, '1', 'done'));
  assert.deepEqual(who(), []);
  typing(1);
  assert.deepEqual(who(), []);
  typing(2);
  client.does({ type: 'clock/ticked', now: NOW + 6_000 });
  assert.deepEqual(who(), []);
});

test('presence follows its signals', () => {
  const client = joined(new Log());
  const hears = (state) => client.hears({ type: 'presence', room_id: COMMONS, at_seq: 0, data: { users: [{ id: 2, state }] } });
  for (const one of ['online', 'away', 'signed_out', 'offline']) {
    hears(one);
    assert.equal(presenceOf(client.state, 2), one);
  }
  const entry = (room) => ({ room: { id: COMMONS, kind: 'commons', name: null, typing: [], ...room }, head: 0, recovery: 'complete', events: [] });
  client.does({ type: 'rooms/subscribed', entries: [entry({ online: [1, 2], away: [2], signed_out: [3] })] });
  assert.deepEqual([1, 2, 3, 4].map((id) => presenceOf(client.state, id)), ['online', 'away', 'signed_out', 'offline']);
});

test('who has a room open is folded from its snapshot and its signals', () => {
  const log = new Log();
  const client = joined(log);
  const hears = (data) => client.hears({ type: 'room.presence', room_id: ROOM, at_seq: 1, data });
  const entry = { room: { ...log.snapshot(), present: [{ id: 2, name: 'Bob' }], present_count: 1 }, head: log.head, recovery: 'complete', events: [] };
  client.does({ type: 'rooms/subscribed', entries: [entry] });
  hears({ joined: [{ id: 1, name: 'Ann' }, { id: 3, name: 'Bob' }], left: [], count: 3 });
  assert.deepEqual([client.room.present, client.room.presentCount], [{ 1: 'Ann', 2: 'Bob', 3: 'Bob' }, 3]);
  hears({ joined: [], left: [2], count: 2 });
  assert.deepEqual(client.room.present, { 1: 'Ann', 3: 'Bob' });
  hears({ count: 250 });
  hears({ count: 251 });
  assert.deepEqual([client.room.present, client.room.presentCount], [null, 251]);
  hears({ present: [{ id: 1, name: 'Ann' }], count: 1 });
  assert.deepEqual([client.room.present, client.room.presentCount], [{ 1: 'Ann' }, 1]);
  client.does({ type: 'connection/changed', connection: { state: 'waiting' } });
  assert.equal(client.room.presentCount, null, 'unknown without a connection');
});

test('rooms come and go with the events of the inbox and the commons', () => {
  const client = joined(new Log());
  const inbox = new Log(INBOX);
  const commons = new Log(COMMONS);
  inbox.events = [];
  commons.events = [];
  client.hears(inbox.append('membership.granted', { room: { id: 30, kind: 'direct', name: null, members: [ANN, BOB] } }));
  client.hears(commons.append('room.listed', { room: { id: 31, kind: 'open', name: 'Attic' } }));
  client.hears(commons.append('room.listed', { room: { id: 31, kind: 'open', name: 'Loft' } }));
  const { rooms, directs } = roomLists(client.state);
  assert.deepEqual(rooms.map(({ title }) => title), ['General', 'Loft']);
  assert.deepEqual(directs.map(({ title }) => title), ['Bob']);
  client.hears(inbox.append('membership.revoked', { room_id: 30 })).hears(commons.append('room.unlisted', { room_id: 31 }));
  assert.deepEqual(Object.keys(client.state.rooms).map(Number), [ROOM, INBOX, COMMONS]);
});

test('a gap in the commons reads the lists anew', () => {
  const log = new Log();
  const client = joined(log).does({ type: 'users/listed', users: [] });
  const entry = { room: { id: COMMONS, kind: 'commons', name: null, head: 9, read: 0, unread: 0, typing: [], online: [1] }, head: 9, recovery: 'gap', reason: 'window_exceeded', page: 'p' };
  client.does({ type: 'rooms/subscribed', entries: [entry] });
  assert.deepEqual([client.state.stale.rooms, client.state.stale.users], [true, true]);
  assert.equal(client.state.rooms[COMMONS].timeline.seq, 9);
});
