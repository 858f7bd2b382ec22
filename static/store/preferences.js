// What one wants assistants to go by: as the server has it, and as it is being written here. Pure.

/** `version` is null until the server was asked. `draft`: what isn't synced yet; `syncing`: what is on its way; `trouble`: why it isn't there. */
export const initialPreferences = () => ({ version: null, settings: {}, draft: null, syncing: false, trouble: null });

const same = (one, other) => JSON.stringify(Object.entries(one).sort()) === JSON.stringify(Object.entries(other).sort());
const change = (state, next) => ({ ...state, preferences: { ...state.preferences, ...next } });

/** Whether there is something the server doesn't have. */
export const isPending = ({ preferences: { draft } }) => draft !== null;

/** What the server has. What is being written here stays: whether it fits that version the server says. */
export function onSynced(state, { version, settings }) {
  const known = state.preferences;
  if (known.version !== null && version < known.version) return state;
  if (version === known.version && same(settings, known.settings) && !(known.draft && same(known.draft, settings))) return state;
  return change(state, { version, settings, draft: known.draft && same(known.draft, settings) ? null : known.draft, trouble: known.draft ? known.trouble : null });
}

/** The last value wins. */
export const onDrafted = (state, { settings }) => {
  const { preferences } = state;
  return change(state, { draft: preferences.version !== null && !preferences.syncing && same(settings, preferences.settings) ? null : settings, trouble: null });
};

export const onSyncing = (state, { syncing }) => change(state, { syncing });

/** Somebody else was faster, on another device: theirs stands, and what was written here is not put over it. */
export function onSyncRefused(state, { error, current }) {
  if (!current) return change(state, { syncing: false, trouble: error.message });
  return change(state, {
    version: current.version, settings: current.settings, draft: null, syncing: false,
    trouble: 'Your settings were changed on another device meanwhile. Those stand now.',
  });
}
