// What assistants and bots ask one to do: cards above everything else of a page, that take no focus and go away by themselves.

import { roll } from '../store/requests.js';
import { nameOf } from '../store/select.js';
import { h, reconcile, replace } from './dom.js';

/** How long a card that is done with stays. */
const LINGER_MS = 8_000;
const SAID = { expired: 'The time for it is over.', failed: 'This was not taken.', elsewhere: 'This was answered elsewhere.' };

export class Requests {
  #cache = new Map();
  #drawn = new Map();
  #announced = new Set();
  #timers = new Map();

  constructor(client, shell) {
    Object.assign(this, { client, shell });
    this.el = h('section', { id: 'requests', class: 'requests', 'aria-label': 'Requests', hidden: true });
  }

  update({ requests, users }) {
    if (this.shown === requests) return;
    this.shown = requests;
    this.el.hidden = requests.length === 0;
    const items = requests.map((request) => ({ ...request, key: request.request_id }));
    reconcile(this.el, this.#cache, items, () => h('div', { class: 'request', role: 'group', tabIndex: -1 }), (element, item) => this.#draw(element, item, { users }));
    for (const request of requests) this.#tell(request, { users });
  }

  #tell(request, state) {
    const { request_id, state: how } = request;
    if (!this.#announced.has(request_id)) {
      this.#announced.add(request_id);
      this.shell.announce(questionOf(request, nameOf(state, request.from)));
    }
    if (how === 'open' || how === 'sending' || this.#timers.has(request_id)) return;
    this.#timers.set(request_id, setTimeout(() => this.#dismiss(request_id), LINGER_MS));
  }

  #dismiss(request_id) {
    this.#timers.delete(request_id);
    this.client.store.dispatch({ type: 'request/dismissed', request_id });
  }

  #draw(element, request, state) {
    const { request_id, kind, state: how, answer, fault, trouble } = request;
    const mark = `${how} ${Boolean(answer)} ${trouble}`;
    if (this.#drawn.get(element) === mark) return;
    this.#drawn.set(element, mark);
    const held = element.contains(document.activeElement);
    const id = `request-${request_id}`;
    Object.assign(element.dataset, { requestId: request_id, state: how });
    element.setAttribute('aria-labelledby', id);
    const reply = (status, result) => this.client.answerer.answer(request_id, status, result);
    const ways = { 'dice.roll': diceOf, choose: choicesOf };
    replace(element,
      h('p', { class: 'request-question', id }, questionOf(request, nameOf(state, request.from))),
      fault === null && ways[kind](request, reply),
      how === 'open' && !fault && h('button', { type: 'button', class: 'link-button request-decline', on: { click: () => reply('failed', { error: 'declined' }) } }, 'Not now'),
      how !== 'open' && h('p', { class: 'field-note', role: 'status' }, wordsOf(request)),
      !['open', 'sending', 'again'].includes(how) && h('button', { type: 'button', class: 'link-button request-dismiss', on: { click: () => this.#dismiss(request_id) } }, 'Close'));
    // Pressed and gone: whoever goes by keys stays where they were.
    if (held) (element.querySelector('button') ?? element).focus({ preventScroll: true });
  }
}

function questionOf({ kind, arguments: given, fault }, name) {
  if (fault) return `${name} asked for something that can’t be done here (${kind}).`;
  if (kind === 'choose') return `${name} asks: ${given.question}`;
  const { count = 1, sides = 6 } = given ?? {};
  return `${name} asks you to roll ${count === 1 ? 'a die' : `${count} dice`}${sides === 6 ? '' : ` with ${sides} sides`}.`;
}

function wordsOf({ state: how, answer, fault, trouble }) {
  if (how === 'sending' || how === 'again') return 'Sending…';
  if (how === 'expired') return SAID.expired;
  if (trouble) return `${SAID.failed} ${trouble}`;
  if (fault) return 'It was told so.';
  if (!answer) return SAID.elsewhere;
  return answer?.status === 'failed' ? 'You declined.' : 'Sent.';
}

function diceOf({ arguments: given, answer, state: how }, reply) {
  const rolls = answer?.result?.rolls;
  if (rolls) {
    const sum = rolls.reduce((all, one) => all + one, 0);
    return h('p', { class: 'dice', role: 'img', 'aria-label': `You rolled ${rolls.join(', ')}` }, rolls.map((one) => h('span', { class: 'die' }, String(one))), rolls.length > 1 && h('span', { class: 'sum' }, `= ${sum}`));
  }
  return how === 'open' && h('button', { type: 'button', class: 'button primary request-roll', on: { click: () => reply('done', { rolls: roll(given ?? {}) }) } }, 'Roll');
}

function choicesOf({ arguments: { options }, answer, state: how }, reply) {
  if (answer?.result?.choice !== undefined) return h('p', { class: 'request-chosen' }, answer.result.choice);
  return how === 'open' && h('div', { class: 'button-row' }, options.map((option) => h('button', { type: 'button', class: 'button request-choice', on: { click: () => reply('done', { choice: option }) } }, option)));
}
