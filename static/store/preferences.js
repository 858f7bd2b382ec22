// What one wants assistants to go by: as the server has it, and as it is being written here. Pure.

/** `version` is null until the server was asked. `draft`: what isn't synced yet; `sent`: what is on its way; `trouble`: why it isn't there. */
export const initialPreferences = () => ({ version: null, settings: {}, draft: null, sent: null, trouble: null });

/** In whichever order the server writes it. */
const ordered = (key, value) => (value && typeof value === 'object' && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value);
const same = (one, other) => JSON.stringify(one, ordered) === JSON.stringify(other, ordered);
const change = (state, next) => ({ ...state, preferences: { ...state.preferences, ...next } });

/** Whether there is something the server doesn't have. */
export const isPending = ({ preferences: { draft } }) => draft !== null;

const OVERTAKEN = 'Your settings were changed on another device meanwhile. Those stand now.';

/** What the server has: of this client, or of another, and then what was written here on top of what is no more is given up. */
export function onSynced(state, { version, settings }) {
  const known = state.preferences;
  if (known.version !== null && (version < known.version || (version === known.version && same(settings, known.settings) && known.draft === null))) return state;
  const { draft, sent } = known;
  if (draft === null || same(draft, settings)) return change(state, { version, settings, draft: null, trouble: null });
  const overtaken = known.version !== null && version > known.version && !(sent && same(sent, settings));
  return change(state, overtaken ? { version, settings, draft: null, trouble: OVERTAKEN } : { version, settings });
}

/** The last value wins. */
export const onDrafted = (state, { settings }) => {
  const { preferences } = state;
  return change(state, { draft: preferences.version !== null && preferences.sent === null && same(settings, preferences.settings) ? null : settings, trouble: null });
};

export const onSyncing = (state, { sent }) => change(state, { sent });

/** Another device was faster: what it wrote stands, and nothing is put over it unseen. */
export function onSyncRefused(state, { error, current }) {
  if (!current) return change(state, { sent: null, trouble: error.message });
  return change(state, {
    version: current.version, settings: current.settings, draft: null, sent: null, trouble: OVERTAKEN,
  });
}
