// Bots, for administrators: making one, its keys with their ages, a new one shown once, and how to post with it.

import { api } from '../api.js';
import { seconds } from '../store/invites.js';
import { isAdmin, roomLists } from '../store/select.js';
import { copyButton, copyRow } from './copying.js';
import { ask, dialog } from './dialogs.js';
import { avatar, h, replace } from './dom.js';
import { choice, field, form } from './form.js';
import { durationOf, momentOf } from './text.js';

const EXPIRIES = [['', 'never'], ['2592000', 'in 30 days'], ['7776000', 'in 90 days'], ['31536000', 'in a year']];
const OVERLAPS = [['0', 'at once'], ['3600', 'in an hour'], ['86400', 'in a day'], ['604800', 'in 7 days']];

export class BotsPage {
  constructor(client) {
    this.client = client;
    this.key = h('section', { class: 'panel highlighted', hidden: true, tabIndex: -1, 'aria-labelledby': 'bot-key-title' });
    this.list = h('ul', { class: 'bots', id: 'bots' });
    this.maker = h('section', { class: 'panel' }, h('h2', {}, 'New bot'),
      h('p', {}, 'A bot posts and reads over the REST API with a key of its own.'),
      form({
        action: 'Make the bot',
        className: 'pair',
        fields: [
          field({ name: 'name', label: 'Name', required: true, maxlength: 100, autocomplete: 'off' }),
          choice({ name: 'expires_in_s', label: 'Its key ends', options: EXPIRIES, value: '' }),
        ],
        submit: async ({ name, expires_in_s }, element) => {
          const bot = await api.make('/bots', { name: name.trim(), expires_in_s: seconds(expires_in_s) });
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
      replace(this.list, bots.map((bot) => this.#bot(bot)));
    } catch (error) {
      this.client.notify(error.message);
    }
  }

  #bot(bot) {
    const { keys = [] } = bot;
    return h('li', { class: 'panel bot', dataset: { userId: bot.id } },
      h('div', { class: 'person-head' }, avatar(bot), h('span', { class: 'person-text' },
        h('h2', {}, bot.name), h('span', { class: 'person-state' }, `since ${momentOf(bot.created_at)}`))),
      keys.length ? h('ul', { class: 'keys' }, keys.map((key) => this.#line(bot, key))) : h('p', {}, 'It has no key that works.'),
      h('div', { class: 'button-row' },
        h('button', { type: 'button', class: 'button small rotate', 'aria-label': `New key for ${bot.name}`, on: { click: () => this.#rotate(bot) } }, 'New key…'),
        h('button', { type: 'button', class: 'button small danger-text remove', 'aria-label': `Remove ${bot.name}`, on: { click: () => this.#remove(bot) } }, 'Remove the bot…')));
  }

  #line(bot, { id, created_at, expires_at }) {
    const now = api.now();
    const over = expires_at && Date.parse(expires_at) <= now;
    const age = now - Date.parse(created_at);
    return h('li', { class: 'key', dataset: { keyId: id } },
      h('span', { class: 'person-text' },
        h('span', { class: 'key-name' }, `Key ${id}`, over && h('span', { class: 'tag over' }, 'expired')),
        h('span', { class: 'person-state' }, [
          age < 60_000 ? 'made just now' : `${durationOf(age)} old`,
          expires_at ? `${over ? 'ended' : 'ends'} ${momentOf(expires_at)}` : 'never ends',
        ].join(' · '))),
      h('button', { type: 'button', class: 'button small revoke', 'aria-label': `Revoke key ${id} of ${bot.name}`, on: { click: () => this.#revoke(bot, id) } }, 'Revoke…'));
  }

  #rotate(bot) {
    const content = form({
      action: 'Make a new key',
      fields: [
        choice({ name: 'overlap_s', label: 'The keys it has end', options: OVERLAPS, value: '0', hint: 'Until then both work, so that the bot can be given the new one without a pause.' }),
        choice({ name: 'expires_in_s', label: 'The new key ends', options: EXPIRIES, value: '' }),
      ],
      submit: async ({ overlap_s, expires_in_s }) => {
        const made = await api.make(`/bots/${bot.id}/key`, { overlap_s: Number(overlap_s), expires_in_s: seconds(expires_in_s) });
        opened.close();
        this.#show({ ...bot, ...made });
        await this.#load();
      },
    });
    const opened = dialog(`A new key for ${bot.name}`, content, { id: 'rotate' });
    content.querySelector('select').focus();
  }

  #revoke(bot, id) {
    ask(`Revoke key ${id} of ${bot.name}?`, 'Whatever uses it is refused at once, and its connections are closed.', 'Revoke the key', () => this.#end(`/bots/${bot.id}/keys/${id}`, bot.id));
  }

  #remove(bot) {
    ask(`Remove ${bot.name}?`, 'All its keys stop working at once. What it wrote stays.', 'Remove the bot', () => this.#end(`/bots/${bot.id}`, bot.id));
  }

  async #end(path, botId) {
    try {
      await api.delete(path);
    } catch (error) {
      this.client.notify(error.message);
    }
    await this.#load();
    (this.list.querySelector(`[data-user-id="${botId}"] button`) ?? this.maker.querySelector('input')).focus();
  }

  #show({ name, key }) {
    // Asked for a second time it is the same key, and nobody knows it any more.
    if (!key) {
      this.client.notify(`${name} is there, but its key was lost on the way. Make it a new key.`);
      return;
    }
    // In a closed room it is no member yet.
    const room = roomLists(this.client.state).rooms.find(({ room }) => room.kind === 'open')?.room.id ?? '<room id>';
    const example = [
      `curl ${location.origin}/api/v1/rooms/${room}/messages \\`,
      `  -H 'Authorization: Bearer ${key}' \\`,
      "  -H 'Content-Type: application/json' \\",
      `  -d '{"body": "Hello from ${name.replace(/[^\p{L}\p{N} _-]/gu, '')}"}'`,
    ].join('\n');
    this.key.hidden = false;
    replace(this.key, h('h2', { id: 'bot-key-title' }, `The key of ${name}`),
      h('p', {}, 'It is shown this one time. Keep it like a password.'),
      copyRow(key, `Key of ${name}`, 'bot-key'),
      h('h3', {}, 'Post a message with it'),
      h('div', { class: 'copy-row top' }, h('pre', { class: 'code', id: 'bot-example', tabIndex: 0 }, example), copyButton(() => example)));
    this.key.focus();
  }
}
