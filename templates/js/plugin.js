// @ts-check
import { minutes, plugin } from './roost.js';

// What users may set in `plugin-name.toml`: each missing setting has a default here.
function settings(device) {
  const { open_not_before = '06:30', close_not_after = '22:00', ...others } = device.config;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw `there is no setting \`${unknown}\``;
  return { open_not_before, close_not_after };
}

export const { schedule, tasks } = plugin({
  // The complete plan of one device. Roost keeps it on disk and sends the messages, also after a crash.
  jobs(device) {
    const { open_not_before, close_not_after } = settings(device);
    const door = device.topic('door/set');
    // After an outage, only the newer of both counts.
    const policy = { latest_of_group: 'door' };
    return [
      { id: 'open', trigger: `sunrise not-before ${open_not_before}`, steps: [{ topic: door, payload: 'OPEN' }], policy },
      { id: 'close', trigger: `sunset not-after ${close_not_after}`, steps: [{ topic: door, payload: 'CLOSE' }], policy },
    ];
  },

  // What users can call at any time, from the page or with `roost schedule now --task`.
  tasks: {
    'let-out': {
      summary: 'Open the door for some minutes',
      args: { type: 'object', properties: { minutes: { type: 'integer' } }, required: ['minutes'] },
      run(device, args) {
        if (!Number.isInteger(args?.minutes) || args.minutes < 1) throw '`minutes` must be a whole number of 1 or more';
        console.log(`the door is open for ${args.minutes} min`);
        const door = device.topic('door/set');
        // Once OPEN is sent, CLOSE is owed: it is sent whatever happens.
        return {
          steps: [
            { topic: door, payload: 'OPEN' },
            { topic: door, payload: 'CLOSE', after_ms: minutes(args.minutes) },
          ],
        };
      },
    },
  },
});
