// Dialogs: making a room, starting a direct conversation, a room's members and settings, confirmations.

import { PRESENCE_NAMES, presenceOf } from '../store/attendance.js';
import { isGuest, mayManage, nameOf, people, roomTitle } from '../store/select.js';
import { api } from '../api.js';
import { Attendance } from './attendance.js';
import { avatar, h, icon, replace } from './dom.js';
import { field, form } from './form.js';

/** A native modal dialog that leaves nothing behind; focus goes back by itself. */
export function dialog(title, content, { id, className = '', onClose } = {}) {
  const titleId = `dialog-${id ?? 'title'}`;
  const element = h('dialog', { class: `dialog ${className}`, id, 'aria-labelledby': titleId },
    h('div', { class: 'dialog-head' }, h('h2', { id: titleId }, title),
      h('button', { type: 'button', class: 'icon-button', 'aria-label': 'Close', on: { click: () => element.close() } }, icon('close'))),
    content);
  element.addEventListener('close', () => {
    element.remove();
    onClose?.();
    // What opened it may be gone meanwhile.
    if ([document.body, null].includes(document.activeElement)) document.getElementById('main')?.focus({ preventScroll: true });
  });
  element.addEventListener('mousedown', ({ target, clientX, clientY }) => {
    const { left, right, top, bottom } = element.getBoundingClientRect();
    if (target === element && (clientX < left || clientX > right || clientY < top || clientY > bottom)) element.close();
  });
  document.body.append(element);
  element.showModal();
  element.querySelector('[data-first], input, .dialog-actions button')?.focus();
  return element;
}

export function ask(title, text, action, act) {
  const element = dialog(title, [
    h('p', {}, text),
    h('div', { class: 'dialog-actions' },
      h('button', { type: 'button', class: 'button', on: { click: () => element.close() } }, 'Cancel'),
      h('button', { type: 'button', class: 'button danger', dataset: { first: '' }, on: { click: () => { element.close(); act(); } } }, action)),
  ]);
}

function personChoice(state, type, users, name) {
  return users.map((user) => h('label', { class: 'choice', dataset: { userId: user.id } },
    h('input', { type, name, value: String(user.id) }), avatar(user, 'small'), h('span', { class: 'choice-name' }, user.name),
    dot(state, user)));
}

/** A mark of who is there, with its word for those who can't see it. */
const dot = (state, user) => h('span', { class: `dot ${presenceOf(state, user.id)}`, role: 'img', 'aria-label': PRESENCE_NAMES[presenceOf(state, user.id)] });

const othersOf = (state) => people(state).filter(({ id }) => id !== state.me.id);

export function openNewRoom(client, shell) {
  const { state } = client;
  const members = h('fieldset', { class: 'choices', hidden: true, dataset: { field: 'members' } }, h('legend', {}, 'Who is in it, besides you'),
    h('div', { class: 'choice-list' }, personChoice(state, 'checkbox', othersOf(state), 'members')), h('p', { class: 'field-note', dataset: { hint: '' } }));
  const kind = (value, title, text, checked) => h('label', { class: 'card-choice' },
    h('input', { type: 'radio', name: 'kind', value, checked, on: { change: () => { members.hidden = value === 'open'; } } }),
    h('span', {}, h('strong', {}, title), h('span', {}, text)));
  const content = form({
    action: 'Make the room',
    fields: [
      field({ name: 'name', label: 'Name', required: true, maxlength: 100, autocomplete: 'off' }),
      h('fieldset', { class: 'card-choices' }, h('legend', {}, 'Kind'),
        kind('open', 'Open', 'Everybody can read and write', true),
        kind('closed', 'Closed', 'Only its members', false)),
      members,
    ],
    submit: async (values, element) => {
      const chosen = values.kind === 'closed' ? new FormData(element).getAll('members').map(Number) : undefined;
      const room = await client.createRoom({ kind: values.kind, name: values.name.trim(), members: chosen });
      opened.close();
      shell.go(`/rooms/${room.id}`);
    },
  });
  const opened = dialog('New room', content);
}

