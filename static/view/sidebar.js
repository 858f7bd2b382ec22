// The list of rooms and direct conversations with what is unread, and the way to everything else.

import { bestPresence, PRESENCE_NAMES } from '../store/attendance.js';
import { counterparts, isAdmin, isGuest, roomLists } from '../store/select.js';
import { avatar, h, icon, reconcile, replace, setAttributes, setText } from './dom.js';
import { ask, openNewDirect, openNewRoom } from './dialogs.js';
import { openSwitcher } from './switcher.js';

export class Sidebar {
  #caches = { rooms: new Map(), directs: new Map() };

  constructor(client, shell) {
    Object.assign(this, { client, shell });
    this.account = h('p', { class: 'account-name' }, 'Hearth');
    this.rooms = h('ul', { class: 'room-list' });
    this.directs = h('ul', { class: 'room-list' });
    this.me = h('div', { class: 'me' });
    this.pages = h('ul', { class: 'room-list pages' });
    this.el = h('aside', { class: 'sidebar', id: 'sidebar' },
      h('div', { class: 'sidebar-head' }, h('img', { src: '/static/icon.svg', alt: '', width: 30, height: 30 }), this.account),
      h('button', { type: 'button', id: 'switcher', class: 'switcher-button', on: { click: () => openSwitcher(client, shell) } },
        icon('search'), h('span', {}, 'Find a room or person'), h('kbd', {}, /Mac|iP/.test(navigator.platform) ? '⌘K' : 'Ctrl K')),
      h('nav', { class: 'sidebar-nav', 'aria-label': 'Rooms' },
        this.#section('Rooms', 'new-room', 'New room', () => openNewRoom(client, shell), this.rooms),
        this.#section('Direct messages', 'new-direct', 'New direct message', () => openNewDirect(client, shell), this.directs),
        this.pages),
      this.me);
  }

  #section(title, id, label, act, list) {
    return h('section', { 'aria-labelledby': `${id}-title` },
      h('div', { class: 'section-head' }, h('h2', { id: `${id}-title` }, title),
        h('button', { type: 'button', id, class: 'icon-button', 'aria-label': label, title: label, on: { click: act } }, icon('plus'))),
      list);
  }

  focus() {
    (this.el.querySelector('[aria-current=page]') ?? this.el.querySelector('a, button'))?.focus();
  }

  update(state) {
    setText(this.account, state.account.name ?? 'Hearth');
    if (this.last?.rooms !== state.rooms || this.last.users !== state.users || this.last.presence !== state.presence || this.path !== location.pathname) {
      const lists = roomLists(state);
      for (const [name, list] of [['rooms', this.rooms], ['directs', this.directs]]) {
        const items = lists[name].map((item) => ({ ...item, key: item.room.id }));
        reconcile(list, this.#caches[name], items, (item) => this.#makeLink(item), (element, item) => this.#updateLink(element, item, state));
      }
    }
    if (this.path !== location.pathname || this.last?.me?.role !== state.me?.role) this.#pages(state);
    for (const button of this.el.querySelectorAll('#new-room, #new-direct')) button.hidden = isGuest(state);
    if (this.last?.me?.name !== state.me?.name) this.#me(state);
    this.last = state;
    this.path = location.pathname;
  }

  #makeLink({ room }) {
    const mark = room.kind === 'direct' ? h('span', { class: 'dot' }) : h('span', { class: 'room-mark' }, icon(room.kind === 'closed' ? 'lock' : 'hash'));
    return h('li', {}, h('a', { class: 'room-link', href: `/rooms/${room.id}`, dataset: { roomId: room.id } },
      mark, h('span', { class: 'room-name' }), h('span', { class: 'unread', hidden: true })));
  }

  #updateLink(element, { room, title }, state) {
    const link = element.firstElementChild;
    const [mark, name, badge] = link.children;
    const current = state.open === room.id;
    setText(name, title);
    setText(badge, room.unread > 99 ? '99+' : String(room.unread));
    badge.hidden = room.unread === 0;
    link.classList.toggle('has-unread', room.unread > 0);
    setAttributes(link, { 'aria-current': current ? 'page' : null, 'aria-label': this.#label(room, title, state) });
    if (room.kind === 'direct') mark.className = `dot ${bestPresence(state, counterparts(state, room))}`;
  }

  #label(room, title, state) {
    const parts = [title];
    if (room.kind === 'closed') parts.push('closed room');
    if (room.kind === 'direct') parts.push(PRESENCE_NAMES[bestPresence(state, counterparts(state, room))]);
    if (room.unread) parts.push(`${room.unread} unread`);
    return parts.join(', ');
  }

  #pages(state) {
    const link = (href, name, label) => h('li', {}, h('a', { class: 'page-link', href, 'aria-current': location.pathname === href ? 'page' : null }, icon(name), h('span', {}, label)));
    replace(this.pages, link('/search', 'search', 'Search messages'), link('/people', 'people', isAdmin(state) ? 'People and invitation' : 'People'), isAdmin(state) && [link('/bots', 'bot', 'Bots'), link('/assistants', 'spark', 'Assistants'), link('/audit', 'list', 'Audit')], link('/settings', 'sliders', 'Settings'));
  }

  #me(state) {
    replace(this.me, avatar(state.me, 'small'), h('span', { class: 'me-name' }, state.me.name),
      h('button', { type: 'button', id: 'sign-out', class: 'icon-button', 'aria-label': 'Sign out', title: 'Sign out', on: { click: () => this.#signOut() } }, icon('out')));
  }

  #signOut() {
    const { me } = this.client.state;
    // Without a password there is no way back in.
    if (me.email === null) ask(`Sign out for good, ${me.name}?`, 'You have no password here: nobody can sign in as you again, unless you are signed in on another device or an administrator lets you back in.', 'Sign out', () => this.#leave());
    else this.#leave();
  }

  async #leave() {
    const waiting = this.client.waiting;
    if (waiting && !confirm(`${waiting === 1 ? 'One message or change is' : `${waiting} messages and changes are`} not sent yet and would be lost. Sign out?`)) return;
    try {
      await this.client.signOut();
      location.assign('/sign-in');
    } catch (error) {
      this.client.notify(`You are still signed in: ${error.message}`);
    }
  }
}
