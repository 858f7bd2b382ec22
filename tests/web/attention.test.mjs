// When a page counts as looked at, with a hand-wound clock.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Attention, IDLE_MS, SETTLE_MS } from '../../static/attention.js';

class Clock {
  now = 0;
  #timers = new Map();
  #next = 1;

  setTimeout(call, delay) {
    this.#timers.set(this.#next, { at: this.now + delay, call });
    return this.#next++;
  }

  clearTimeout(id) {
    this.#timers.delete(id);
  }

  get waiting() {
    return this.#timers.size;
  }

  pass(ms) {
    const end = this.now + ms;
    for (;;) {
      const [id, due] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (!due || due.at > end) break;
      this.now = due.at;
      this.#timers.delete(id);
      due.call();
    }
    this.now = end;
  }
}

function page() {
  const clock = new Clock();
  const target = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const told = [];
  const attention = new Attention((type, { state }) => { told.push(state); return type === 'presence.set'; }, { target, page: document, now: () => clock.now, timers: clock });
  const shows = (state) => {
    document.visibilityState = state;
    document.dispatchEvent(new Event('visibilitychange'));
  };
  return { attention, clock, told, shows, does: (sign) => target.dispatchEvent(new Event(sign)) };
}

test('a hidden page is away, one that is only passed over is not', () => {
  const { clock, told, shows } = page();
  shows('hidden');
  shows('visible');
  clock.pass(SETTLE_MS);
  assert.deepEqual(told, []);
  shows('hidden');
  clock.pass(SETTLE_MS - 1);
  assert.deepEqual(told, []);
  clock.pass(1);
  assert.deepEqual(told, ['away']);
  shows('visible');
  clock.pass(SETTLE_MS);
  assert.deepEqual(told, ['away', 'active']);
});

test('five minutes without a sign of life are away, the next one is not', () => {
  const { clock, told, does } = page();
  clock.pass(IDLE_MS - 10);
  does('keydown');
  clock.pass(IDLE_MS - 1);
  assert.deepEqual(told, []);
  clock.pass(1);
  assert.deepEqual(told, ['away']);
  for (let n = 0; n < 20; n += 1) does('pointermove');
  clock.pass(SETTLE_MS);
  assert.deepEqual(told, ['away', 'active']);
});

test('a new socket is told when it begins away, and an end leaves nothing behind', () => {
  const { attention, clock, told, shows, does } = page();
  attention.connected();
  assert.deepEqual(told, []);
  shows('hidden');
  clock.pass(SETTLE_MS);
  attention.connected();
  assert.deepEqual(told, ['away', 'away']);
  attention.stop();
  does('keydown');
  shows('visible');
  assert.equal(clock.waiting, 0);
});
