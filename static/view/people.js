// Everybody here with their presence; for administrators also those who are not any more, bans and invitations.

import { api } from '../api.js';
import { isHere, presenceOf } from '../store/attendance.js';
import { isAdmin, isGuest, people } from '../store/select.js';
import { Bans } from './bans.js';
import { avatar, h, icon, reconcile, replace, setText } from './dom.js';
import { Invites } from './invites.js';
import { describe, openPerson } from './person.js';

export class PeoplePage {
  #cache = new Map();

  constructor(client, shell) {
    Object.assign(this, { client, shell });
    this.list = h('ul', { class: 'people', id: 'people' });
    this.gone = h('ul', { class: 'people' });
    this.closed = h('section', { class: 'panel', id: 'closed-accounts', hidden: true }, h('h2', {}, 'Deactivated'), this.gone);
    this.bans = new Bans(client, () => this.#account());
    this.invites = new Invites(client);
    this.el = h('div', { class: 'scroll-page' }, this.invites.el, this.list, this.closed, this.bans.el);
  }

  title() { return 'People'; }

  subtitle(state) {
    const here = people(state).filter(({ id }) => isHere(state, id)).length;
    return `${people(state).length} in all, ${here} online`;
  }

  opened() {
    this.client.store.dispatch({ type: 'lists/outdated', lists: { users: true } });
    if (isAdmin(this.client.state)) this.invites.opened();
  }

  update(state) {
    const admin = isAdmin(state);
    this.invites.update(state);
    // Who comes, goes or has another role may be on the lists of administrators, too.
    if (admin && this.users !== state.users) this.#account();
    this.users = state.users;
    const items = people(state).map((user) => ({ key: user.id, user }));
    reconcile(this.list, this.#cache, items, ({ user }) => this.#make(user, state), (element, { user }) => {
      const dot = describe(state, user);
      element.querySelector('.dot').className = `dot ${presenceOf(state, user.id)}`;
      setText(element.querySelector('.person-name'), user.id === state.me.id ? `${user.name} (you)` : user.name);
      setText(element.querySelector('.person-state'), dot);
    });
  }

  #make(user, state) {
    return h('li', { class: 'person', dataset: { userId: user.id } },
      h('span', { class: 'person-mark' }, avatar(user), h('span', { class: 'dot' })),
      h('span', { class: 'person-text' }, h('span', { class: 'person-name' }), h('span', { class: 'person-state' })),
      user.id !== state.me.id && !isGuest(state) && h('button', { type: 'button', class: 'button small', 'aria-label': `Message ${user.name}`, on: { click: () => this.#message(user) } }, 'Message'),
      this.#more(user.id, user.name));
  }

  #more(id, name) {
    return h('button', { type: 'button', class: 'icon-button person-more', 'aria-label': `About ${name}`, title: `About ${name}`, on: { click: () => {
      const user = this.client.state.users[id] ?? this.everybody?.find((one) => one.id === id);
      if (user) openPerson(this.client, this.shell, user, () => this.#account());
    } } }, icon('more'));
  }

  async #message(user) {
    try {
      const room = await this.client.direct(user.id);
      this.shell.go(`/rooms/${room.id}`);
    } catch (error) {
      this.client.notify(error.message);
    }
  }

  /** What only administrators see; asked again while it is under way, it is read once more. */
  async #account() {
    if (!isAdmin(this.client.state)) return;
    if (this.reading) {
      this.again = true;
      return;
    }
    this.reading = true;
    try {
      this.everybody = await api.all('/users?status=all', 'users');
      const closed = this.everybody.filter(({ status }) => status === 'deactivated');
      replace(this.gone, closed.map((user) => h('li', { class: 'person', dataset: { userId: user.id } }, avatar(user),
        h('span', { class: 'person-text' }, h('span', { class: 'person-name' }, user.name), h('span', { class: 'person-state' }, describe(this.client.state, user))),
        this.#more(user.id, user.name))));
      this.closed.hidden = !closed.length;
      await this.bans.load();
    } catch (error) {
      this.client.notify(error.message);
    } finally {
      this.reading = false;
      if (this.again) {
        this.again = false;
        this.#account();
      }
    }
  }
}
