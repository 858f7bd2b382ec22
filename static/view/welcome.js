// What an empty room says to whoever opens it first: the next step.

import { isAdmin, mayManage, people } from '../store/select.js';
import { openRoomDetails } from './dialogs.js';
import { h, replace } from './dom.js';
import { inviteRow } from './copying.js';

export class Welcome {
  #shown = null;

  constructor(client, shell, roomId) {
    Object.assign(this, { client, shell, roomId });
    this.el = h('section', { class: 'welcome', hidden: true, 'aria-labelledby': 'welcome-title' });
  }

  update(state, room) {
    const { live, excerpt } = room.timeline;
    const empty = live.loaded && !live.older && !live.messages.length && !excerpt && !state.outbox.some(({ room_id }) => room_id === room.id);
    this.el.hidden = !empty;
    if (!empty) return;
    const step = this.#step(state, room);
    if (this.#shown === step.key) return;
    this.#shown = step.key;
    replace(this.el, h('h2', { id: 'welcome-title' }, step.title), h('p', {}, step.text), step.act);
  }

  #step(state, room) {
    const alone = people(state).filter(({ role }) => role !== 'bot').length <= 1;
    const code = state.account.join_code;
    if (room.kind !== 'direct' && alone && isAdmin(state) && code) {
      return { key: `invite ${code}`, title: 'You are the first one here', text: 'Send this link to those you want to talk with. Whoever has it can make an account.', act: inviteRow(code) };
    }
    if (room.kind === 'closed' && room.members?.length === 1 && mayManage(state, room)) {
      return {
        key: 'members', title: 'Nobody else is in this room', text: 'Add the people it is for. They will see everything written here.',
        act: h('button', { type: 'button', class: 'button', on: { click: () => openRoomDetails(this.client, this.shell, this.roomId) } }, 'Add people'),
      };
    }
    return { key: 'hello', title: 'Nothing has been said here yet', text: 'Write the first message below.' };
  }
}
