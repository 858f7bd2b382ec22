// One's own name and devices, and for administrators the name of the account.

import { api } from '../api.js';
import { isAdmin } from '../store/select.js';
import { ask } from './dialogs.js';
import { h, icon, replace } from './dom.js';
import { field, form } from './form.js';
import { momentOf } from './text.js';

export class SettingsPage {
  constructor(client) {
    this.client = client;
    const { state } = client;
    this.devices = h('ul', { class: 'devices', id: 'devices' });
    this.others = h('button', { type: 'button', class: 'button small', id: 'end-others', hidden: true, on: { click: () => this.#endOthers() } }, 'Sign out the other devices…');
    this.el = h('div', { class: 'scroll-page' },
      h('section', { class: 'panel', id: 'profile' }, h('h2', {}, 'You'),
        this.#nameForm('Your name', 'name', state.me.name, async (name) => this.#learn({ type: 'user/learned', user: pick(await api.patch('/me', { name })) })),
        h('p', {}, `You sign in as ${state.me.email ?? '…'}.`)),
      isAdmin(state) && h('section', { class: 'panel', id: 'account' }, h('h2', {}, 'Team'),
        this.#nameForm('Name of your team', 'organization', state.account.name ?? '', async (name) => this.#learn({ type: 'account/learned', account: await api.patch('/account', { name }) }))),
      h('section', { class: 'panel' }, h('h2', {}, 'Where you are signed in'), this.devices, this.others));
  }

  title() { return 'Settings'; }

  opened() {
    this.#load();
  }

  #nameForm(label, autocomplete, value, save) {
    const done = h('p', { class: 'saved', role: 'status' });
    const element = form({
      action: 'Save',
      className: 'inline',
      fields: [field({ name: 'name', label, value, required: true, maxlength: 100, autocomplete })],
      submit: async ({ name }) => {
        replace(done);
        await save(name.trim());
        replace(done, 'Saved.');
      },
    });
    return [element, done];
  }

  #learn(action) {
    this.client.store.dispatch(action);
  }

  async #load() {
    try {
      const { sessions } = await api.get('/sessions');
      this.sessions = sessions.sort((a, b) => b.current - a.current || b.last_active_at.localeCompare(a.last_active_at));
      replace(this.devices, this.sessions.map((session) => this.#device(session)));
      this.others.hidden = sessions.length < 2;
    } catch (error) {
      this.client.notify(error.message);
    }
  }

  #device(session) {
    const { id, device, created_at, last_active_at, current } = session;
    return h('li', { class: 'device', dataset: { sessionId: id } }, icon('device'),
      h('span', { class: 'person-text' }, h('span', { class: 'person-name' }, nameOfDevice(device)),
        h('span', { class: 'person-state' }, current ? `This device, signed in ${momentOf(created_at)}` : `Last active ${momentOf(last_active_at)}`)),
      !current && h('button', { type: 'button', class: 'button small', 'aria-label': `Sign out ${nameOfDevice(device)}`, on: { click: () => this.#end([session]) } }, 'Sign out'));
  }

  #endOthers() {
    const others = this.sessions.filter(({ current }) => !current);
    ask('Sign out the other devices?', 'They stop hearing anything at once. You stay signed in here.', 'Sign them out', () => this.#end(others));
  }

  async #end(sessions) {
    try {
      // One that ended meanwhile is what was wanted.
      for (const { id } of sessions) await api.delete(`/sessions/${id}`).catch((error) => { if (error.code !== 'not_found') throw error; });
    } catch (error) {
      this.client.notify(error.message);
    }
    await this.#load();
  }
}

const pick = ({ id, name, role }) => ({ id, name, role });

const BROWSERS = [['Edg', 'Edge'], ['OPR', 'Opera'], ['Firefox', 'Firefox'], ['Chrome', 'Chrome'], ['Safari', 'Safari']];
const SYSTEMS = [['Android', 'Android'], ['iPhone', 'iPhone'], ['iPad', 'iPad'], ['Windows', 'Windows'], ['Mac OS', 'macOS'], ['CrOS', 'ChromeOS'], ['Linux', 'Linux']];

/** What a person would call the browser behind a `User-Agent`; other programs keep the name they gave themselves. */
function nameOfDevice(agent) {
  const known = (list) => list.find(([mark]) => agent.includes(mark))?.[1];
  const browser = known(BROWSERS);
  const system = known(SYSTEMS);
  if (browser && system) return `${browser} on ${system}`;
  return browser ?? (agent.trim().slice(0, 60) || 'Unknown device');
}
