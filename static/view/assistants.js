// Assistants, for administrators: what engine answers, how, and at what price; below, what may be spent and what was.

import { api } from '../api.js';
import { isAdmin } from '../store/select.js';
import { fieldsOf, wishOf } from '../store/engines.js';
import { dollars } from './answer.js';
import { Budgets } from './budgets.js';
import { ask, dialog } from './dialogs.js';
import { avatar, h, replace } from './dom.js';
import { field, form } from './form.js';

const TOOLS = [['dice.roll', 'May ask people to roll dice'], ['choose', 'May ask people to choose']];

export class AssistantsPage {
  constructor(client) {
    this.client = client;
    this.list = h('ul', { class: 'bots', id: 'assistants' });
    this.maker = h('section', { class: 'panel', id: 'new-assistant' }, h('h2', {}, 'New assistant'),
      h('p', {}, 'An assistant answers whoever mentions it, by a language model behind any address that speaks the chat completions API of OpenAI: Ollama and llama.cpp on this machine do.'),
      form({
        action: 'Make the assistant', className: 'pair', fields: fields(null),
        submit: async (values, element) => {
          const { id } = await api.make('/assistants', wishOf({ ...values, tools: new FormData(element).getAll('tools') }, null));
          element.reset();
          await this.#load();
          // The form is long: whoever filled it in is taken to what came of it.
          this.list.querySelector(`[data-user-id="${id}"] .change`)?.focus();
        },
      }));
    this.budgets = new Budgets(client);
    this.el = h('div', { class: 'scroll-page' }, this.list, this.maker, this.budgets.el);
  }

  title() { return 'Assistants'; }

  opened() {
    if (!isAdmin(this.client.state)) {
      replace(this.el, h('p', { class: 'empty' }, 'Only administrators manage assistants.'));
      return;
    }
    this.#load();
    this.budgets.opened();
  }

  update(state) {
    if (isAdmin(state)) this.budgets.update(state);
  }

  async #load() {
    try {
      const { assistants } = await api.get('/assistants');
      replace(this.list, assistants.map((assistant) => this.#assistant(assistant)));
    } catch (error) {
      this.client.notify(error.message);
    }
  }

  #assistant(assistant) {
    const { id, name, model, base_url, has_key, enabled, available, context_tokens, output_tokens, prompt_price, completion_price, summarises } = assistant;
    const about = [model, base_url, has_key ? 'with a key' : 'without a key'].join(' · ');
    const terms = [
      `${context_tokens.toLocaleString()} tokens of context, ${output_tokens.toLocaleString()} of output`,
      prompt_price || completion_price ? `${dollars(prompt_price)} and ${dollars(completion_price)} per million tokens read and written` : 'free of charge',
      summarises && 'summarises long rooms',
    ].filter(Boolean).join(' · ');
    const state = !enabled ? 'switched off' : available ? null : 'fails at present';
    const press = (className, label, act) => h('button', { type: 'button', class: `button small ${className}`, 'aria-label': `${label.replace('…', '')} ${name}`, on: { click: act } }, label);
    return h('li', { class: 'panel bot assistant', dataset: { userId: id, state: !enabled ? 'off' : available ? 'on' : 'paused' } },
      h('div', { class: 'person-head' }, avatar(assistant), h('span', { class: 'person-text' },
        h('h2', {}, name, state && h('span', { class: 'tag over' }, state)), h('span', { class: 'person-state' }, about), h('span', { class: 'person-state' }, terms))),
      h('div', { class: 'button-row' },
        press('change', 'Change…', () => this.#change(assistant)),
        press('switch', enabled ? 'Switch off' : 'Switch on', () => this.#does(id, () => api.patch(`/assistants/${id}`, { enabled: !enabled }), '.switch')),
        press('remove danger-text', 'Remove…', () => this.#remove(assistant))));
  }

  #change(assistant) {
    const content = form({
      action: 'Save', className: 'pair', fields: fields(assistant),
      submit: async (values, element) => {
        const wish = wishOf({ ...values, tools: new FormData(element).getAll('tools') }, assistant);
        if (Object.keys(wish).length) await api.patch(`/assistants/${assistant.id}`, wish);
        opened.close();
        await this.#load();
        this.list.querySelector(`[data-user-id="${assistant.id}"] .change`)?.focus();
      },
    });
    const opened = dialog(assistant.name, content, { id: 'assistant', className: 'broad' });
  }

  #remove({ id, name }) {
    ask(`Remove ${name}?`, 'What it is answering at the moment ends. What it wrote stays.', 'Remove the assistant', () => this.#does(id, () => api.delete(`/assistants/${id}`), '.remove'));
  }

  async #does(id, work, back) {
    try {
      await work();
    } catch (error) {
      this.client.notify(error.message);
    }
    await this.#load();
    (this.list.querySelector(`[data-user-id="${id}"] ${back}`) ?? this.maker.querySelector('input')).focus();
  }
}

/** The fields, of a new one or with what is known. */
function fields(assistant) {
  const known = fieldsOf(assistant);
  const number = (name, label, hint, extra = {}) => field({ name, label, hint, type: 'number', min: '0', step: '1', inputmode: 'numeric', autocomplete: 'off', value: known[name], ...extra });
  const check = (name, label, value = 'on') => h('label', { class: 'check' }, h('input', { type: 'checkbox', name, value, checked: known[name] === true || known.tools.includes(value) }), label);
  return [
    field({ name: 'name', label: 'Name', required: true, maxlength: 100, autocomplete: 'off', value: known.name, hint: 'People mention it by @ and this name.' }),
    field({ name: 'model', label: 'Model', required: true, maxlength: 200, autocomplete: 'off', value: known.model, placeholder: 'llama3.2' }),
    field({ name: 'base_url', label: 'Address of the engine', type: 'url', required: true, maxlength: 2_048, autocomplete: 'off', value: known.base_url, placeholder: 'http://localhost:11434/v1' }),
    field({ name: 'api_key', label: 'Key', type: 'password', maxlength: 1_024, autocomplete: 'new-password',
      hint: assistant?.has_key ? 'It has one. Leave this empty to keep it; for another address it has to be given again.' : 'If the engine asks for one. It is never shown again.' }),
    assistant?.has_key && h('div', { class: 'wide' }, check('forget_key', 'Take the key away')),
    h('div', { class: 'wide' }, field({ name: 'instructions', label: 'Instructions', multiline: true, rows: 3, maxlength: 8_000, value: known.instructions, hint: 'How it should answer. It sees them with every question.' })),
    number('context_tokens', 'Context, in tokens', 'How much the model reads at once.', { placeholder: 'as usual' }),
    number('output_tokens', 'Output, in tokens', 'How much it may write in one answer.', { placeholder: 'as usual' }),
    number('prompt_price', 'Dollars per million tokens read', '0 for an engine of your own.', { step: 'any', inputmode: 'decimal' }),
    number('completion_price', 'Dollars per million tokens written', '', { step: 'any', inputmode: 'decimal' }),
    number('temperature', 'Temperature', '0 to 2; empty: as the engine likes.', { step: '0.001', max: '2', inputmode: 'decimal' }),
    h('div', { class: 'field wide' }, check('summarises', 'Summarises long rooms'), TOOLS.map(([tool, label]) => check('tools', label, tool))),
  ];
}
