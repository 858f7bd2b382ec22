// Everybody here with their presence, and for administrators the link that invites others.

import { isHere, PRESENCE_NAMES, presenceOf } from '../store/attendance.js';
import { isAdmin, people } from '../store/select.js';
import { avatar, h, reconcile, replace, setText } from './dom.js';
import { copy } from './text.js';

export class PeoplePage {
  #cache = new Map();

  constructor(client, shell) {
    Object.assign(this, { client, shell });
    this.invite = h('section', { class: 'panel', hidden: true });
    this.list = h('ul', { class: 'people' });
    this.el = h('div', { class: 'scroll-page' }, this.invite, this.list);
  }

  title() { return 'People'; }

  subtitle(state) {
    const here = people(state).filter(({ id }) => isHere(state, id)).length;
    return `${people(state).length} in all, ${here} online`;
  }

  opened() {
    this.client.store.dispatch({ type: 'lists/outdated', lists: { users: true } });
  }

  update(state) {
    const code = isAdmin(state) ? state.account.join_code : null;
    if (this.code !== code) this.#invitation(code, state);
    const items = people(state).map((user) => ({ key: user.id, user }));
    reconcile(this.list, this.#cache, items, ({ user }) => this.#make(user, state), (element, { user }) => {
      const presence = presenceOf(state, user.id);
      element.querySelector('.dot').className = `dot ${presence}`;
      setText(element.querySelector('.person-name'), user.id === state.me.id ? `${user.name} (you)` : user.name);
      setText(element.querySelector('.person-state'), [user.role === 'member' ? null : user.role, PRESENCE_NAMES[presence]].filter(Boolean).join(' · '));
    });
  }

  #make(user, state) {
    return h('li', { class: 'person', dataset: { userId: user.id } },
      h('span', { class: 'person-mark' }, avatar(user), h('span', { class: 'dot' })),
      h('span', { class: 'person-text' }, h('span', { class: 'person-name' }), h('span', { class: 'person-state' })),
      user.id !== state.me.id && h('button', { type: 'button', class: 'button small', 'aria-label': `Message ${user.name}`, on: { click: () => this.#message(user) } }, 'Message'));
  }

  async #message(user) {
    try {
      const room = await this.client.direct(user.id);
      this.shell.go(`/rooms/${room.id}`);
    } catch (error) {
      this.client.notify(error.message);
    }
  }

  #invitation(code, state) {
    this.code = code;
    this.invite.hidden = !code;
    if (!code) return;
    replace(this.invite, h('h2', {}, `Invite people to ${state.account.name ?? 'Hearth'}`),
      h('p', {}, 'Whoever has this link can make an account.'), inviteRow(code));
  }
}

/** The link that invites, ready to be copied. */
export function inviteRow(code) {
  const link = `${location.origin}/join/${code}`;
  const field = h('input', { id: 'invite-link', type: 'text', readOnly: true, value: link, 'aria-label': 'Invitation link', on: { focus: () => field.select() } });
  return h('div', { class: 'copy-row' }, field, copyButton(() => link));
}

/** Copies and says so, for eyes and ears. */
export function copyButton(text) {
  const button = h('button', { type: 'button', class: 'button', 'aria-live': 'polite', on: { click: async () => {
    const done = await copy(text(), button.parentElement);
    setText(button, done ? 'Copied' : 'Select and copy it');
    setTimeout(() => setText(button, 'Copy'), 2_000);
  } } }, 'Copy');
  return button;
}

