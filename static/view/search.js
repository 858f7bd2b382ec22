// Finding messages by their words; a result leads to its place in the conversation.

import { api } from '../api.js';
import { nameOf } from '../store/select.js';
import { avatar, h, replace, setText } from './dom.js';
import { dayOf, fullTimeOf, timeOf } from './text.js';

const MOST = 50;
const AROUND = 160;

export class SearchPage {
  #asked = 0;

  constructor(client, shell) {
    Object.assign(this, { client, shell });
    this.input = h('input', { type: 'search', name: 'q', id: 'search-words', maxlength: 200, autocomplete: 'off', enterkeyhint: 'search', 'aria-label': 'Words to find', placeholder: 'Words to find' });
    this.state = h('p', { class: 'search-state', role: 'status' });
    this.hits = h('ol', { class: 'hits' });
    this.el = h('div', { class: 'scroll-page' },
      h('form', { class: 'search-form', role: 'search', method: 'post', on: { submit: (event) => this.#submit(event) } },
        this.input, h('button', { type: 'submit', class: 'button primary' }, 'Search')),
      this.state, this.hits);
  }

  title() { return 'Search'; }

  opened() {
    this.input.value = this.client.searched ?? '';
    this.input.focus();
    if (this.input.value) this.#find(this.input.value);
  }

  #submit(event) {
    event.preventDefault();
    this.client.searched = this.input.value.trim();
    this.#find(this.client.searched);
  }

  async #find(words) {
    const asked = ++this.#asked;
    replace(this.hits);
    setText(this.state, words ? 'Searching…' : '');
    if (!words) return;
    try {
      const { messages } = await api.get(`/search?${new URLSearchParams({ q: words, limit: MOST })}`);
      if (asked !== this.#asked) return;
      setText(this.state, messages.length ? countOf(messages.length) : `No message has “${words}”.`);
      replace(this.hits, messages.map((message) => this.#hit(message, words)));
    } catch (error) {
      if (asked === this.#asked) setText(this.state, error.message);
    }
  }

  #hit(message, words) {
    const { state } = this.client;
    const room = state.rooms[message.room_id];
    const name = nameOf(state, message.author);
    return h('li', {}, h('a', { class: 'hit', href: `/rooms/${message.room_id}/@${message.id}`, dataset: { id: message.id } },
      avatar({ ...message.author, name }, 'small'),
      h('span', { class: 'hit-text' },
        h('span', { class: 'hit-head' }, h('span', { class: 'author' }, name), room && h('span', { class: 'hit-room' }, `in ${this.shell.roomTitle(room)}`),
          h('time', { class: 'time', datetime: message.at, title: fullTimeOf(message.at) }, `${dayOf(message.at)}, ${timeOf(message.at)}`)),
        h('span', { class: 'hit-body' }, marked(message.body, words)))));
  }
}

const countOf = (count) => (count === 1 ? '1 message' : count < MOST ? `${count} messages, newest first` : `The newest ${count} messages`);

/** The part of a text around the first word that was found, with every word marked. */
function marked(text, words) {
  const wanted = words.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${wanted.map((word) => word.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|')})`, 'giu');
  if (!wanted.length) return text.slice(0, 2 * AROUND);
  const first = Math.max(0, text.search(pattern));
  const from = first > AROUND ? first - AROUND : 0;
  const part = text.slice(from, first + AROUND);
  const nodes = from > 0 ? ['…'] : [];
  let at = 0;
  for (const match of part.matchAll(pattern)) {
    nodes.push(part.slice(at, match.index), h('mark', {}, match[0]));
    at = match.index + match[0].length;
  }
  nodes.push(part.slice(at));
  if (first + AROUND < text.length) nodes.push('…');
  return nodes;
}
