// The outbox at work: the real sender, changer, wire and state; only the transport and the clock are the test's.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Changer } from '../../static/changer.js';
import { Sender } from '../../static/sender.js';
import { rowsOf } from '../../static/store/select.js';
import { createStore } from '../../static/store.js';
import { ACK_TIMEOUT_MS, Wire } from '../../static/wire.js';
import { ANN, Log, NOW, ROOM } from './support.mjs';

const OTHER = 13;

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: NOW }));
afterEach(() => mock.timers.reset());

/** Promises settle in between, as they would between two frames. */
const settle = async () => { for (let i = 0; i < 20; i++) await Promise.resolve(); };

async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

function desk() {
  const sent = [];
  const store = createStore();
  const wire = new Wire({ send: (text) => sent.push(JSON.parse(text)) > 0, onFrame: (frame) => store.dispatch({ type: 'frame', frame, now: Date.now() }) });
  const [sender, changer] = [new Sender(store, wire), new Changer(store, wire)];
  const log = new Log();
  const welcome = log.welcome(ANN);
  welcome.data.rooms.push({ room_id: OTHER, kind: 'open', name: 'Other', head: 1, read: 0, unread: 0 });
  wire.receive(JSON.stringify(welcome));
  const answer = async (frame, how) => {
    wire.receive(JSON.stringify({ request_id: frame.request_id, ...how }));
    await settle();
  };
  const refuse = (frame, error) => answer(frame, { type: 'error', error: { message: 'no', retryable: true, ...error } });
  const ack = (frame, data) => answer(frame, { type: 'reply', data: { id: 5, seq: 2, at: new Date(NOW).toISOString(), ...data } });
  return { store, wire, sender, changer, sent, refuse, ack, log };
}

const bodies = (sent) => sent.map(({ data }) => data.body);

test('told to slow down, no room sends before its time, and then each message goes out once', async () => {
  const { store, sender, sent, refuse, ack } = desk();
  sender.post(ROOM, 'one');
  await refuse(sent[0], { code: 'rate_limited', retry_after_ms: 3_000 });
  sender.post(OTHER, 'two');
  assert.deepEqual(bodies(sent), ['one']);
  const [row] = rowsOf(store.state, ROOM).filter(({ kind }) => kind === 'message');
  assert.deepEqual([row.status, row.entry.waits], ['pending', 'rate_limited']);
  await pass(2_900);
  assert.deepEqual(bodies(sent), ['one']);
  await pass(700);
  assert.deepEqual(bodies(sent), ['one', 'one', 'two']);
  assert.equal(sent[0].data.client_message_id, sent[1].data.client_message_id);
  for (const frame of sent.slice(1)) await ack(frame);
  assert.deepEqual(store.state.outbox, []);
});

test('however often it is told so', async () => {
  const { store, sender, sent, refuse, ack } = desk();
  sender.post(ROOM, 'patient');
  for (let i = 0; i < 20; i++) {
    await refuse(sent.at(-1), { code: 'read_only', retry_after_ms: 1_000 });
    assert.equal(store.state.outbox[0].state, 'pending');
    await pass(1_600);
  }
  assert.equal(sent.length, 21);
  await ack(sent.at(-1));
  assert.deepEqual(store.state.outbox, []);
});

test('a message said too often goes back to its writer with a sensible word', async () => {
  const { store, sender, sent, refuse } = desk();
  sender.post(ROOM, 'again');
  await refuse(sent[0], { code: 'duplicate_message', retryable: false });
  assert.deepEqual(store.state.outbox, []);
  assert.equal(store.state.drafts[ROOM].text, 'again');
  assert.match(store.state.drafts[ROOM].reason, /several times/);
});

test('without an answer it has failed after ten seconds, and an answer that comes later still counts', async () => {
  const { store, wire, sender, sent } = desk();
  wire.onLate = ({ data }, reply) => sender.acked(data, reply);
  sender.post(ROOM, 'hello?');
  await pass(ACK_TIMEOUT_MS - 1);
  assert.equal(store.state.outbox[0].state, 'sending');
  await pass(1);
  assert.deepEqual([store.state.outbox[0].state, store.state.outbox[0].error.code], ['failed', 'timeout']);
  wire.receive(JSON.stringify({ type: 'reply', request_id: sent[0].request_id, data: { id: 5, seq: 2, at: 'x' } }));
  assert.deepEqual(store.state.outbox, []);
});

test('changes go one after another, and an edit that waits for its turn says so', async () => {
  const { store, changer, sent, refuse, ack } = desk();
  changer.edit(ROOM, 7, 1, 'first');
  changer.remove(ROOM, 8);
  assert.deepEqual(sent.map(({ type }) => type), ['message.edit']);
  await refuse(sent[0], { code: 'rate_limited', retry_after_ms: 2_000 });
  assert.equal(store.state.changes[0].waits, 'rate_limited');
  await pass(1_900);
  assert.equal(sent.length, 1);
  await pass(700);
  await ack(sent[1], { version: 2 });
  await ack(sent[2], { version: 2 });
  assert.deepEqual(sent.slice(1).map(({ type }) => type).sort(), ['message.delete', 'message.edit']);
  assert.deepEqual(sent[0].data, sent.slice(1).find(({ type }) => type === 'message.edit').data, 'word for word');
  assert.deepEqual(store.state.changes, []);
});
