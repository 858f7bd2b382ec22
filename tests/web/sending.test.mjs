// What becomes of a post that could not be sent.

import assert from 'node:assert/strict';
import test from 'node:test';

import { onRefused } from '../../static/store/sending.js';

test('a post refused for want of a connection waits for the next one and is not tried at once', () => {
  const state = { outbox: [{ client_message_id: 'a', room_id: 1, body: 'hi', state: 'sending', tries: 0 }], drafts: {} };
  const next = onRefused(state, { client_message_id: 'a', error: { code: 'disconnected' } });
  assert.equal(next, state, 'nothing changes, so nothing is set off');
});
