// The form of an assistant: dollars and micro-dollars, only what was changed, and a key that is never shown.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asCount, asDollars, asMicros, fieldsOf, wishOf } from '../../static/store/engines.js';

const FORM = { name: ' Helper ', model: 'tiny', base_url: 'http://localhost:1/v1', api_key: '', instructions: '', context_tokens: '', output_tokens: '', prompt_price: '0', completion_price: '0', temperature: '' };

test('dollars become micro-dollars without losing any', () => {
  for (const [text, micros] of [['0', 0], ['1', 1_000_000], ['0.15', 150_000], ['2.5', 2_500_000], ['0.000001', 1], ['1.1', 1_100_000]]) {
    assert.equal(asMicros(text), micros);
    assert.equal(asMicros(asDollars(micros)), micros);
  }
  assert.deepEqual([asMicros(''), asCount(' '), asDollars(null), asCount('12')], [null, null, '', 12]);
});

test('a new assistant is what was filled in, and else as usual', () => {
  assert.deepEqual(wishOf(FORM, null), { name: 'Helper', model: 'tiny', base_url: 'http://localhost:1/v1', prompt_price: 0, completion_price: 0 });
  const full = wishOf({ ...FORM, api_key: 'secret', temperature: '0.7', tools: ['dice.roll'], summarises: 'on', context_tokens: '4096', prompt_price: '0.15' }, null);
  assert.deepEqual([full.api_key, full.temperature, full.tools, full.summarises, full.context_tokens, full.prompt_price], ['secret', 0.7, ['dice.roll'], true, 4_096, 150_000]);
});

test('of one that is there only what differs is sent, and its key stays unless it is said', () => {
  const known = { id: 7, name: 'Helper', model: 'tiny', base_url: 'http://localhost:1/v1', has_key: true, instructions: 'Be kind.', context_tokens: 4_096, output_tokens: 512,
    prompt_price: 150_000, completion_price: 0, temperature: 0.7, tools: ['dice.roll', 'choose'], summarises: true };
  const { tools, summarises, ...fields } = fieldsOf(known);
  const same = { ...fields, api_key: '', tools: ['choose', 'dice.roll'], summarises: 'on' };
  assert.deepEqual(wishOf(same, known), {});
  assert.deepEqual(wishOf({ ...same, temperature: '', tools: [], summarises: undefined }, known), { temperature: null, tools: [], summarises: false });
  assert.deepEqual(wishOf({ ...same, api_key: 'new' }, known), { api_key: 'new' });
  assert.deepEqual(wishOf({ ...same, api_key: '', forget_key: 'on' }, known), { api_key: null });
  assert.equal(JSON.stringify(fieldsOf(known)).includes('key'), false);
});
