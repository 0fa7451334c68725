// Write a Roost plugin in JavaScript: this file turns plain objects into what the contract in `wit/` asks for.
// `roost.d.ts` describes every function and field.

import { write } from 'roost:device/log@1.0.0';
import { toInstant, toLocal } from 'roost:device/calendar@1.0.0';
import { times } from 'roost:device/sun@1.0.0';

const shown = (value) => (typeof value === 'string' ? value : value instanceof Error ? String(value) : JSON.stringify(value));
const logger = (level) => (...values) => write(level, values.map(shown).join(' '));
// QuickJS has neither `console` nor `TextEncoder`.
globalThis.console = {
  trace: logger('trace'),
  debug: logger('debug'),
  log: logger('info'),
  info: logger('info'),
  warn: logger('warn'),
  error: logger('error'),
};

export function utf8(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (letter) => letter.charCodeAt(0));
}

export const seconds = (count) => Math.round(count * 1000);
export const minutes = (count) => seconds(count * 60);
export const hours = (count) => minutes(count * 60);

export const calendar = {
  toLocal: (date) => toLocal(date.getTime()),
  toInstant: (local) => new Date(Number(toInstant(local))),
};

export const sun = {
  times: (event, date) => times(event, date).map((instant) => new Date(Number(instant))),
};

export function plugin({ jobs, tasks = {} }) {
  return {
    schedule: {
      scheduleJobs: (ctx) => sentence(() => list(jobs(device(ctx)), 'the plan').map(job)),
    },
    tasks: {
      listTasks: () => Object.entries(tasks).map(([name, { summary, args }]) => ({
        name,
        summary,
        argsSchema: args === undefined ? undefined : JSON.stringify(args),
      })),
      runTask: (ctx, { name, args }, due) => sentence(() => {
        if (!Object.hasOwn(tasks, name)) throw `there is no task \`${name}\``;
        return reply(tasks[name].run(device(ctx), JSON.parse(args), new Date(Number(due))));
      }),
    },
  };
}

// Throws what the host shows to users: text.
function sentence(call) {
  try {
    return call();
  } catch (error) {
    if (typeof error === 'string') throw error;
    if (error instanceof Error) console.error(`${error}\n${error.stack ?? ''}`);
    throw error instanceof Error ? String(error) : shown(error);
  }
}

function device({ plugin, device: name, config, timeZone, location, now, until }) {
  return {
    plugin,
    name,
    config: JSON.parse(config),
    timeZone,
    location,
    now: new Date(Number(now)),
    until: new Date(Number(until)),
    topic: (end) => `${plugin}/${name}/${end}`,
  };
}

// What a field must be: the words for it, and a test.
const text = ['text', (value) => typeof value === 'string'];
const flag = ['true or false', (value) => typeof value === 'boolean'];
const whole = ['a whole number', Number.isInteger];
const number = ['a number', Number.isFinite];
const object = ['an object', (value) => typeof value === 'object' && value !== null && !Array.isArray(value)];
const array = ['an array', Array.isArray];
const bytes = ['text or a `Uint8Array`', (value) => typeof value === 'string' || value instanceof Uint8Array];
const matcher = ['`"any"` or an object', (value) => value === 'any' || object[1](value)];
const overlaps = ['`"replace"` or an object', (value) => value === 'replace' || object[1](value)];
const anything = ['JSON', (value) => value !== undefined];
const needed = (kind) => ({ kind, needed: true });
const optional = (kind, value) => ({ kind, value });

const JOB = {
  id: needed(text), trigger: needed(text), label: optional(text), steps: optional(array), task: optional(text),
  args: optional(anything), policy: optional(object),
};
const STEP = {
  topic: needed(text), payload: optional(bytes, ''), after_ms: optional(whole, 0), qos: optional(whole, 1),
  retain: optional(flag, false), once: optional(flag, false), properties: optional(object), confirm: optional(object),
};
const PROPERTIES = {
  expiry_ms: optional(whole), content_type: optional(text), response_topic: optional(text), user: optional(array),
};
const CONFIRM = {
  topic: needed(text), matches: needed(matcher), within_ms: needed(whole), already: optional(flag, false),
};
const POLICY = {
  grace_ms: optional(whole), jitter_ms: optional(whole), priority: optional(whole), attempts: optional(whole),
  give_up_after_ms: optional(whole), backoff_ms: optional(whole), run_all: optional(flag, false),
  latest_of_group: optional(text), overlap: optional(overlaps), needs: optional(text),
};
const REPLY = { steps: optional(array, []), replan: optional(flag, false), note: optional(text) };

