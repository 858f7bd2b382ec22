// Bots, for administrators: making one, its key shown once, and how to post with it.

import { api } from '../api.js';
import { isAdmin, roomLists } from '../store/select.js';
import { ask } from './dialogs.js';
import { avatar, h, replace } from './dom.js';
import { field, form } from './form.js';
import { copyButton } from './people.js';

export class BotsPage {
  constructor(client) {
    this.client = client;
    this.key = h('section', { class: 'panel highlighted', hidden: true, tabIndex: -1, 'aria-labelledby': 'bot-key-title' });
    this.list = h('ul', { class: 'people' });
    this.maker = h('section', { class: 'panel' }, h('h2', {}, 'New bot'),
      h('p', {}, 'A bot posts and reads over the REST API with a key of its own.'),
      form({
        action: 'Make the bot',
        className: 'inline',
        fields: [field({ name: 'name', label: 'Name', required: true, maxlength: 100, autocomplete: 'off' })],
        submit: async ({ name }, element) => {
          const bot = await api.make('/bots', { name: name.trim() });
          element.reset();
          this.#show(bot);
          await this.#load();
        },
      }));
    this.el = h('div', { class: 'scroll-page' }, this.key, this.maker, this.list);
  }

  title() { return 'Bots'; }

  opened() {
    if (isAdmin(this.client.state)) this.#load();
    else replace(this.el, h('p', { class: 'empty' }, 'Only administrators manage bots.'));
  }

  async #load() {
    try {
      const bots = await api.all('/bots', 'bots');
      replace(this.list, bots.map((bot) => h('li', { class: 'person', dataset: { userId: bot.id } },
        avatar(bot), h('span', { class: 'person-text' }, h('span', { class: 'person-name' }, bot.name),
          h('span', { class: 'person-state' }, `since ${new Date(bot.created_at).toLocaleDateString()}`)),
        h('button', { type: 'button', class: 'button small', on: { click: () => this.#rotate(bot) } }, 'New key…'))));
    } catch (error) {
      this.client.notify(error.message);
    }
  }

  #rotate(bot) {
    ask(`A new key for ${bot.name}?`, 'The old key stops working at once.', 'Make a new key', async () => {
      try {
        this.#show({ ...bot, ...(await api.make(`/bots/${bot.id}/key`)) });
      } catch (error) {
        this.client.notify(error.message);
      }
    });
  }

  #show({ name, key }) {
    // Asked for a second time it is the same key, and nobody knows it any more.
    if (!key) {
      this.client.notify(`${name} is there, but its key was lost on the way. Make it a new key.`);
      return;
    }
    const room = roomLists(this.client.state).rooms[0]?.room.id ?? '<room id>';
    const example = [
      `curl ${location.origin}/api/v1/rooms/${room}/messages \\`,
      `  -H 'Authorization: Bearer ${key}' \\`,
      "  -H 'Content-Type: application/json' \\",
      `  -d '{"body": "Hello from ${name.replace(/[^\p{L}\p{N} _-]/gu, '')}"}'`,
    ].join('\n');
    const value = h('input', { id: 'bot-key', type: 'text', readOnly: true, value: key, 'aria-label': `Key of ${name}`, on: { focus: () => value.select() } });
    this.key.hidden = false;
    replace(this.key, h('h2', { id: 'bot-key-title' }, `The key of ${name}`),
      h('p', {}, 'It is shown this one time. Keep it like a password.'),
      h('div', { class: 'copy-row' }, value, copyButton(() => key)),
      h('h3', {}, 'Post a message with it'),
      h('div', { class: 'copy-row top' }, h('pre', { class: 'code', id: 'bot-example', tabIndex: 0 }, example), copyButton(() => example)));
    this.key.focus();
  }
}
