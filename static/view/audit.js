// The audit trail, for administrators: who did what to whom, by filters, and all of it to take along.

import { api } from '../api.js';
import { actionNames, AUDITED, auditQuery, sentenceOf } from '../store/audit.js';
import { isAdmin, people } from '../store/select.js';
import { h, replace, setText } from './dom.js';
import { choice, field, form } from './form.js';
import { fullTimeOf } from './text.js';

const PAGE = 50;

const byWhat = (via, credential) => ['by', via.replaceAll('_', ' '), credential].filter(Boolean).join(' ');

export class AuditPage {
  #asked = 0;
  #names = new Map();
  #query = new URLSearchParams();
  #next = null;
  #shown = [];

  constructor(client) {
    this.client = client;
    this.filters = h('div', { class: 'panel', id: 'audit-filters' });
    this.said = h('p', { class: 'search-state', role: 'status', id: 'audit-state' });
    this.export = h('a', { class: 'button small', id: 'audit-export', download: 'audit.ndjson' }, 'Export as JSON lines');
    this.list = h('ol', { class: 'audit', id: 'audit' });
    this.more = h('button', { type: 'button', class: 'button', id: 'audit-more', hidden: true, on: { click: () => this.#load() } }, 'Show older ones');
    this.el = h('div', { class: 'scroll-page' }, this.filters, h('div', { class: 'audit-head' }, this.said, this.export), this.list, h('div', { class: 'audit-foot' }, this.more));
  }

  title() { return 'Audit'; }

  async opened() {
    if (!isAdmin(this.client.state)) {
      replace(this.el, h('p', { class: 'empty' }, 'Only administrators see the audit trail.'));
      return;
    }
    this.#know(people(this.client.state));
    this.#draw();
    // Those who left are in the trail, too.
    await api.all('/users?status=all', 'users').then((users) => {
      this.#know(users);
      this.#draw();
    }, () => {});
    this.#show({}).catch((error) => setText(this.said, error.message));
  }

  #know(users) {
    for (const { id, name } of users) this.#names.set(id, name);
  }

  #draw() {
    const chosen = this.filters.querySelector('form') ? Object.fromEntries(new FormData(this.filters.querySelector('form'))) : {};
    const names = [...this.#names].sort(([, a], [, b]) => a.localeCompare(b));
    replace(this.filters, form({
      action: 'Show',
      className: 'filters',
      fields: [
        choice({ name: 'actor', label: 'Who', options: [['', 'anybody'], ...names], value: chosen.actor ?? '' }),
        choice({ name: 'action', label: 'What', options: [['', 'anything'], ...actionNames], value: chosen.action ?? '' }),
        field({ name: 'target', label: 'To whom or what', value: chosen.target ?? '', autocomplete: 'off', pattern: `\\s*(${AUDITED.join('|')})(:[0-9]+)?\\s*`, placeholder: 'user:7, room:3, session',
          title: `Write a kind, or a kind with a number: ${AUDITED.join(', ')}.` }),
        field({ name: 'since', label: 'From', type: 'datetime-local', value: chosen.since ?? '' }),
        field({ name: 'until', label: 'Until', type: 'datetime-local', value: chosen.until ?? '' }),
      ],
      submit: (values) => this.#show(values),
    }));
  }

  async #show(values) {
    this.#query = auditQuery(values);
    this.#next = null;
    this.#shown = [];
    replace(this.list);
    this.more.hidden = true;
    await this.#read();
    const query = this.#query.toString();
    this.export.href = `/api/v1/audit/export${query && `?${query}`}`;
  }

  async #load() {
    await this.#read().catch((error) => setText(this.said, error.message));
  }

  /** Reads the next page. What is refused is for the caller to say, where it was asked for. */
  async #read() {
    const asked = ++this.#asked;
    const query = new URLSearchParams(this.#query);
    query.set('limit', PAGE);
    if (this.#next) query.set('cursor', this.#next);
    setText(this.said, 'Reading…');
    try {
      const { entries, next } = await api.get(`/audit?${query}`);
      if (asked !== this.#asked) return;
      this.#next = next;
      this.more.hidden = !next;
      const first = entries.map((entry) => this.list.appendChild(this.#entry(entry)))[0];
      const count = this.list.childElementCount;
      setText(this.said, count ? `${count === 1 ? 'One entry' : `${count} entries`}, newest first${next ? ', and there are older ones' : ''}` : 'Nothing like that happened.');
      // Whoever asked for more reads on where the new ones begin.
      if (count > entries.length) first?.focus({ preventScroll: true });
    } catch (error) {
      if (asked !== this.#asked) return;
      setText(this.said, '');
      throw error.field === 'until' ? Object.assign(error, { message: 'This is before “From”.' }) : error;
    }
  }

  #say(entry) {
    return `${sentenceOf(entry, { user: (one) => this.#names.get(one), room: (one) => this.client.state.rooms[one]?.name })}.`;
  }

  /** What rooms are called may be known only after the page. */
  update({ rooms }) {
    if (rooms === this.rooms) return;
    this.rooms = rooms;
    for (const { entry, sentence } of this.#shown) setText(sentence, this.#say(entry));
  }

  #entry(entry) {
    const { id, at, via, credential_id, action, target, address } = entry;
    const facts = [
      action,
      target && (target.id ? `${target.kind}:${target.id}` : target.kind),
      // Whoever is only just coming in shows nothing yet.
      via && via !== 'nobody' && byWhat(via, credential_id),
      address && `from ${address}`,
    ];
    const sentence = h('p', { class: 'audit-sentence' }, this.#say(entry));
    this.#shown.push({ entry, sentence });
    return h('li', { class: 'audit-entry', tabIndex: -1, dataset: { id, action } },
      sentence,
      h('p', { class: 'person-state' }, h('time', { datetime: at, title: at }, fullTimeOf(at))),
      h('p', { class: 'person-state audit-facts' }, facts.filter(Boolean).join(' · ')));
  }
}
