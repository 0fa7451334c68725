//! First levels of topics that other products use. By default a plugin may publish below its own name, so that a file
//! with such a name could command an unrelated product: it needs a grant of the operator.

use roost_scheduler::names::PluginName;

/// The default first levels of products, with the product. `*` stands for any continuation.
const LEVELS: [(&str, &str); 69] = [
    ("homeassistant", "Home Assistant"),
    ("hass", "Home Assistant"),
    ("hass-agent", "HASS.Agent"),
    ("zigbee2mqtt", "Zigbee2MQTT"),
    ("z2m", "Zigbee2MQTT"),
    ("zwave", "Z-Wave JS UI"),
    ("zwavejs2mqtt", "Z-Wave JS UI"),
    ("zwave2mqtt", "Zwave2Mqtt"),
    ("tasmota", "Tasmota"),
    ("cmnd", "Tasmota"),
    ("stat", "Tasmota"),
    ("tele", "Tasmota"),
    ("sonoff*", "Tasmota"),
    ("shellies", "Shelly"),
    ("shelly*", "Shelly"),
    ("esphome", "ESPHome"),
    ("espeasy", "ESP Easy"),
    ("espurna", "ESPurna"),
    ("frigate", "Frigate"),
    ("rtl_433", "rtl_433"),
    ("openmqttgateway", "OpenMQTTGateway"),
    ("home", "OpenMQTTGateway and Theengs"),
    ("theengs", "Theengs"),
    ("owntracks", "OwnTracks"),
    ("valetudo", "Valetudo"),
    ("wled", "WLED"),
    ("espresense", "ESPresense"),
    ("room-assistant", "room-assistant"),
    ("knx", "KNX gateways"),
    ("homie", "the Homie convention"),
    ("spBv1.0", "Sparkplug B"),
    ("homegear", "Homegear"),
    ("deconz", "deCONZ"),
    ("domoticz", "Domoticz"),
    ("openhab", "openHAB"),
    ("iobroker", "ioBroker"),
    ("fhem", "FHEM"),
    ("nodered", "Node-RED"),
    ("homebridge", "Homebridge"),
    ("hermes", "Rhasspy and Snips"),
    ("rhasspy", "Rhasspy"),
    ("ring", "ring-mqtt"),
    ("nuki", "Nuki"),
    ("nukihub", "Nuki Hub"),
    ("blueiris", "Blue Iris"),
    ("double-take", "Double Take"),
    ("scrypted", "Scrypted"),
    ("octoprint", "OctoPrint"),
    ("moonraker", "Moonraker"),
    ("evcc", "evcc"),
    ("openwb", "openWB"),
    ("teslamate", "TeslaMate"),
    ("go-echarger", "go-e Charger"),
    ("ebusd", "ebusd"),
    ("ems-esp", "EMS-ESP"),
    ("espaltherma", "ESPAltherma"),
    ("mitsubishi2mqtt", "mitsubishi2MQTT"),
    ("ecowitt2mqtt", "ecowitt2mqtt"),
    ("hue2mqtt", "hue2mqtt"),
    ("gv2mqtt", "govee2mqtt"),
    ("milight", "MiLight Hub"),
    ("enoceanmqtt", "enOceanMQTT"),
    ("mysensors*", "MySensors"),
    ("rfxcom2mqtt", "rfxcom2mqtt"),
    ("dsmr", "DSMR-reader"),
    ("emon", "emonCMS"),
    ("msh", "Meshtastic"),
    ("eu868", "ChirpStack"),
    ("us915", "ChirpStack"),
];

/// Returns the product that uses a first level, if any.
pub(crate) fn product_of(level: &str) -> Option<&'static str> {
    let is_it = |name: &str| match name.strip_suffix('*') {
        Some(start) => level.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        None => level.eq_ignore_ascii_case(name),
    };
    LEVELS.iter().find(|(name, _)| is_it(name)).map(|(_, product)| *product)
}

/// Returns the product that uses the topics below a plugin's name, if any.
pub(crate) fn owner_of(plugin: &PluginName) -> Option<&'static str> {
    product_of(plugin.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_own_their_levels_and_other_names_are_free() {
        for (level, product) in [
            ("homeassistant", "Home Assistant"),
            ("zigbee2mqtt", "Zigbee2MQTT"),
            ("cmnd", "Tasmota"),
            ("shellies", "Shelly"),
            ("shellyplus1-a8032ab12345", "Shelly"),
            ("rtl_433", "rtl_433"),
            ("openWB", "openWB"),
        ] {
            assert_eq!(product_of(level), Some(product), "{level}");
        }
        for own in ["coop-door", "sprinkler", "greenhouse", "homework", "porch", "shell", "zigbee", ""] {
            assert_eq!(product_of(own), None, "{own}");
        }
    }
}
