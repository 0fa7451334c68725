use expect_test::expect;
use roost_scheduler::{names::DeviceName, zone::Zone};

use super::*;

fn topics() -> Topics {
    Topics { own: "roost".into(), discovery: "homeassistant".into() }
}

fn name() -> Name {
    (PluginName::parse("coop-door").unwrap(), DeviceName::parse("north").unwrap())
}

fn task(task: &str, args_schema: Value) -> TaskDescriptionRecord {
    TaskDescriptionRecord { task: task.into(), summary: String::new(), args_schema: Some(args_schema) }
}

fn shown(payload: &[u8]) -> String {
    let whole: Value = serde_json::from_slice(payload).unwrap();
    let mut lines = Vec::new();
    for (key, value) in whole.as_object().unwrap() {
        match value.as_object() {
            Some(components) if key == "components" => {
                lines.extend(components.iter().map(|(key, component)| format!("{key}: {component}")));
            }
            _ => lines.push(format!("{key}: {value}")),
        }
    }
    lines.join("\n")
}

fn settings() -> HomeAssistant {
    let mut settings = HomeAssistant::default();
    settings.job_switches = true;
    settings
}

fn described(jobs: &[&str], settings: &HomeAssistant) -> Description {
    let mut view = DeviceView::new(Zone::UTC);
    let job = |id: &&str| Job { id: JobId::parse(id).unwrap(), label: format!("Do {id}"), is_paused: false };
    view.jobs = jobs.iter().map(job).collect();
    let tasks = [task("open", json!({ "properties": {} })), task("water", json!({ "required": ["minutes"] }))];
    of_device((&topics(), Some("roost/status")), &name(), &view, &tasks, settings)
}

