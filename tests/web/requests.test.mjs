// Action requests: shown once, answered once, and the answer brought to the server by whichever way is open.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Answerer, LADDER_MS } from '../../static/answerer.js';
import { faultOf, roll } from '../../static/store/requests.js';
import { createStore } from '../../static/store.js';
import { Refusal, Wire } from '../../static/wire.js';
import { ANN, Log, NOW } from './support.mjs';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: NOW }));
afterEach(() => mock.timers.reset());

const settle = async () => { for (let i = 0; i < 30; i++) await Promise.resolve(); };
const pass = async (ms) => {
  mock.timers.tick(ms);
  await settle();
};
const BUSY = { code: 'overloaded', message: 'full', retryable: true };

function desk() {
  const [sent, posted] = [[], []];
  const store = createStore();
  let answerer;
  const wire = new Wire({ send: (text) => sent.push({ at: Date.now() - NOW, ...JSON.parse(text) }) > 0, onFrame: (frame) => {
    store.dispatch({ type: 'frame', frame, now: Date.now() });
    if (frame.type === 'action.request') answerer.considers(frame.data.request_id);
  } });
  const line = { http: async () => ({ state: 'done' }) };
  answerer = new Answerer(store, wire, { post: async (path, body) => { posted.push({ at: Date.now() - NOW, path, body }); return line.http(); } });
  wire.receive(JSON.stringify(new Log().welcome(ANN)));
  const asks = (data = {}) => wire.receive(JSON.stringify({ type: 'action.request', data: {
    request_id: 'r1', kind: 'dice.roll', arguments: { count: 2, sides: 6 }, room_id: 12, from: { id: 7, name: 'Helper', role: 'assistant' },
    deadline: new Date(NOW + 30_000).toISOString(), ...data } }));
  const reply = async (frame, how) => {
    wire.receive(JSON.stringify({ request_id: frame.request_id, ...how }));
    await settle();
  };
  const shown = () => store.state.requests.map(({ state, answer }) => [state, answer?.status ?? null]);
  return { store, wire, sent, posted, line, answerer, asks, reply, shown };
}

test('dice are answered over the socket, once, and the card says so', async () => {
  const { sent, posted, answerer, asks, reply, shown } = desk();
  asks();
  assert.deepEqual(shown(), [['open', null]]);
  answerer.answer('r1', 'done', { rolls: [3, 4] });
  assert.deepEqual(sent[0].data, { request_id: 'r1', status: 'done', result: { rolls: [3, 4] } });
  assert.deepEqual([sent[0].type, shown()], ['action.result', [['sending', 'done']]]);
  // Pressed again meanwhile: the dice have fallen.
  answerer.answer('r1', 'done', { rolls: [6, 6] });
  await reply(sent[0], { type: 'reply', data: { state: 'done' } });
  assert.deepEqual([sent.length, posted.length, shown()], [1, 0, [['done', 'done']]]);
});

// Proves CORR-05.
test('a result that isn’t taken is sent again after 100, 200 and 400 ms, the last time over HTTP, always the same', async () => {
  const { sent, posted, answerer, asks, reply, shown } = desk();
  asks();
  answerer.answer('r1', 'done', { rolls: [1, 2] });
  for (const [at, delay] of LADDER_MS.entries()) {
    await reply(sent[at], { type: 'error', error: BUSY });
    await pass(delay - 1);
    assert.equal(sent.length + posted.length, at + 1);
    await pass(1);
  }
  assert.deepEqual(sent.map(({ at }) => at), [0, 100, 300]);
  assert.deepEqual(posted.map(({ at, path }) => [at, path]), [[700, '/actions/r1/result']]);
  assert.equal(new Set([...sent.map(({ data }) => data), ...posted.map(({ body }) => body)].map((one) => JSON.stringify(one))).size, 1);
  assert.deepEqual(shown(), [['done', 'done']]);
});

test('a server that says when to come back isn’t asked before', async () => {
  const { sent, answerer, asks, reply } = desk();
  asks();
  answerer.answer('r1', 'done', { rolls: [1, 2] });
  await reply(sent[0], { type: 'error', error: { ...BUSY, retry_after_ms: 1_500 } });
  await pass(1_499);
  assert.equal(sent.length, 1);
  await pass(1);
  assert.deepEqual(sent.map(({ at }) => at), [0, 1_500]);
});

test('after the last try it is over, and said', async () => {
  const { store, line, answerer, asks, wire, shown } = desk();
  asks();
  store.dispatch({ type: 'connection/changed', connection: { state: 'waiting' } });
  wire.lost();
  line.http = async () => { throw new Refusal({ code: 'disconnected', message: 'The server cannot be reached.', retryable: true }); };
  answerer.answer('r1', 'done', { rolls: [1, 2] });
  for (let i = 0; i < 4; i++) await pass(400);
  assert.deepEqual(shown(), [['failed', 'done']]);
  assert.match(store.state.requests[0].trouble, /cannot be reached/);
});

