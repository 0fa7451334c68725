import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';

// Runs the built plugin in Roost, in virtual time.
function messages(from, days) {
  const site = ['--time-zone', 'Europe/London', '--latitude', '51.4779', '--longitude', '-0.0015'];
  const out = execFileSync('roost', ['simulate', 'plugin-name.wasm', '--json', '--from', from, '--days', days, ...site]);
  return JSON.parse(out).map(({ device, at, payload }) => `${device} ${at.slice(0, 16)} ${payload}`);
}

test('the door opens not before half past six in summer, and closes at sunset', () => {
  assert.deepEqual(messages('2027-06-21', '1'), ['north 2027-06-21T06:30 OPEN', 'north 2027-06-21T21:20 CLOSE']);
});
