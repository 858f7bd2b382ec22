// The audit trail in words, and its filters.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { actionNames, AUDITED, auditQuery, sentenceOf } from '../../static/store/audit.js';

const names = { user: (id) => ({ 1: 'Ann', 2: 'Bob', 40: 'Night watch' })[id], room: (id) => ({ 3: 'Lobby' })[id] };
const ANN = { id: 1, name: 'Ann', role: 'admin' };

const told = (action, { actor = ANN, via = 'session', target = null, room_id = null, detail = {} } = {}) =>
  sentenceOf({ id: 1, action, actor, via, target, room_id, detail }, names);

test('entries read as sentences', () => {
  const user = (id) => ({ kind: 'user', id });
  const sentences = [
    ['session.begun', { target: { kind: 'session', id: 9 }, detail: { begun_by: 'transfer' } }, 'Ann signed in by a link from another device'],
    ['session.refused', { actor: null, target: user(2), detail: { reason: 'wrong_password' } }, 'Somebody failed to sign in as Bob with a wrong password'],
    ['session.refused', { actor: null }, 'Somebody failed to sign in'],
    ['transfer.refused', { actor: null, target: { kind: 'transfer', id: 4 }, detail: { reason: 'used', for: '2' } }, 'Somebody tried a link for Bob that was used before'],
    ['transfer.refused', { actor: null, detail: { reason: 'over' } }, 'Somebody tried a link that was over'],
    ['session.ended', { target: { kind: 'session', id: 9 } }, 'Ann signed out session 9'],
    ['session.ended', { target: { kind: 'session', id: 9 }, detail: { by: 'password' } }, 'Ann signed out session 9 with the new password'],
    ['password.changed', { target: user(1) }, 'Ann changed their password'],
    ['password.changed', { actor: null, via: 'operator', target: user(1), detail: { by: 'operator' } }, 'The operator changed the password of Ann'],
    ['bot.acted', { actor: { id: 40, name: 'x', role: 'bot' }, target: { kind: 'message', id: 22 }, room_id: 3, detail: { command: 'message.post' } }, 'Night watch posted message 22 in Lobby'],
    ['bot.acted', { actor: { id: 40, name: 'x', role: 'bot' }, target: user(40), room_id: 3, detail: { command: 'member.remove' } }, 'Night watch left Lobby'],
    ['room.deleted', { target: { kind: 'room', id: 8 }, detail: { name: 'Attic' } }, 'Ann deleted the room “Attic”'],
    ['transfer.created', { target: { kind: 'transfer', id: 4 }, detail: { kind: 'recovery', for: '2' } }, 'Ann made a link that lets Bob back in'],
    ['user.role_changed', { target: user(2), detail: { from: 'member', to: 'admin' } }, 'Ann changed the role of Bob from member to admin'],
    ['user.banned', { target: user(2), detail: { reason: 'spam' } }, 'Ann banned Bob: spam'],
    ['user.banned', { target: user(77) }, 'Ann banned user 77'],
    ['bot_key.revoked', { target: { kind: 'bot_key', id: 6 } }, 'Ann revoked bot key 6'],
    ['bot_key.created', { target: { kind: 'bot_key', id: 6 }, detail: { bot: '40' } }, 'Ann made bot key 6 for Night watch'],
    ['bot_key.revoked', { target: { kind: 'bot_key', id: 6 }, detail: { bot: '40', ends_at: '2026-01-01T00:00:00.000Z' } }, 'Ann set an end to bot key 6 of Night watch'],
    ['message.deleted', { target: { kind: 'message', id: 22 }, room_id: 3, detail: { author: '2' } }, 'Ann deleted message 22 of Bob in Lobby'],
    ['member.removed', { target: user(2), room_id: 8 }, 'Ann removed Bob from room 8'],
    ['room.renamed', { target: { kind: 'room', id: 3 }, detail: { from: 'Hall', to: 'Lobby' } }, 'Ann renamed the room “Hall” to “Lobby”'],
    ['something.new', { target: { kind: 'thing', id: 5 } }, 'Ann (something.new) thing 5'],
  ];
  for (const [action, entry, sentence] of sentences) assert.equal(told(action, entry), sentence);
});

test('every action that the server has is known here, and no other', () => {
  const list = /\nactions! \{([^]*?)\n\}/.exec(readFileSync(new URL('../../src/domain/audit.rs', import.meta.url), 'utf8'))[1];
  const actions = [...list.matchAll(/=> "([a-z_.]+)"/g)].map(([, name]) => name);
  assert.ok(actions.length > 20);
  assert.deepEqual(actionNames.map(([code]) => code).sort(), actions.sort());
});

test('every kind that the server filters by is known here, and no other', () => {
  const list = /KINDS: \[&'static str; \d+\] =\s+\[([^]*?)\]/.exec(readFileSync(new URL('../../src/domain/audit.rs', import.meta.url), 'utf8'))[1];
  assert.deepEqual([...AUDITED].sort(), [...list.matchAll(/"([a-z_]+)"/g)].map(([, kind]) => kind).sort());
});

test('every action has a sentence, whatever its entry lacks', () => {
  for (const [action, name] of actionNames) {
    for (const entry of [{}, { actor: null, detail: null }, { target: { kind: 'account', id: null } }]) {
      const sentence = told(action, entry);
      assert.doesNotMatch(sentence, /undefined|null|\s\s|\($/, `${action}: ${sentence}`);
    }
    assert.match(name, /^[A-Z]/);
  }
});

test('the name of somebody is the one they have now', () => {
  assert.equal(told('audit.exported', { actor: { id: 2, name: 'Robert', role: 'member' } }), 'Bob exported this trail');
  assert.equal(told('audit.exported', { actor: { id: 99, name: 'Zoe', role: 'member' } }), 'Zoe exported this trail');
});

test('filters that are empty filter nothing, and times go out in UTC', () => {
  assert.equal(auditQuery({ actor: '', action: '', target: ' ', since: '', until: '' }).toString(), '');
  assert.equal(auditQuery({}).toString(), '');
  const query = auditQuery({ actor: '2', action: 'user.banned', target: ' user:7 ', since: '2026-01-01T10:00', until: 'nonsense' });
  assert.deepEqual(Object.fromEntries(query), { actor: '2', action: 'user.banned', target: 'user:7', since: new Date('2026-01-01T10:00').toISOString() });
});
