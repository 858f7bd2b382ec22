// Frames, close codes and typing with a hand-wound clock.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePolicy, fullJitter } from '../../static/socket.js';
import { Typing } from '../../static/typing.js';
import { ACK_TIMEOUT_MS, Wire } from '../../static/wire.js';

class Clock {
  now = 0;
  #timers = new Map();
  #next = 1;

  setTimeout = (run, delay) => {
    this.#timers.set(this.#next, { run, at: this.now + delay });
    return this.#next++;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  advance(ms) {
    this.now += ms;
    for (const [id, { run, at }] of [...this.#timers]) {
      if (at > this.now) continue;
      this.#timers.delete(id);
      run();
    }
  }
}

function wired({ open = true } = {}) {
  const clock = new Clock();
  const sent = [];
  const frames = [];
  const late = [];
  const wire = new Wire({
    send: (text) => open && sent.push(JSON.parse(text)) > 0,
    onFrame: (frame) => frames.push(frame),
    onLate: (request, reply) => late.push([request.type, reply]),
    timers: clock,
  });
  return { wire, clock, sent, frames, late, hears: (frame) => wire.receive(JSON.stringify(frame)) };
}

test('a reply goes to the request that asked, whatever the order', async () => {
  const { wire, sent, hears } = wired();
  const [first, second] = [wire.request('message.post', { body: 'a' }), wire.request('message.post', { body: 'b' })];
  hears({ type: 'reply', request_id: sent[1].request_id, data: 2 });
  hears({ type: 'reply', request_id: sent[0].request_id, data: 1 });
  assert.deepEqual(await Promise.all([first, second]), [1, 2]);
  assert.equal(wire.outstanding, 0);
});

test('an error frame rejects with everything it says', async () => {
  const { wire, sent, hears } = wired();
  const request = wire.request('message.post', {});
  hears({ type: 'error', request_id: sent[0].request_id, error: { code: 'rate_limited', message: 'slow down', retryable: true, retry_after_ms: 800 }, trace_id: 't' });
  await assert.rejects(request, { code: 'rate_limited', message: 'Slow down.', retryable: true, retry_after_ms: 800, trace_id: 't' });
});

test('without an answer a request times out, and a late answer is not lost', async () => {
  const { wire, clock, sent, late, hears } = wired();
  const request = wire.request('message.post', { body: 'a' });
  clock.advance(ACK_TIMEOUT_MS);
  await assert.rejects(request, { code: 'timeout' });
  hears({ type: 'reply', request_id: sent[0].request_id, data: { id: 7 } });
  hears({ type: 'reply', request_id: sent[0].request_id, data: { id: 7 } });
  assert.deepEqual(late, [['message.post', { id: 7 }]]);
});

test('a lost transport leaves no request waiting', async () => {
  const { wire } = wired();
  const request = wire.request('read.mark', {});
  wire.lost();
  await assert.rejects(request, { code: 'disconnected' });
  assert.equal(wire.outstanding, 0);
});

test('without a transport a request is refused at once', async () => {
  await assert.rejects(wired({ open: false }).wire.request('message.post', {}), { code: 'disconnected' });
});

test('a ping is answered, and only events and signals are handed on', () => {
  const { sent, frames, hears } = wired();
  hears({ type: 'ping' });
  hears({ type: 'pong' });
  hears({ type: 'reply', request_id: 'unknown', data: {} });
  hears({ type: 'typing', room_id: 1 });
  assert.deepEqual(sent, [{ type: 'pong' }]);
  assert.deepEqual(frames.map(({ type }) => type), ['typing']);
});

test('close codes below 4500 come back and those above stay away', () => {
  for (const code of [1000, 1001, 1006, 1009, 1011, 4000, 4001, 4002, 4003, 4499]) assert.equal(closePolicy(code).stay, false, code);
  for (const code of [4500, 4501, 4502, 4503, 4504, 4505, 4999]) assert.equal(closePolicy(code).stay, true, code);
  assert.equal(closePolicy(1012, 'restart;delay_ms=740').delayMs, 740);
  assert.equal(closePolicy(1012, 'restart').delayMs, null);
});

test('jitter is full and bounded', () => {
  assert.equal(fullJitter(3, () => 0), 0);
  assert.equal(fullJitter(3, () => 0.5), 2_000);
  assert.ok(fullJitter(40, () => 0.999) < 30_000);
});

function typist() {
  const clock = new Clock();
  const told = [];
  const typing = new Typing((type) => told.push(type), { now: () => clock.now, timers: clock });
  return { typing, clock, told };
}

test('typing starts at once, renews after 3 s and stops after 5 s of idleness', () => {
  const { typing, clock, told } = typist();
  typing.input(1, 'h');
  for (let i = 0; i < 6; i++) {
    clock.advance(500);
    typing.input(1, 'hi');
  }
  assert.deepEqual(told, ['typing.start', 'typing.start']);
  clock.advance(5_000);
  assert.deepEqual(told.slice(2), ['typing.stop']);
});

test('emptiness stops typing, and a sent message needs no stop', () => {
  const { typing, clock, told } = typist();
  typing.input(1, 'h');
  typing.input(1, '');
  clock.advance(2_000);
  typing.input(1, 'x');
  typing.sent();
  typing.stop();
  assert.deepEqual(told, ['typing.start', 'typing.stop', 'typing.start']);
});

test('who types on right after a message is told of once the room takes it', () => {
  const { typing, clock, told } = typist();
  typing.input(1, 'h');
  typing.sent();
  clock.advance(300);
  typing.input(1, 'x');
  typing.input(1, 'xy');
  assert.deepEqual(told, ['typing.start']);
  clock.advance(900);
  assert.deepEqual(told, ['typing.start', 'typing.start']);
  typing.input(2, 'z');
  assert.deepEqual(told.slice(2), ['typing.stop', 'typing.start']);
});

test('a start that waits is dropped with its message', () => {
  const { typing, clock, told } = typist();
  typing.input(1, 'h');
  typing.sent();
  clock.advance(300);
  typing.input(1, 'x');
  typing.sent();
  clock.advance(10_000);
  assert.deepEqual(told, ['typing.start']);
});
