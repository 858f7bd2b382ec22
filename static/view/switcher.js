// Ctrl+K: goes to any room or person by a few letters.

import { isGuest, people, roomLists } from '../store/select.js';
import { dialog } from './dialogs.js';
import { avatar, h, icon, replace, setAttributes } from './dom.js';

const MOST = 12;

export function openSwitcher(client, shell) {
  const list = h('ul', { class: 'switch-list', id: 'switch-list', role: 'listbox', 'aria-label': 'Rooms and people' });
  const input = h('input', { type: 'text', role: 'combobox', 'aria-controls': 'switch-list', 'aria-expanded': 'true', 'aria-autocomplete': 'list', autocomplete: 'off',
    'aria-label': 'Find a room or person', placeholder: 'Where to?', on: { input: () => draw(0), keydown: (event) => key(event) } });
  let found = [];
  let chosen = 0;
  const draw = (index) => {
    found = candidates(client.state, input.value.trim().toLowerCase());
    chosen = Math.max(0, Math.min(index, found.length - 1));
    replace(list, found.map(({ title, mark, unread, ...item }, at) => h('li', {
      role: 'option', id: `switch-${at}`, class: 'switch-option', 'aria-selected': String(at === chosen), on: { click: () => take(item) },
    }, mark, h('span', { class: 'room-name' }, title), unread > 0 && h('span', { class: 'unread' }, String(unread)))));
    if (!found.length) replace(list, h('li', { class: 'switch-none' }, 'Nothing by that name'));
    setAttributes(input, { 'aria-activedescendant': found.length ? `switch-${chosen}` : null });
    list.children[chosen]?.scrollIntoView({ block: 'nearest' });
  };
  const take = async ({ act, search }) => {
    const words = input.value.trim();
    opened.close();
    if (search) {
      client.searched = words;
      shell.go('/search');
      return;
    }
    try {
      shell.go(`/rooms/${await act(client)}`);
      document.getElementById('composer')?.focus();
    } catch (error) {
      client.notify(error.message);
    }
  };
  const key = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      draw((chosen + step + found.length) % Math.max(1, found.length));
    } else if (event.key === 'Enter' && !event.isComposing) {
      event.preventDefault();
      if (found[chosen]) take(found[chosen]);
    }
  };
  const opened = dialog('Go to', [input, list], { className: 'switcher' });
  draw(0);
}

function candidates(state, wanted) {
  const { rooms, directs } = roomLists(state);
  const open = [...rooms, ...directs].map(({ room, title }) => ({
    title, unread: room.unread,
    mark: icon(room.kind === 'direct' ? 'people' : room.kind === 'closed' ? 'lock' : 'hash'),
    act: async () => room.id,
  }));
  const talking = new Set(directs.flatMap(({ room }) => (room.members?.length === 2 ? room.members.map(({ id }) => id) : [])));
  const strangers = isGuest(state) ? [] : people(state).filter(({ id }) => id !== state.me.id && !talking.has(id)).map((user) => ({
    title: user.name, unread: 0, mark: avatar(user, 'tiny'), act: async (client) => (await client.direct(user.id)).id,
  }));
  const places = [...open, ...strangers]
    .map((item) => ({ ...item, at: item.title.toLowerCase().indexOf(wanted) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => (wanted ? a.at - b.at : 0) || (b.unread > 0) - (a.unread > 0))
    .slice(0, MOST);
  return wanted ? [...places, { title: `Find “${wanted}” in messages`, unread: 0, mark: icon('search'), search: true }] : places;
}