// Proves CORR-08.
test('with the socket down the result goes over HTTP', async () => {
  const { store, sent, posted, answerer, asks, wire, shown } = desk();
  asks();
  store.dispatch({ type: 'connection/changed', connection: { state: 'waiting' } });
  wire.lost();
  answerer.answer('r1', 'done', { rolls: [5, 5] });
  await settle();
  assert.deepEqual([sent.length, posted.length], [0, 1]);
  assert.deepEqual(posted[0].body, { request_id: 'r1', status: 'done', result: { rolls: [5, 5] } });
  assert.deepEqual(shown(), [['done', 'done']]);
});

test('a socket that dies with the result under way is no loss', async () => {
  const { store, sent, posted, answerer, asks, wire, shown } = desk();
  asks();
  answerer.answer('r1', 'done', { rolls: [5, 5] });
  store.dispatch({ type: 'connection/changed', connection: { state: 'waiting' } });
  wire.lost();
  await settle();
  await pass(LADDER_MS[0]);
  assert.deepEqual([sent.length, posted.length, shown()], [1, 1, [['done', 'done']]]);
});

test('offered again it is on the page once, and answered with the same answer', async () => {
  const { sent, answerer, asks, reply, store } = desk();
  asks();
  asks();
  assert.equal(store.state.requests.length, 1);
  answerer.answer('r1', 'done', { rolls: [2, 2] });
  await reply(sent[0], { type: 'reply', data: { state: 'done' } });
  asks();
  assert.deepEqual(sent[1].data, sent[0].data);
  await reply(sent[1], { type: 'reply', data: { state: 'done', duplicate: true } });
  assert.deepEqual([store.state.requests.length, store.state.requests[0].state], [1, 'done']);
});

test('what ended without us goes away, and what we answered isn’t touched by it', async () => {
  const { sent, answerer, asks, reply, shown, wire } = desk();
  const ended = (request_id, state) => wire.receive(JSON.stringify({ type: 'action.ended', data: { request_id, state } }));
  for (const request_id of ['r1', 'r2', 'r3']) asks({ request_id });
  answerer.answer('r2', 'done', { rolls: [1, 2] });
  ended('r1', 'expired');
  ended('r2', 'expired');
  ended('r3', 'done');
  ended('r4', 'expired');
  assert.deepEqual(shown(), [['expired', null], ['sending', 'done'], ['done', null]]);
  await reply(sent[0], { type: 'reply', data: { state: 'done' } });
  ended('r2', 'expired');
  assert.deepEqual(shown()[1], ['done', 'done']);
});

test('what can’t be done here is answered as failed, at once', async () => {
  const { sent, asks, reply, shown } = desk();
  asks({ kind: 'door.open' });
  assert.deepEqual(sent[0].data, { request_id: 'r1', status: 'failed', result: { error: 'not_supported' } });
  await reply(sent[0], { type: 'reply', data: { state: 'failed' } });
  assert.deepEqual(shown(), [['failed', 'failed']]);
  for (const [kind, given] of [['dice.roll', { count: 0, sides: 6 }], ['dice.roll', { count: 2, sides: 1 }], ['dice.roll', { count: 1e9, sides: 6 }], ['dice.roll', { count: '2' }],
    ['choose', { question: 'Which?' }], ['choose', { question: 'Which?', options: [] }], ['choose', { question: 'Which?', options: [1] }], ['choose', null]]) {
    assert.equal(faultOf({ kind, arguments: given }), 'invalid_arguments', JSON.stringify(given));
  }
  assert.equal(faultOf({ kind: 'choose', arguments: { question: 'Which?', options: ['a', 'b'] } }), null);
  assert.equal(faultOf({ kind: 'dice.roll', arguments: {} }), null);
});

test('too late is too late: by the clock, and by the server', async () => {
  const { store, sent, answerer, asks, reply, shown } = desk();
  asks();
  asks({ request_id: 'r2' });
  answerer.answer('r2', 'done', { rolls: [1] });
  await reply(sent[0], { type: 'error', error: { code: 'expired', message: 'too late', retryable: false } });
  store.dispatch({ type: 'clock/ticked', now: NOW + 32_000 });
  assert.deepEqual(shown(), [['expired', null], ['expired', 'done']]);
});

test('every side falls, none beyond the die, and none more often than another', () => {
  const counts = Array(6).fill(0);
  for (const one of roll({ count: 6_000, sides: 6 })) counts[one - 1] += 1;
  assert.equal(counts.reduce((all, one) => all + one, 0), 6_000);
  for (const count of counts) assert.ok(count > 800 && count < 1_200, counts.join(' '));
  // What would favour the low numbers is thrown again.
  const values = [4_294_967_295, 7];
  assert.deepEqual(roll({ count: 1, sides: 6 }, (array) => { array[0] = values.shift(); return array; }), [2]);
});
