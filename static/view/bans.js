// Who is banned, for administrators: why, by whom, which addresses are refused, and the way back.

import { api } from '../api.js';
import { ask } from './dialogs.js';
import { avatar, h, replace } from './dom.js';
import { momentOf } from './text.js';

export class Bans {
  constructor(client, changed) {
    Object.assign(this, { client, changed });
    this.list = h('ul', { class: 'people', id: 'bans' });
    this.el = h('section', { class: 'panel', hidden: true }, h('h2', {}, 'Banned'), this.list);
  }

  async load() {
    const bans = await api.all('/bans', 'bans');
    replace(this.list, bans.map((ban) => this.#row(ban)));
    this.el.hidden = !bans.length;
  }

  #row({ user, reason, banned_by, created_at, addresses }) {
    return h('li', { class: 'person', dataset: { userId: user.id } }, avatar(user),
      h('span', { class: 'person-text' }, h('span', { class: 'person-name' }, user.name),
        h('span', { class: 'person-state' }, `By ${banned_by?.name ?? 'the server'}, ${momentOf(created_at)}`),
        reason && h('span', { class: 'person-state ban-reason' }, reason),
        addresses?.length > 0 && h('span', { class: 'person-state' }, `Refused: ${addresses.join(', ')}`)),
      h('button', { type: 'button', class: 'button small', 'aria-label': `Undo the ban of ${user.name}`, on: { click: () => this.#undo(user) } }, 'Undo…'));
  }

  #undo(user) {
    ask(`Let ${user.name} back in?`, 'The account and the addresses are as they were before the ban.', 'Undo the ban', async () => {
      try {
        await api.delete(`/users/${user.id}/ban`);
      } catch (error) {
        this.client.notify(error.message);
      }
      this.changed();
    });
  }
}
