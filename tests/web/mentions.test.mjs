// Completion of names behind an `@`, and which messages ask an assistant.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressable, asksAssistant, completed, mentionAt, mentions, suggestions } from '../../static/mentions.js';

const HELPER = { id: 7, name: 'Helper', role: 'assistant' };
const LONG = { id: 8, name: 'The Great Helper', role: 'assistant' };
const ROBOT = { id: 6, name: 'Robot', role: 'bot' };
const people = [{ id: 1, name: 'Ann', role: 'admin' }, { id: 2, name: 'Herbert', role: 'member' }, ROBOT, HELPER, LONG];
const names = (query, users = people) => suggestions(users, query).map(({ name }) => name);

test('a mention begins at an @ that no word runs into and goes to the caret', () => {
  assert.deepEqual(mentionAt('Hi @He', 6), { start: 3, query: 'He' });
  assert.deepEqual(mentionAt('@', 1), { start: 0, query: '' });
  assert.deepEqual(mentionAt('@The Gr', 7), { start: 0, query: 'The Gr' });
  assert.deepEqual(mentionAt('(@Hé and', 4), { start: 1, query: 'Hé' });
  for (const [text, caret] of [['ann@example', 11], ['@ home', 6], ['@He\nlp', 6], ['no', 2], ['@He', 0], [`@${'x'.repeat(80)}`, 81]]) assert.equal(mentionAt(text, caret), null, text);
});

test('assistants come first, then bots, then people, by how the name begins', () => {
  assert.deepEqual(names('he'), ['Helper', 'The Great Helper', 'Herbert']);
  assert.deepEqual(names('the gr'), ['The Great Helper']);
  assert.deepEqual(names('').slice(0, 3), ['Helper', 'The Great Helper', 'Robot']);
  assert.deepEqual(names('zz'), []);
  assert.equal(names('p', Array.from({ length: 30 }, (_, id) => ({ id, name: `P${id}`, role: 'member' }))).length, 8);
});

test('a name that is written out needs no list, unless others fit too', () => {
  assert.deepEqual(names('robot'), []);
  assert.deepEqual(names('Helper'), ['Helper', 'The Great Helper']);
  assert.deepEqual(names('Helper what'), []);
});

test('the name takes the place of what was typed, and the text behind it stays', () => {
  assert.deepEqual(completed('Hi @he', 6, 3, 'Helper'), { text: 'Hi @Helper ', caret: 11 });
  assert.deepEqual(completed('Hi @he, you', 6, 3, 'Helper'), { text: 'Hi @Helper , you', caret: 11 });
  assert.deepEqual(completed('@he you', 3, 0, 'Helper'), { text: '@Helper you', caret: 8 });
});

test('in a closed room its members can be addressed, in an open one everybody, never oneself', () => {
  const state = { me: { id: 1 }, users: Object.fromEntries(people.map((user) => [user.id, user])) };
  assert.deepEqual(addressable(state, { kind: 'closed', members: [{ id: 1 }, { id: 7 }] }).map(({ id }) => id), [7]);
  assert.deepEqual(addressable(state, { kind: 'open', members: [{ id: 7 }] }).map(({ id }) => id), [2, 6, 7, 8]);
});

test('a mention stands alone, in any case', () => {
  for (const text of ['@Helper', 'hi @HELPER!', '(@helper)', '@Helper’s']) assert.ok(mentions(text, 'Helper'), text);
  for (const text of ['Helper', 'a@Helper', '@Helpers', '@Helper_2', '@ Helper']) assert.ok(!mentions(text, 'Helper'), text);
});

test('an assistant is asked by its name, or by any message where one talks with it', () => {
  const state = { me: { id: 1 }, users: { 7: HELPER, 6: ROBOT }, rooms: { 1: { kind: 'open' }, 2: { kind: 'direct', members: [{ id: 1, role: 'admin' }, HELPER] } } };
  assert.deepEqual([[1, 'hi @helper'], [1, 'hi @robot'], [1, 'hi'], [2, 'hi']].map(([room, text]) => asksAssistant(state, room, text)), [true, false, false, true]);
});
