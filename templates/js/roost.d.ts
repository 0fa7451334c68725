// Lengths of time are whole milliseconds, with names that end in `_ms`. The names of fields are those of Roost's HTTP
// API, and an optional field that is absent has the default that `wit/` states.

/** The device that a call is about. */
export interface Device<Config> {
  plugin: string;
  name: string;
  /** `[config]` of the settings file, with the device's own `config` over it. */
  config: Config;
  /** An IANA name, such as `Europe/London`. */
  timeZone: string;
  location?: { latitude: number; longitude: number };
  /** The time of this call. */
  now: Date;
  /** How far ahead a plan must reach, if it lists times of its own. */
  until: Date;
  /** Returns a topic of the device: `<plugin>/<device>/<end>`. */
  topic(end: string): string;
}

/** What a device does, and when. It has either `steps` or a `task`. */
export interface Job {
  /** Unique within the device, and the same from plan to plan. */
  id: string;
  /** `sunset -20m not-after 22:00`, `daily 05:30 on MON-FRI`, `cron 0 9-18 * * *`, `every 15m`, `at <ISO time>`, …: `roost next` tries one. */
  trigger: string;
  label?: string;
  steps?: Step[];
  /** The name of one of the plugin's tasks, which is asked for the steps when the job is due. */
  task?: string;
  args?: Json;
  policy?: Policy;
}

/** One message. Once the first step of a run is sent, the others are sent too. */
export interface Step {
  topic: string;
  payload?: string | Uint8Array;
  /** How long after the start of the run. */
  after_ms?: number;
  qos?: 0 | 1 | 2;
  retain?: boolean;
  /** Sent at most once, even if it may not have arrived. */
  once?: boolean;
  properties?: {
    expiry_ms?: number;
    content_type?: string;
    response_topic?: string;
    user?: [string, string][];
  };
  /** The device's report that the step waits for. */
  confirm?: { topic: string; matches: Matches; within_ms: number; already?: boolean };
}

export type Matches =
  | 'any'
  | { text: string | Uint8Array }
  | { json: { pointer?: string; value: Json } }
  | { json_range: { pointer?: string; min: number; max: number } };

/** How a job's runs are treated. */
export interface Policy {
  /** How late a run may start. */
  grace_ms?: number;
  jitter_ms?: number;
  priority?: number;
  attempts?: number;
  give_up_after_ms?: number;
  backoff_ms?: number;
  /** Catch up all missed runs, not only the newest. */
  run_all?: boolean;
  /** Only the newest run of all jobs of this group counts. */
  latest_of_group?: string;
  overlap?: 'replace' | { queue: number } | { allow: number };
  /** A resource that a run holds. */
  needs?: string;
}

/** The answer of a task. Without steps, `note` says why there is nothing to do. */
export interface Reply {
  steps?: Step[];
  note?: string;
  /** Ask for a new plan of the device. */
  replan?: boolean;
}

export interface Task<Config> {
  /** What it does, in one sentence. */
  summary: string;
  /** A JSON Schema of the arguments: it is shown to users, and `run` checks them. */
  args?: object | boolean;
  run(device: Device<Config>, args: any, due: Date): Reply;
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * Makes a plugin: `export const { schedule, tasks } = plugin({ … })`. Text that a function throws is shown to users.
 * `jobs` returns the complete plan; it is called once a day and after changes, and equal settings give equal jobs.
 */
export function plugin<Config = any>(parts: {
  jobs(device: Device<Config>): Job[];
  tasks?: Record<string, Task<Config>>;
}): { schedule: object; tasks: object };

export function utf8(text: string): Uint8Array;
export function seconds(count: number): number;
export function minutes(count: number): number;
export function hours(count: number): number;

export interface LocalDate {
  year: number;
  month: number;
  day: number;
}

export interface LocalDateTime {
  date: LocalDate;
  time: { hour: number; minute: number; second: number };
}

/** The calendar and the clock in the device's time zone. */
export const calendar: {
  toLocal(date: Date): LocalDateTime;
  toInstant(local: LocalDateTime): Date;
};

/** The sun at the device's location. */
export const sun: {
  /** Returns the times of an event on a date: one on most days. Throws text if the device has no location. */
  times(event: SunEvent, date: LocalDate): Date[];
};

export type SunEvent =
  | { tag: 'sunrise' | 'sunset' | 'civil-dawn' | 'civil-dusk' | 'nautical-dawn' | 'nautical-dusk' }
  | { tag: 'astronomical-dawn' | 'astronomical-dusk' | 'solar-noon' | 'solar-midnight' }
  | { tag: 'rising' | 'setting'; val: number };

declare global {
  /** Writes lines to the plugin's log: `roost logs`. */
  var console: Record<'trace' | 'debug' | 'log' | 'info' | 'warn' | 'error', (...values: unknown[]) => void>;
}