#[test]
fn a_device_has_a_component_for_each_thing_that_can_be_seen_or_pressed() {
    expect![[r#"
            enabled: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/enabled","icon":"mdi:calendar-clock","name":null,"platform":"switch","unique_id":"roost_coop-door_north_enabled","value_template":"{{ 'OFF' if value_json.paused else 'ON' }}"}
            enabled_close: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/enabled/close","entity_category":"config","name":"Do close enabled","platform":"switch","unique_id":"roost_coop-door_north_enabled_close","value_template":"{{ 'OFF' if 'close' in value_json.paused_jobs else 'ON' }}"}
            event: {"availability_topic":"roost/status","event_types":["succeeded","failed","missed","skipped","cancelled","denied"],"name":"Run","platform":"event","state_topic":"roost/event/coop-door/north","unique_id":"roost_coop-door_north_event"}
            last: {"availability_topic":"roost/status","device_class":"enum","json_attributes_template":"{{ (value_json.last or {}) | tojson }}","json_attributes_topic":"roost/state/coop-door/north","name":"Last run","options":["succeeded","failed","missed","skipped","cancelled","denied"],"platform":"sensor","unique_id":"roost_coop-door_north_last","value_template":"{{ value_json.last.outcome if value_json.last else None }}"}
            next: {"availability_topic":"roost/status","device_class":"timestamp","json_attributes_template":"{{ (value_json.next or {}) | tojson }}","json_attributes_topic":"roost/state/coop-door/north","name":"Next run","platform":"sensor","unique_id":"roost_coop-door_north_next","value_template":"{{ value_json.next.at if value_json.next else None }}"}
            notify_water: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/task/water","name":"water","platform":"notify","unique_id":"roost_coop-door_north_notify_water"}
            problem: {"availability_topic":"roost/status","device_class":"problem","entity_category":"diagnostic","json_attributes_template":"{{ {'reason': value_json.problem} | tojson }}","json_attributes_topic":"roost/state/coop-door/north","name":"Problem","platform":"binary_sensor","unique_id":"roost_coop-door_north_problem","value_template":"{{ 'ON' if value_json.problem else 'OFF' }}"}
            run_close: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/run/close","name":"Do close","payload_press":"RUN","platform":"button","unique_id":"roost_coop-door_north_run_close"}
            running: {"availability_topic":"roost/status","device_class":"running","name":"Running","platform":"binary_sensor","unique_id":"roost_coop-door_north_running","value_template":"{{ 'ON' if value_json.running else 'OFF' }}"}
            skip_close: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/skip/close","entity_category":"config","name":"Skip Do close","payload_press":"SKIP","platform":"button","unique_id":"roost_coop-door_north_skip_close"}
            task_open: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/task/open","name":"open","payload_press":"RUN","platform":"button","unique_id":"roost_coop-door_north_task_open"}
            device: {"identifiers":["roost_coop-door_north"],"manufacturer":"Roost","model":"coop-door","name":"coop-door north","via_device":"roost"}
            origin: {"name":"Roost","sw_version":"0.1.0"}
            state_topic: "roost/state/coop-door/north""#]].assert_eq(&shown(&described(&["close"], &settings()).write(&Platforms::new())));
}

#[test]
fn a_host_is_always_connected_or_not() {
    expect![[r#"
            connected: {"device_class":"connectivity","entity_category":"diagnostic","name":"Connected","payload_off":"offline","payload_on":"online","platform":"binary_sensor","state_topic":"roost/status","unique_id":"roost_connected"}
            devices: {"availability_topic":"roost/status","enabled_by_default":false,"entity_category":"diagnostic","name":"Devices","platform":"sensor","state_class":"measurement","unique_id":"roost_devices","value_template":"{{ value_json.devices }}"}
            failed: {"availability_topic":"roost/status","entity_category":"diagnostic","name":"Failed runs","platform":"sensor","state_class":"total_increasing","unique_id":"roost_failed","value_template":"{{ value_json.failed }}"}
            jobs: {"availability_topic":"roost/status","enabled_by_default":false,"entity_category":"diagnostic","name":"Jobs","platform":"sensor","state_class":"measurement","unique_id":"roost_jobs","value_template":"{{ value_json.jobs }}"}
            lateness: {"availability_topic":"roost/status","device_class":"duration","enabled_by_default":false,"entity_category":"diagnostic","name":"Lateness, 99th percentile","platform":"sensor","state_class":"measurement","unique_id":"roost_lateness","unit_of_measurement":"ms","value_template":"{{ value_json.lateness_p99_ms }}"}
            next: {"availability_topic":"roost/status","device_class":"timestamp","json_attributes_template":"{{ (value_json.next or {}) | tojson }}","json_attributes_topic":"roost/state","name":"Next run","platform":"sensor","unique_id":"roost_next","value_template":"{{ value_json.next.at if value_json.next else None }}"}
            plugins: {"availability_topic":"roost/status","enabled_by_default":false,"entity_category":"diagnostic","name":"Plugins","platform":"sensor","state_class":"measurement","unique_id":"roost_plugins","value_template":"{{ value_json.plugins }}"}
            problem: {"availability_topic":"roost/status","device_class":"problem","entity_category":"diagnostic","json_attributes_template":"{{ {'reason': value_json.problem, 'faults': value_json.faults} | tojson }}","json_attributes_topic":"roost/state","name":"Problem","platform":"binary_sensor","unique_id":"roost_problem","value_template":"{{ 'ON' if value_json.problem else 'OFF' }}"}
            device: {"identifiers":["roost"],"manufacturer":"Roost","model":"Host","name":"Roost","sw_version":"0.1.0"}
            origin: {"name":"Roost","sw_version":"0.1.0"}
            state_topic: "roost/state""#]].assert_eq(&shown(&of_host((&topics(), Some("roost/status"))).write(&Platforms::new())));
}

#[test]
fn a_component_that_goes_is_named_by_its_platform_alone() {
    let (before, now) = (described(&["close", "open"], &settings()), described(&["open"], &settings()));
    let payload = now.write(&before.platforms());
    let whole: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(whole["components"]["run_close"], json!({ "platform": "button" }));
    assert_eq!(whole["components"]["enabled_close"], json!({ "platform": "switch" }));
    let (state_topic, platforms) = Description::read(&payload).unwrap();
    assert_eq!((state_topic.as_str(), &platforms), ("roost/state/coop-door/north", &before.platforms()));
    assert_eq!(now.write(&now.platforms()), now.write(&Platforms::new()));
}

#[test]
fn only_so_many_components_of_a_description_are_read() {
    let components: Map<String, Value> =
        (0..10_000).map(|number| (format!("c{number}"), json!({ "platform": "sensor" }))).collect();
    let payload = json!({ "state_topic": "roost/state/a/b", "components": components }).to_string();
    let (_, platforms) = Description::read(payload.as_bytes()).unwrap();
    assert_eq!(platforms.len(), limits::COMPONENTS);
    let jobs: Vec<String> = (0..limits::JOBS).map(|number| format!("job{number}")).collect();
    let most = described(&jobs.iter().map(String::as_str).collect::<Vec<_>>(), &settings()).platforms().len();
    assert!(2 * (most + limits::TASKS) < limits::COMPONENTS, "{most}");
}

#[test]
fn without_commands_there_is_nothing_to_press() {
    let mut settings = HomeAssistant::default();
    settings.commands = false;
    let platforms = described(&["close"], &settings).platforms();
    assert_eq!(
        platforms.values().filter(|platform| ["button", "switch", "notify"].contains(&platform.as_str())).count(),
        0
    );
}

#[test]
fn jobs_have_switches_only_if_the_settings_say_so() {
    let platforms = described(&["close"], &HomeAssistant::default()).platforms();
    let of_job = platforms.keys().filter(|key| key.contains("close"));
    assert_eq!(of_job.collect::<Vec<_>>(), ["run_close"]);
}

#[test]
fn another_programs_description_is_none_of_ours() {
    assert_eq!(Description::read(b"not JSON"), None);
    assert_eq!(Description::read(br#"{"state_topic": "a/b"}"#), None);
}