// Returns the fields of an object, with their defaults. `what` names the object in errors.
function read(value, fields, what) {
  if (!object[1](value)) throw `${what} must be an object, and is ${shown(value)}`;
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(fields, key)) {
      throw `${what} has no field \`${key}\`; its fields are ${Object.keys(fields).join(', ')}`;
    }
  }
  const result = {};
  for (const [key, { kind: [words, fits], needed, value: otherwise }] of Object.entries(fields)) {
    const given = value[key] ?? undefined;
    if (given === undefined && needed) throw `${what} needs \`${key}\`: ${words}`;
    if (given !== undefined && !fits(given)) throw `\`${key}\` of ${what} must be ${words}, and is ${shown(given)}`;
    result[key] = given ?? otherwise;
  }
  return result;
}

function list(value, what) {
  if (!Array.isArray(value)) throw `${what} must be an array, and is ${shown(value)}`;
  return value;
}

function job(value) {
  const what = `job \`${value?.id ?? '?'}\``;
  const { id, label, trigger, steps, task, args, policy } = read(value, JOB, what);
  if ((steps === undefined) === (task === undefined)) throw `${what} needs either \`steps\` or \`task\``;
  const action = task === undefined
    ? { tag: 'steps', val: readSteps(steps, what) }
    : { tag: 'task', val: { name: task, args: JSON.stringify(args ?? null) } };
  return {
    id, label, action,
    trigger: { tag: 'text', val: trigger },
    policy: policy && readPolicy(policy, `the policy of ${what}`),
  };
}

function reply(value) {
  const { steps, replan, note } = read(value, REPLY, 'the reply');
  return { steps: readSteps(steps, 'the reply'), replan, note };
}

function readSteps(steps, of) {
  return steps.map((value, index) => {
    const what = `step ${index + 1} of ${of}`;
    const { topic, payload, after_ms, qos, retain, once, properties, confirm } = read(value, STEP, what);
    const body = typeof payload === 'string' ? utf8(payload) : payload;
    const message = { topic, payload: body, qos, retain, properties: properties && readProperties(properties, what) };
    return { afterMs: after_ms, message, once, confirm: confirm && readConfirm(confirm, what) };
  });
}

function readProperties(value, of) {
  const fields = read(value, PROPERTIES, `\`properties\` of ${of}`);
  return {
    expiryMs: fields.expiry_ms, contentType: fields.content_type, responseTopic: fields.response_topic, user: fields.user,
  };
}

function readConfirm(value, of) {
  const { topic, matches, within_ms, already } = read(value, CONFIRM, `\`confirm\` of ${of}`);
  return { topic, matches: readMatches(matches, of), withinMs: within_ms, already };
}

function readMatches(value, of) {
  if (value === 'any') return { tag: 'any' };
  const what = `\`matches\` of ${of}`;
  const fields = { text: optional(bytes), json: optional(object), json_range: optional(object) };
  const { text: exact, json, json_range } = read(value, fields, what);
  if ([exact, json, json_range].filter((one) => one !== undefined).length !== 1) {
    throw `${what} needs one of \`text\`, \`json\` and \`json_range\``;
  }
  if (exact !== undefined) return { tag: 'bytes', val: typeof exact === 'string' ? utf8(exact) : exact };
  if (json !== undefined) {
    const { pointer, value: expected } = read(json, { pointer: optional(text, ''), value: needed(anything) }, what);
    return { tag: 'json', val: { pointer, value: JSON.stringify(expected) } };
  }
  return {
    tag: 'json-range',
    val: read(json_range, { pointer: optional(text, ''), min: needed(number), max: needed(number) }, what),
  };
}

function readPolicy(value, what) {
  const policy = read(value, POLICY, what);
  if (policy.run_all && policy.latest_of_group !== undefined) {
    throw `${what} needs either \`run_all\` or \`latest_of_group\``;
  }
  const group = policy.latest_of_group === undefined ? undefined : { tag: 'latest-of-group', val: policy.latest_of_group };
  const { attempts, give_up_after_ms, backoff_ms } = policy;
  return {
    misfire: policy.run_all ? { tag: 'run-all' } : group,
    graceMs: policy.grace_ms,
    overlap: policy.overlap && readOverlap(policy.overlap, `\`overlap\` of ${what}`),
    jitterMs: policy.jitter_ms,
    priority: policy.priority,
    retry: { attempts, giveUpAfterMs: give_up_after_ms, backoffMs: backoff_ms },
    needs: policy.needs,
  };
}

function readOverlap(value, what) {
  if (value === 'replace') return { tag: 'replace' };
  const { queue, allow } = read(value, { queue: optional(whole), allow: optional(whole) }, what);
  if ((queue === undefined) === (allow === undefined)) throw `${what} needs either \`queue\` or \`allow\``;
  return queue === undefined ? { tag: 'allow', val: allow } : { tag: 'queue', val: queue };
}
