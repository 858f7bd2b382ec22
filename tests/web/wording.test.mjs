// What refusals say, as sentences of the page.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aboutField, sentence } from '../../static/wording.js';
import { refusalText } from '../../static/view/text.js';
import { Refusal } from '../../static/wire.js';

test('a text of the server is a sentence, and a sentence stays as it is', () => {
  assert.equal(sentence('the first run is over'), 'The first run is over.');
  for (const text of ['', 'There is no such room.', 'Sign out?', 'Making a link…']) assert.equal(sentence(text), text);
  assert.equal(new Refusal({ code: 'last_admin', message: 'nobody would be admin' }).message, 'Nobody would be admin.');
  assert.equal(new Refusal({ code: 'internal' }).message, 'internal', 'a code is none');
});

test('whoever has to wait is told how long', () => {
  const limited = (retry_after_ms) => refusalText(new Refusal({ code: 'rate_limited', message: 'too many failed attempts', retryable: true, retry_after_ms }));
  assert.equal(limited(59_001), 'Too many failed attempts. Try again in 1 min.');
  assert.equal(limited(200), 'Too many failed attempts.');
  assert.equal(limited(undefined), 'Too many failed attempts.');
  assert.equal(refusalText(new Refusal({ code: 'overloaded', message: 'busy', retry_after_ms: 5_000 })), 'Busy.');
});

test('a field is called what the page calls it', () => {
  assert.equal(aboutField('Name is blank.', 'name', 'Nickname'), 'Nickname is blank.');
  assert.equal(aboutField('new_password is shorter than 8 characters', 'new_password', 'New password'), 'New password is shorter than 8 characters.');
  assert.equal(aboutField('This is before “From”.', 'until', 'Until'), 'This is before “From”.');
  assert.equal(aboutField('Please fill out this field.', 'name', undefined), 'Please fill out this field.');
  assert.equal(aboutField('Names are too long', 'name', 'Nickname'), 'Names are too long.');
});
