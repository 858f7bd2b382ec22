// What may be spent on answers and what was: tokens and money, by person, room, assistant and model.

import { api } from '../api.js';
import { asCount, asDollars, asMicros } from '../store/engines.js';
import { nameOf, people, roomLists } from '../store/select.js';
import { dollars } from './answer.js';
import { h, replace, setText } from './dom.js';
import { choice, field, form } from './form.js';

const SCOPES = { user: 'person, each month', room: 'room, each day', account: 'the whole team, each month' };
const BY = [['user', 'By person'], ['room', 'By room'], ['assistant', 'By assistant'], ['model', 'By model']];

export class Budgets {
  #users = null;
  #budgets = null;
  #used = null;

  constructor(client) {
    this.client = client;
    this.trouble = h('p', { class: 'form-error', role: 'alert' });
    this.table = h('div', { class: 'figures', id: 'budgets' });
    this.usage = h('div', { class: 'figures', id: 'usage' });
    this.setter = h('div', {});
    this.by = choice({ name: 'by', label: 'What was used this month', options: BY, value: 'user' });
    this.by.querySelector('select').addEventListener('change', () => this.#loadUsage());
    this.el = h('div', {},
      h('section', { class: 'panel' }, h('h2', {}, 'Budgets'), h('p', {}, 'Whoever might go over one is told so before anything is spent.'), this.trouble, this.table, this.setter),
      h('section', { class: 'panel' }, h('h2', {}, 'Usage'), this.by, this.usage));
  }

  opened() {
    this.#load();
    this.#loadUsage();
  }

  /** Names may come after the numbers, or change. */
  update({ users }) {
    if (this.#users === users) return;
    this.#users = users;
    const form = this.setter.firstElementChild;
    const written = form && (form.contains(document.activeElement) || [...form.querySelectorAll('input')].some(({ value }) => value));
    if (!written) this.#form();
    if (this.#budgets) this.#draw(this.#budgets);
    if (this.#used) this.#drawUsage();
  }

  #form() {
    const { state } = this.client;
    const whom = [['user:0', 'Every person without one of their own'], ['room:0', 'Every room without one of its own'], ['account:0', 'The whole team'],
      ...people(state).filter(({ role }) => role !== 'assistant').map((user) => [`user:${user.id}`, user.name]),
      ...Object.values(roomLists(state)).flat().map(({ room, title }) => [`room:${room.id}`, `Room ${title}`])];
    replace(this.setter, form({
      action: 'Set the budget', className: 'pair',
      fields: [
        h('div', { class: 'wide' }, choice({ name: 'scope', label: 'Whose', options: whom, value: 'user:0' })),
        field({ name: 'tokens_max', label: 'Tokens at most', type: 'number', min: '0', step: '1', inputmode: 'numeric', hint: 'Empty: no limit.' }),
        field({ name: 'micros_max', label: 'Dollars at most', type: 'number', min: '0', step: 'any', inputmode: 'decimal', hint: 'Empty: no limit. With neither the budget goes away.' }),
      ],
      submit: async ({ scope: chosen, tokens_max, micros_max }) => {
        const [scope, scope_id] = chosen.split(':');
        this.#draw((await api.put('/ai/budgets', { scope, scope_id: Number(scope_id), tokens_max: asCount(tokens_max), micros_max: asMicros(micros_max) })).budgets);
      },
    }));
  }

  async #load() {
    try {
      this.#draw((await api.get('/ai/budgets')).budgets);
    } catch (error) {
      setText(this.trouble, error.message);
    }
  }

  #draw(budgets) {
    this.#budgets = budgets;
    replace(this.table, budgets.length
      ? table(['Whose', 'Tokens', 'Dollars'], budgets.map(({ scope, scope_id, tokens_max, micros_max }) =>
        [this.#whose(scope, scope_id), tokens_max?.toLocaleString() ?? 'no limit', micros_max === null ? 'no limit' : `$${asDollars(micros_max)}`]), 1)
      : h('p', {}, 'There are none: nothing limits what is spent.'));
  }

  #whose(scope, id) {
    if (scope === 'account') return 'The team, each month';
    if (!id) return `Every ${SCOPES[scope]}`;
    return `${this.#name(scope, id)}, each ${scope === 'user' ? 'month' : 'day'}`;
  }

  #name(by, id) {
    const { state } = this.client;
    if (id === null) return 'By itself';
    if (by === 'room') return roomLists(state).rooms.find(({ room }) => room.id === id)?.title ?? roomLists(state).directs.find(({ room }) => room.id === id)?.title ?? `Room ${id}`;
    return state.users[id] ? nameOf(state, state.users[id]) : `User ${id}`;
  }

  async #loadUsage() {
    const by = this.by.querySelector('select').value;
    try {
      this.#used = { by, ...(await api.get(`/ai/usage?by=${by}`)) };
      this.#drawUsage();
    } catch (error) {
      replace(this.usage, h('p', { class: 'form-error', role: 'alert' }, error.message));
    }
  }

  #drawUsage() {
    const { by, usage, spending } = this.#used;
    const rows = usage.map(({ id, model, runs, failed, prompt_tokens, completion_tokens, cost_micros }) =>
      [by === 'model' ? model : this.#name(by, id), runs.toLocaleString(), failed.toLocaleString(), prompt_tokens.toLocaleString(), completion_tokens.toLocaleString(), dollars(cost_micros)]);
    const spent = spending.map(({ scope, scope_id, period, spent_tokens, reserved_tokens, spent_micros, reserved_micros }) =>
      [scope === 'account' ? 'The team' : this.#name(scope, scope_id), period, spent_tokens.toLocaleString(), reserved_tokens.toLocaleString(), dollars(spent_micros), dollars(reserved_micros)]);
    replace(this.usage,
      rows.length ? table([BY.find(([one]) => one === by)[1], 'Answers', 'Failed', 'Tokens read', 'Tokens written', 'Cost'], rows, 1) : h('p', {}, 'Nothing was asked yet.'),
      spent.length > 0 && [h('h3', {}, 'What counts towards budgets now'), table(['Whose', 'Period', 'Tokens', 'Reserved', 'Spent', 'Reserved'], spent, 2)]);
  }
}

/** From column `numbers` on there are numbers. */
function table(heads, rows, numbers) {
  const cell = (tag, text, at, extra = {}) => h(tag, { class: at >= numbers ? 'number' : '', ...extra }, text);
  return h('table', {}, h('thead', {}, h('tr', {}, heads.map((text, at) => cell('th', text, at, { scope: 'col' })))),
    h('tbody', {}, rows.map((row) => h('tr', {}, row.map((text, at) => (at === 0 ? cell('th', text, at, { scope: 'row' }) : cell('td', text, at)))))));
}
