// Forms about assistants and money in the words of the server: numbers, prices in micro-dollars, and only what was changed. Pure.

const PRICES = ['prompt_price', 'completion_price'];
const COUNTS = ['context_tokens', 'output_tokens'];

/** Micro-dollars as people write dollars, and back: null where nothing is written. */
export const asDollars = (micros) => (micros === null || micros === undefined ? '' : String(micros / 1_000_000));
export const asMicros = (text) => (String(text).trim() === '' ? null : Math.round(Number(text) * 1_000_000));
export const asCount = (text) => (String(text).trim() === '' ? null : Math.round(Number(text)));

/** What the form of an assistant shows; of a new one what is usual is left to the server. */
export function fieldsOf(assistant) {
  const { name = '', model = '', base_url = '', instructions = '', context_tokens = '', output_tokens = '', temperature = null, tools = [], summarises = false } = assistant ?? {};
  return {
    name, model, base_url, instructions, tools, summarises,
    context_tokens: String(context_tokens), output_tokens: String(output_tokens),
    prompt_price: asDollars(assistant?.prompt_price ?? 0), completion_price: asDollars(assistant?.completion_price ?? 0),
    temperature: temperature === null ? '' : String(temperature),
  };
}

/** The request: everything that was said of a new one, of one that is there only what differs. `values.tools` may be several. */
export function wishOf(values, assistant) {
  const given = { summarises: values.summarises === 'on', tools: [values.tools ?? []].flat() };
  for (const key of ['name', 'model', 'base_url']) given[key] = values[key].trim();
  given.instructions = values.instructions.trim();
  for (const key of COUNTS) if (asCount(values[key]) !== null) given[key] = asCount(values[key]);
  for (const key of PRICES) given[key] = asMicros(values[key]) ?? 0;
  given.temperature = values.temperature.trim() === '' ? null : Number(values.temperature);
  const before = assistant ? { ...assistant, temperature: assistant.temperature ?? null } : { instructions: '', temperature: null, tools: [], summarises: false };
  const same = (key) => JSON.stringify(key === 'tools' ? [...(before[key] ?? [])].sort() : before[key]) === JSON.stringify(key === 'tools' ? [...given[key]].sort() : given[key]);
  const wish = Object.fromEntries(Object.entries(given).filter(([key]) => !same(key)));
  if (values.forget_key === 'on') wish.api_key = null;
  else if (values.api_key) wish.api_key = values.api_key;
  return wish;
}
