// The devices one is signed in on: each with what it is, ending one or all others, and a link to sign in on another.

import { api } from '../api.js';
import { nameOfDevice, wayOf } from '../store/sessions.js';
import { ask, dialog } from './dialogs.js';
import { h, icon, reconcile, setText } from './dom.js';
import { LinkCard } from './qr.js';
import { momentOf } from './text.js';

export class Devices {
  #cache = new Map();

  constructor(client) {
    this.client = client;
    this.list = h('ul', { class: 'devices', id: 'devices' });
    this.trouble = h('p', { class: 'form-error', role: 'alert' });
    this.others = h('button', { type: 'button', class: 'button small', id: 'end-others', hidden: true, on: { click: () => this.#endOthers() } }, 'Sign out the other devices…');
    this.another = h('button', { type: 'button', class: 'button small', id: 'another-device', on: { click: () => openTransfer(client) } }, 'Sign in on another device…');
    this.el = h('section', { class: 'panel' }, h('h2', {}, 'Where you are signed in'), this.list, this.trouble,
      h('div', { class: 'button-row' }, this.another, this.others));
  }

  async opened() {
    // What was known may be of an earlier visit to the page.
    await this.#try(async () => this.client.store.dispatch({ type: 'sessions/listed', sessions: await api.all('/sessions', 'sessions') }));
  }

  update({ sessions }) {
    if (!sessions || this.shown === sessions) return;
    this.shown = sessions;
    reconcile(this.list, this.#cache, sessions.map((session) => ({ key: session.id, session })), ({ session }) => this.#make(session), (element, { session }) => this.#describe(element, session));
    this.others.hidden = !sessions.some(({ current }) => !current);
  }

  #make(session) {
    const { id, device, current } = session;
    const name = nameOfDevice(device);
    return h('li', { class: 'device', dataset: { sessionId: id } }, icon('device'),
      h('span', { class: 'person-text' }, h('span', { class: 'person-name', title: device }, name, current && h('span', { class: 'tag' }, 'This device')),
        h('span', { class: 'person-state' }), h('span', { class: 'person-state device-active' })),
      !current && h('button', { type: 'button', class: 'button small', 'aria-label': `Sign out ${name}`, on: { click: (event) => this.#end(event.currentTarget, id) } }, 'Sign out'));
  }

  #describe(element, { address, created_at, last_active_at, current, ...session }) {
    const [begun, active] = element.querySelectorAll('.person-state');
    setText(begun, `${['Signed in', wayOf(session)].filter(Boolean).join(' ')}, ${momentOf(created_at)}`);
    setText(active, [address && `Address ${address}`, !current && last_active_at && `last active ${momentOf(last_active_at)}`].filter(Boolean).join(' · '));
  }

  #endOthers() {
    ask('Sign out the other devices?', 'They stop hearing anything at once. You stay signed in here.', 'Sign them out', () => this.#try(async () => {
      await api.delete('/sessions');
      this.client.store.dispatch({ type: 'sessions/listed', sessions: this.client.state.sessions.filter(({ current }) => current) });
      this.another.focus();
    }));
  }

  #end(button, id) {
    button.disabled = true;
    return this.#try(async () => {
      try {
        await api.delete(`/sessions/${id}`);
      } catch (error) {
        // One that ended meanwhile is what was wanted.
        if (error.code !== 'not_found') throw error;
      }
      this.client.store.dispatch({ type: 'sessions/listed', sessions: this.client.state.sessions.filter((one) => one.id !== id) });
      this.another.focus();
    }).finally(() => { button.disabled = false; });
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

/** Shows a link and its code, and says when somebody came in by it. */
function openTransfer(client) {
  const card = new LinkCard({
    make: () => api.post('/transfers', {}),
    hint: 'Whoever has the link comes in as you. Show it to nobody but your own device.',
  });
  let before = client.state.begun;
  const unsubscribe = client.store.subscribe(({ begun }) => {
    if (begun === before) return;
    before = begun;
    if (begun.begun_by === 'transfer') card.used(`${nameOfDevice(begun.device)} is signed in as you now. The link is used up.`);
  });
  dialog('Sign in on another device', [
    h('p', { class: 'dialog-lead' }, 'Point the other device’s camera at the code, or open the link there. It works once.'), card.el,
  ], { id: 'transfer', onClose: () => { unsubscribe(); card.close(); } });
  card.renew();
}
