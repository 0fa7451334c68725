//! Simulations of the firmware of devices, made from its documents: `docs/devices.md` names them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::{Value, json};

use crate::{Lines, PATIENCE};

/// The state of each output, by a name of its device's own.
type Outputs = BTreeMap<String, String>;

/// What a device reports: topics and payloads, and whether they are retained.
type Reports = Vec<(String, String, bool)>;

/// How a firmware takes a message: the levels of its topic, the payload, and the outputs that it may change. `None` if it
/// is not a command, or has a payload that the firmware does not understand.
type Firmware = fn(&[&str], &str, &mut Outputs) -> Option<Reports>;

const FIRMWARES: [Firmware; 5] = [esphome, zigbee2mqtt, tasmota, shelly_gen1, shelly_gen2];

/// All devices of a house at a broker: each message goes to the firmware that takes it.
pub struct House {
    process: Child,
    /// The commands so far, each with its reports on lines of their own.
    pub dialogues: Lines,
}

impl House {
    /// Starts the devices, and waits until they have subscribed.
    pub fn new(port: u16) -> Self {
        let at_broker = |program: &str| {
            let mut tool = Command::new(program);
            tool.stderr(Stdio::null());
            tool
        };
        // `-d` makes it print that it has subscribed, and `stdbuf` makes it print that at once.
        let mut process = at_broker("stdbuf")
            .args(["-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1", "-p", &port.to_string(), "-t", "#", "-q", "1"])
            .args(["-V", "5", "--retain-as-published", "-F", "received\t%r\t%t\t%p"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto_sub is not installed: run `make setup`");
        let stream = process.stdout.take().expect("it is piped");
        let (subscribed, is_subscribed) = mpsc::channel();
        let written = Lines::default();
        let house = Self { process, dialogues: written.clone() };
        thread::spawn(move || {
            let mut outputs = Outputs::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if line.starts_with("Subscribed ") {
                    let _ = subscribed.send(());
                }
                let Some([retained, topic, payload]) = fields(&line) else { continue };
                let levels: Vec<&str> = topic.split('/').collect();
                let taken = FIRMWARES.iter().find_map(|firmware| firmware(&levels, payload, &mut outputs));
                let Some(reports) = taken else { continue };
                let kept = if retained == "1" { "RETAINED " } else { "" };
                let shown = reports.iter().map(|(topic, payload, _)| format!("\n    {topic} {payload}"));
                written.push(format!("{kept}{topic} {payload}{}", shown.collect::<String>()));
                for (topic, payload, retain) in reports {
                    let mut publish = at_broker("mosquitto_pub");
                    publish.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", &topic, "-m", &payload, "-q", "1"]);
                    if retain {
                        publish.arg("-r");
                    }
                    let _ = publish.status();
                }
            }
        });
        is_subscribed.recv_timeout(PATIENCE).expect("the devices do not subscribe");
        house
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn fields(line: &str) -> Option<[&str; 3]> {
    let mut fields = line.strip_prefix("received\t")?.splitn(3, '\t');
    Some([fields.next()?, fields.next()?, fields.next()?])
}

/// Changes an output, and returns whether it was another one before. All are off and closed at first.
fn change(outputs: &mut Outputs, name: String, state: &str) -> bool {
    let is_first = ["off", "closed"].contains(&state);
    outputs.insert(name, state.into()).map_or(!is_first, |before| before != state)
}

/// Switches report what changes, covers and valves what they do until they have stopped; all of it is retained.
fn esphome(levels: &[&str], payload: &str, outputs: &mut Outputs) -> Option<Reports> {
    let [prefix, kind, id, "command"] = levels else { return None };
    let states: &[&str] = match (*kind, payload.to_ascii_lowercase().as_str()) {
        ("switch", "on") => &["ON"],
        ("switch", "off") => &["OFF"],
        ("cover" | "valve", "open") => &["opening", "open"],
        ("cover" | "valve", "close") => &["closing", "closed"],
        _ => return None,
    };
    let topic = format!("{prefix}/{kind}/{id}/state");
    let end = states.last()?.to_ascii_lowercase();
    let changes = change(outputs, topic.clone(), &end);
    let reports = states.iter().filter(|_| changes).map(|state| (topic.clone(), (*state).to_owned(), true));
    Some(reports.collect())
}

/// The state is published as JSON once the device has acknowledged, and again with each position of a cover.
fn zigbee2mqtt(levels: &[&str], payload: &str, _: &mut Outputs) -> Option<Reports> {
    let (name, state) = match levels {
        ["zigbee2mqtt", name, "set"] => {
            let command: Value = serde_json::from_str(payload).ok()?;
            let is_timed = command.get("on_time").is_none_or(Value::is_number);
            (name, command["state"].as_str().filter(|_| is_timed)?.to_owned())
        }
        ["zigbee2mqtt", name, "set", "state"] => (name, payload.to_owned()),
        _ => return None,
    };
    let reports: Vec<Value> = match state.as_str() {
        "ON" | "OFF" => vec![json!({ "linkquality": 102, "state": state })],
        "OPEN" => [50, 100].map(|position| json!({ "position": position, "state": "OPEN" })).into(),
        "CLOSE" => vec![json!({ "position": 50, "state": "OPEN" }), json!({ "position": 0, "state": "CLOSE" })],
        _ => return None,
    };
    let topic = format!("zigbee2mqtt/{name}");
    Some(reports.into_iter().map(|report| (topic.clone(), report.to_string(), false)).collect())
}

/// Each command is answered, as JSON and for itself. A shutter reports its position as it moves, and when it has stopped.
fn tasmota(levels: &[&str], payload: &str, _: &mut Outputs) -> Option<Reports> {
    let ["cmnd", device, command] = levels else { return None };
    let report = |name: &str, payload: String| (format!("stat/{device}/{name}"), payload, false);
    let name = command.to_ascii_uppercase();
    if name.strip_prefix("POWER").is_some_and(|number| number.is_empty() || number.parse::<u8>().is_ok()) {
        let state = match payload.to_ascii_uppercase().as_str() {
            "ON" | "1" | "TRUE" => "ON",
            "OFF" | "0" | "FALSE" => "OFF",
            _ => return None,
        };
        return Some(vec![report("RESULT", json!({ name.as_str(): state }).to_string()), report(&name, state.into())]);
    }
    let number = name.strip_prefix("SHUTTERPOSITION")?;
    let target = payload.parse::<u8>().ok().filter(|target| *target <= 100)?;
    let direction = if target > 50 { 1 } else { -1 };
    let shutter = |position: u8, direction: i8| {
        let state = json!({ "Position": position, "Direction": direction, "Target": target });
        report("RESULT", json!({ format!("Shutter{number}"): state }).to_string())
    };
    Some(vec![shutter(50, direction), report(&format!("SHUTTER{number}"), target.to_string()), shutter(target, 0)])
}

/// A relay reports its state (here at once; also every 30 seconds), a roller its direction and its position.
fn shelly_gen1(levels: &[&str], payload: &str, _: &mut Outputs) -> Option<Reports> {
    let ["shellies", device, kind, number, "command"] = levels else { return None };
    let topic = format!("shellies/{device}/{kind}/{number}");
    let report = |part: &str, payload: &str| (format!("{topic}{part}"), payload.to_owned(), false);
    match (*kind, payload) {
        ("relay", "on" | "off") => Some(vec![report("", payload)]),
        ("roller", "open") => Some(vec![report("", "open"), report("", "stop"), report("/pos", "100")]),
        ("roller", "close") => Some(vec![report("", "close"), report("", "stop"), report("/pos", "0")]),
        _ => None,
    }
}

/// Calls are answered at the topic of their source; components report what changes.
fn shelly_gen2(levels: &[&str], payload: &str, outputs: &mut Outputs) -> Option<Reports> {
    match levels {
        [device, "command", "cover:0"] => {
            let [moves, end] = match payload {
                "open" => ["opening", "open"],
                "close" => ["closing", "closed"],
                _ => return None,
            };
            let topic = format!("{device}/status/cover:0");
            let changes = change(outputs, topic.clone(), end);
            let status = |state| json!({ "id": 0, "source": "MQTT", "state": state }).to_string();
            Some([moves, end].iter().filter(|_| changes).map(|state| (topic.clone(), status(state), false)).collect())
        }
        [device, "rpc"] => {
            let call: Value = serde_json::from_str(payload).ok()?;
            let (id, source) = (call.get("id")?, call["src"].as_str()?);
            let is_timed = call["params"].get("toggle_after").is_none_or(Value::is_number);
            let on = call["params"]["on"].as_bool().filter(|_| call["method"] == "Switch.Set" && is_timed)?;
            let topic = format!("{device}/status/switch:{}", call["params"]["id"]);
            let changes = change(outputs, topic.clone(), if on { "on" } else { "off" });
            let answer = json!({ "id": id, "src": device, "dst": source, "result": { "was_on": changes != on } });
            let status = json!({ "id": 0, "source": "MQTT", "output": on });
            let mut reports = vec![(format!("{source}/rpc"), answer.to_string(), false)];
            reports.extend(changes.then(|| (topic, status.to_string(), false)));
            Some(reports)
        }
        _ => None,
    }
}