export function openNewDirect(client, shell) {
  const { state } = client;
  const others = othersOf(state);
  const list = h('div', { class: 'choice-list' }, personChoice(state, 'checkbox', others, 'members'));
  const filter = h('input', { type: 'search', placeholder: 'Filter by name', 'aria-label': 'Filter by name', dataset: { first: '' }, on: { input: () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const choice of list.children) choice.hidden = !choice.querySelector('.choice-name').textContent.toLowerCase().includes(wanted);
  } } });
  const content = form({
    action: 'Start talking',
    fields: others.length ? [others.length > 6 && filter, list] : h('p', {}, 'Nobody else is here yet. Invite somebody from the People page.'),
    submit: async (values, element) => {
      const chosen = new FormData(element).getAll('members').map(Number);
      if (!chosen.length) throw new Error('Choose at least one person.');
      const room = chosen.length === 1 ? await client.direct(chosen[0]) : await client.createRoom({ kind: 'direct', members: chosen });
      if (!client.state.rooms[room.id]?.members) await client.learnRoom(room.id);
      opened.close();
      shell.go(`/rooms/${room.id}`);
    },
  });
  const opened = dialog('New direct message', content);
}

/** Members and settings of a room; follows the state while it is open. */
export async function openRoomDetails(client, shell, roomId) {
  // Each is drawn anew only when it is another: what is being typed in one outlives changes of the other.
  const [inside, adjust] = [h('div', { class: 'details' }), h('div', { class: 'details' })];
  const here = new Attendance();
  const trouble = h('p', { class: 'form-error', role: 'alert' });
  let shown = {};
  const act = async (work) => {
    trouble.textContent = '';
    try {
      await work();
    } catch (error) {
      trouble.textContent = error.message;
    }
  };
  const draw = (state) => {
    const room = state.rooms[roomId];
    if (!room) {
      opened.close();
      return;
    }
    here.update(state, room);
    const { members: those, name, kind } = room;
    const manages = kind !== 'direct' && mayManage(state, room);
    if (shown.those !== those) replace(inside, kind === 'closed' && members(client, shell, state, room, act, () => opened.close()));
    if (shown.name !== name || shown.manages !== manages) replace(adjust, manages && settings(client, shell, room, act, () => opened.close()));
    shown = { those, name, manages };
  };
  const unsubscribe = client.store.subscribe(draw);
  const opened = dialog(roomTitle(client.state, client.state.rooms[roomId]), [inside, trouble, adjust, here.el], { id: 'members', onClose: unsubscribe });
  draw(client.state);
  await act(() => client.learnRoom(roomId));
}

function members(client, shell, state, room, act, close) {
  const inside = room.members ?? [];
  const outside = othersOf(state).filter(({ id }) => !inside.some((member) => member.id === id));
  const change = (method, userId) => act(async () => {
    await api[method](`/rooms/${room.id}/members/${userId}`);
    if (userId === state.me.id) {
      close();
      client.store.dispatch({ type: 'room/left', room_id: room.id });
    } else await client.learnRoom(room.id);
  });
  const row = (user) => {
    const self = user.id === state.me.id;
    return h('li', { class: 'member', dataset: { userId: user.id } }, avatar(user, 'small'), h('span', { class: 'choice-name' }, nameOf(state, user), self && ' (you)'),
      (self || mayManage(state, room)) && h('button', { type: 'button', class: 'button small', on: { click: () => change('delete', user.id) } }, self ? 'Leave' : 'Remove'));
  };
  const select = h('select', { 'aria-label': 'Person to add' }, outside.map((user) => h('option', { value: String(user.id) }, user.name)));
  return [
    h('h3', {}, 'Members'),
    h('ul', { class: 'member-list' }, inside.map(row)),
    outside.length > 0 && !isGuest(state) && h('div', { class: 'inline-form' }, select,
      h('button', { type: 'button', class: 'button', on: { click: () => change('put', Number(select.value)) } }, 'Add')),
  ];
}

function settings(client, shell, room, act, close) {
  const rename = form({
    action: 'Rename',
    className: 'inline',
    fields: [field({ name: 'name', label: 'Name of the room', value: room.name ?? '', required: true, maxlength: 100, autocomplete: 'off' })],
    submit: async ({ name }) => {
      client.store.dispatch({ type: 'room/learned', room: await api.patch(`/rooms/${room.id}`, { name: name.trim() }) });
    },
  });
  const remove = () => {
    close();
    ask(`Delete ${room.name}?`, 'The room and all its messages go away for everybody.', 'Delete the room', () => act(async () => {
      try {
        await api.delete(`/rooms/${room.id}`);
        client.store.dispatch({ type: 'room/left', room_id: room.id });
      } catch (error) {
        client.notify(`The room was not deleted: ${error.message}`);
      }
    }));
  };
  return [h('h3', {}, 'Settings'), rename, h('button', { type: 'button', class: 'button danger-text', on: { click: remove } }, 'Delete this room…')];
}
