// Who has a room open: how many in the bar, their names in the room's details.

import { nameOf } from '../store/select.js';
import { avatar, h, reconcile, setText } from './dom.js';

/** "3 here"; nothing as long as nobody has told, not even of oneself. */
export const hereText = (room) => (room.presentCount ? `${room.presentCount} here` : '');

export class Attendance {
  #cache = new Map();

  constructor() {
    this.heading = h('h3', {});
    this.list = h('ul', { class: 'member-list', id: 'present' });
    this.el = h('section', { class: 'details', hidden: true }, this.heading, this.list);
  }

  update(state, room) {
    this.el.hidden = room.kind === 'direct' || !hereText(room);
    setText(this.heading, `Here now: ${room.presentCount}`);
    const people = Object.entries(room.present ?? {}).map(([id, name]) => ({ id: Number(id), name }));
    const items = people.map((user) => ({ key: user.id, user, name: nameOf(state, user) })).sort((a, b) => a.name.localeCompare(b.name) || a.key - b.key);
    reconcile(this.list, this.#cache, items,
      ({ user }) => h('li', { class: 'member', dataset: { userId: user.id } }, avatar(user, 'small'), h('span', { class: 'choice-name' })),
      (element, { user, name }) => setText(element.lastElementChild, user.id === state.me.id ? `${name} (you)` : name));
  }
}
