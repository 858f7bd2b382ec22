// The ways in, for administrators: the standing link for members, and invitations that end, for members or guests.

import { api } from '../api.js';
import { INVITE_STATES, inviteState, seconds, usesText } from '../store/invites.js';
import { isAdmin, roomLists } from '../store/select.js';
import { copyButton, copyRow, inviteRow, linkOf } from './copying.js';
import { ask, dialog } from './dialogs.js';
import { h, icon, replace, setText } from './dom.js';
import { choice, form } from './form.js';
import { momentOf } from './text.js';

const LIFETIMES = [['3600', 'an hour'], ['86400', 'a day'], ['604800', '7 days'], ['2592000', '30 days'], ['', 'no end']];
const USES = [['1', 'once'], ['5', '5 times'], ['25', '25 times'], ['', 'as often as wanted']];

export class Invites {
  constructor(client) {
    this.client = client;
    this.standing = h('div', { class: 'details' });
    this.list = h('ul', { class: 'invites', id: 'invites' });
    this.trouble = h('p', { class: 'form-error', role: 'alert' });
    this.maker = h('button', { type: 'button', class: 'button small', id: 'new-invite', on: { click: () => this.#open() } }, 'New invitation…');
    this.el = h('section', { class: 'panel', hidden: true, id: 'invite-panel' }, this.standing,
      h('h3', {}, 'Invitations'), h('p', {}, 'For guests, or for members until a day or a number of people.'), this.list, this.trouble, this.maker);
  }

  opened() {
    this.#load();
  }

  update(state) {
    const code = isAdmin(state) ? state.account.join_code ?? null : null;
    const { name } = state.account;
    this.el.hidden = !isAdmin(state);
    if (this.known && this.#rooms() !== this.rooms) this.#draw();
    if (this.drawn && this.drawn.code === code && this.drawn.name === name) return;
    this.drawn = { code, name };
    replace(this.standing, h('h2', {}, `Invite people to ${name ?? 'Hearth'}`),
      code && [h('p', {}, 'Whoever has this link can make an account as a member.'), inviteRow(code),
        h('button', { type: 'button', class: 'button small', id: 'rotate-join-code', on: { click: () => this.#rotate() } }, 'Replace the link…')]);
  }

  #rotate() {
    ask('Replace the link?', 'The link there is now stops working at once. Whoever came in by it stays.', 'Make a new link', () => this.#try(async () => {
      const account = await api.post('/account/join-code', {});
      this.client.store.dispatch({ type: 'account/learned', account });
      this.standing.querySelector('input')?.focus();
    }));
  }

  #load() {
    return this.#try(async () => {
      this.known = await api.all('/invites', 'invites');
      this.#draw();
    });
  }

  #draw() {
    this.rooms = this.#rooms();
    replace(this.list, this.known.map((invite) => this.#row(invite)));
  }

  /** What the rooms of the invitations are called here, as far as that is known by now. */
  #rooms() {
    const ids = new Set(this.known?.flatMap(({ room_ids = [] }) => room_ids));
    return [...ids].map((id) => this.client.state.rooms[id]?.name).join('\n');
  }

  #row(invite) {
    const { id, code, url, role, room_ids = [], expires_at, created_at, created_by } = invite;
    const state = inviteState(invite, api.now());
    const rooms = room_ids.map((room) => this.client.state.rooms[room]?.name ?? `room ${room}`).join(', ');
    const who = role === 'guest' ? 'Guests' : 'Members';
    const open = state === 'open';
    return h('li', { class: 'invite', dataset: { inviteId: id, state } },
      h('span', { class: 'person-text' },
        h('span', { class: 'person-name' }, rooms ? `${who}, into ${rooms}` : who, h('span', { class: `tag ${state}` }, INVITE_STATES[state])),
        h('span', { class: 'person-state' }, [usesText(invite), expires_at ? `until ${momentOf(expires_at)}` : 'no end'].join(' · ')),
        h('span', { class: 'person-state' }, `Made ${momentOf(created_at)}${created_by?.name ? ` by ${created_by.name}` : ''}`)),
      open && copyButton(() => url ?? linkOf(code), 'Copy link'),
      open && h('button', { type: 'button', class: 'button small', 'aria-label': `Withdraw the invitation for ${who.toLowerCase()}, made ${momentOf(created_at)}`, on: { click: () => this.#revoke(id) } }, 'Withdraw…'));
  }

  #revoke(id) {
    ask('Withdraw the invitation?', 'Nobody can come in by it any more. Whoever came in stays.', 'Withdraw it', () => this.#try(async () => {
      await api.delete(`/invites/${id}`);
      await this.#load();
      this.maker.focus();
    }));
  }

  #open() {
    const { state } = this.client;
    const rooms = roomLists(state).rooms;
    const choices = h('fieldset', { class: 'choices', hidden: true, dataset: { field: 'room_ids' } }, h('legend', {}, 'Rooms that guests come into'),
      h('div', { class: 'choice-list' }, rooms.map(({ room, title }) => h('label', { class: 'choice', dataset: { roomId: room.id } },
        h('input', { type: 'checkbox', name: 'room_ids', value: String(room.id) }), icon(room.kind === 'closed' ? 'lock' : 'hash'), h('span', { class: 'choice-name' }, title)))),
      h('p', { class: 'field-note', dataset: { hint: '' } }));
    const kind = (value, title, text, checked) => h('label', { class: 'card-choice' },
      h('input', { type: 'radio', name: 'role', value, checked, on: { change: () => { choices.hidden = value !== 'guest'; } } }),
      h('span', {}, h('strong', {}, title), h('span', {}, text)));
    const content = form({
      action: 'Make the invitation',
      fields: [
        h('fieldset', { class: 'card-choices' }, h('legend', {}, 'For'),
          kind('member', 'Members', 'With an account, into all open rooms', true),
          kind('guest', 'Guests', 'With a nickname, only into the rooms chosen', false)),
        choices,
        choice({ name: 'expires_in_s', label: 'Works for', options: LIFETIMES, value: '604800' }),
        choice({ name: 'max_uses', label: 'Lets people in', options: USES, value: '1' }),
      ],
      submit: async ({ role, expires_in_s, max_uses }, element) => {
        const room_ids = role === 'guest' ? new FormData(element).getAll('room_ids').map(Number) : undefined;
        if (room_ids && !room_ids.length) throw Object.assign(new Error('Choose at least one room: guests see no others.'), { field: 'room_ids' });
        const invite = await api.make('/invites', { role, room_ids, expires_in_s: seconds(expires_in_s), max_uses: seconds(max_uses) });
        replace(body, h('p', {}, role === 'guest' ? 'Whoever has this link comes in as a guest.' : 'Whoever has this link can make an account.'),
          copyRow(invite.url ?? linkOf(invite.code), 'Invitation link', 'new-invite-link'),
          h('div', { class: 'dialog-actions' }, h('button', { type: 'button', class: 'button primary', on: { click: () => opened.close() } }, 'Done')));
        body.querySelector('input').focus();
        await this.#load();
      },
    });
    const body = h('div', { class: 'details' }, content);
    const opened = dialog('New invitation', body, { id: 'invite' });
  }

  async #try(work) {
    setText(this.trouble, '');
    try {
      await work();
    } catch (error) {
      setText(this.trouble, error.message);
    }
  }
}
