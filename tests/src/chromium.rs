//! A real browser, driven as a person would: by roles and names. It speaks the browser's own protocol over two pipes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::PATIENCE;

/// The browser's flags, apart from the profile.
const FLAGS: &str = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-extensions \
                     --disable-dev-shm-usage --remote-debugging-pipe";

/// The pages of the tests have no TLS, and a try with it is not answered.
const WITHOUT_TLS: &str = "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,HttpsFirstModeV2";

/// `coop.example` is this machine, as after an attack on name resolution.
const NAMES: &str = "--host-resolver-rules='MAP coop.example 127.0.0.1'";

/// The pause between two looks at the page.
const POLL: Duration = Duration::from_millis(20);

/// A browser with one page. It ends when dropped.
#[derive(Debug)]
pub struct Chromium {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    /// The errors and warnings of the page.
    complaints: Vec<String>,
    /// The kinds of the dialogs of the browser that the page has opened.
    dialogs: Vec<String>,
    /// Whether the next dialogs are accepted. The browser does nothing else while one waits for its answer.
    accepts: bool,
}

impl Chromium {
    /// Starts a browser with a profile in a folder.
    pub fn start(folder: &Path) -> Self {
        let script = format!(
            "exec chromium {FLAGS} {WITHOUT_TLS} {NAMES} --user-data-dir=\"$0\" 3<&0 4>&1 </dev/null >/dev/null"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(folder.join("browser"));
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = spawned.expect("`make setup` installs chromium");
        let (to, from) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut chromium = Self {
            process,
            to,
            from,
            session: None,
            calls: 0,
            complaints: Vec::new(),
            dialogs: Vec::new(),
            accepts: true,
        };
        let target = chromium.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached =
            chromium.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        chromium.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "DOM", "Log", "Accessibility"] {
            chromium.call(&format!("{domain}.enable"), json!({}));
        }
        chromium
    }

    /// Makes a call, and returns its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Makes a call, and returns its result or its error.
    #[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.send(method, &params);
        loop {
            let mut message = Vec::new();
            let length = self.from.read_until(0, &mut message).unwrap();
            assert!(length > 0, "the browser has ended during {method}");
            let message: Value = serde_json::from_slice(&message[..length - 1]).unwrap();
            if message["id"] == id {
                let error = &message["error"];
                return if error.is_null() { Ok(message["result"].clone()) } else { Err(error.clone()) };
            }
            let is_complaint = matches!(message["method"].as_str(), Some("Log.entryAdded" | "Runtime.exceptionThrown"));
            if is_complaint {
                self.complaints.push(message["params"].to_string());
            }
            if message["method"] == "Page.javascriptDialogOpening" {
                self.dialogs.push(message["params"]["type"].as_str().unwrap_or_default().to_owned());
                self.send("Page.handleJavaScriptDialog", &json!({ "accept": self.accepts }));
            }
        }
    }

    /// Sends a call, and returns its number.
    fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = session.clone().into();
        }
        self.to.write_all(format!("{call}\0").as_bytes()).unwrap();
        self.calls
    }

    /// Determines whether the next dialogs of the browser are accepted. By default, they are.
    pub fn accept_dialogs(&mut self, accepts: bool) {
        self.accepts = accepts;
    }

    /// Returns the kinds of the dialogs so far: `alert`, `confirm`, `prompt`, `beforeunload`.
    pub fn dialogs(&self) -> &[String] {
        &self.dialogs
    }

    /// Makes the page as large as a device's screen.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Opens an address, and waits until the page is there.
    pub fn open(&mut self, address: &str) {
        let opened = self.call("Page.navigate", json!({ "url": address }));
        assert!(opened["errorText"].is_null(), "{address}: {opened}");
        self.until("the page to be there", |browser| (browser.eval("document.readyState") == "complete").then_some(()));
    }

    /// Evaluates an expression in the page; null while another page takes its place.
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let Ok(result) = self.try_call("Runtime.evaluate", asked) else { return Value::Null };
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits for something that `found` returns.
    pub fn until<T>(&mut self, what: &str, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begun = now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "waited for {what}; the page shows:\n{}", self.text());
            thread::sleep(POLL);
        }
    }

    /// Returns the text of the page; of one that is being opened, none.
    pub fn text(&mut self) -> String {
        self.eval("document.body?.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows a text.
    pub fn wait_for(&mut self, text: &str) {
        self.until(text, |browser| browser.text().contains(text).then_some(()));
    }

    /// Returns the elements with a role and a name that assistive technology sees; none while a page is being opened.
    fn find(&mut self, role: &str, name: &str) -> Vec<Value> {
        let root = self.call("DOM.getDocument", json!({ "depth": 0 }))["root"]["nodeId"].clone();
        let asked = json!({ "nodeId": root, "role": role, "accessibleName": name });
        let Ok(nodes) = self.try_call("Accessibility.queryAXTree", asked) else { return Vec::new() };
        let seen = nodes["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != true);
        seen.map(|node| node["backendDOMNodeId"].clone()).collect()
    }

    /// Waits for the one element with a role and a name.
    pub fn wait_for_role(&mut self, role: &str, name: &str) -> Value {
        self.until(&format!("one {role} `{name}`"), |browser| match browser.find(role, name).as_slice() {
            [one] => Some(one.clone()),
            [] => None,
            many => panic!("{} elements are a {role} `{name}`", many.len()),
        })
    }

    /// Clicks the one element with a role and a name, with the mouse.
    pub fn click(&mut self, role: &str, name: &str) {
        // A page that follows the host may replace the element meanwhile, or move it.
        let (x, y) = self.until(&format!("the place of {role} `{name}`"), |browser| {
            let id = browser.wait_for_role(role, name);
            let node = json!({ "backendNodeId": id });
            browser.try_call("DOM.scrollIntoViewIfNeeded", node.clone()).ok()?;
            let model = browser.try_call("DOM.getBoxModel", node.clone()).ok()?;
            let corners: Vec<f64> = model["model"]["content"].as_array()?.iter().filter_map(Value::as_f64).collect();
            let (x, y) = ((corners[0] + corners[4]) / 2.0, (corners[1] + corners[5]) / 2.0);
            let resolved = browser.try_call("DOM.resolveNode", node).ok()?;
            let hit = json!({
                "objectId": resolved["object"]["objectId"],
                "functionDeclaration": format!("function() {{ return this.contains(document.elementFromPoint({x}, {y})) }}"),
                "returnByValue": true,
            });
            let hit = browser.try_call("Runtime.callFunctionOn", hit).ok()?;
            (hit["result"]["value"] == true).then_some((x, y))
        });
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Chooses a file in the control with a label.
    pub fn choose(&mut self, label: &str, file: &Path) {
        let asked = json!({ "expression": control(label) });
        let object = self.call("Runtime.evaluate", asked)["result"]["objectId"].clone();
        self.call("DOM.setFileInputFiles", json!({ "objectId": object, "files": [file] }));
    }

    /// Drops a file in the middle of the page.
    pub fn drop(&mut self, file: &Path) {
        let data = json!({ "items": [], "files": [file], "dragOperationsMask": 1 });
        for kind in ["dragEnter", "dragOver", "drop"] {
            self.call("Input.dispatchDragEvent", json!({ "type": kind, "x": 100, "y": 100, "data": data }));
        }
    }

    /// Replaces the text of the control with a label, as typing does.
    pub fn fill(&mut self, label: &str, text: &str) {
        self.eval(&format!("{}.select()", control(label)));
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses the escape key.
    pub fn escape(&mut self) {
        self.press("Escape", 27);
    }

    /// Presses a key, by its name and its number.
    pub fn press(&mut self, key: &str, number: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": number });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Returns what the window shows, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let shown = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        BASE64_STANDARD.decode(shown["data"].as_str().unwrap()).unwrap()
    }

    /// Returns the errors and warnings of the page so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

/// Returns the expression of the control with a label.
fn control(label: &str) -> String {
    let label = json!(label);
    format!("[...document.querySelectorAll('label')].find((label) => label.textContent.trim() === {label}).control")
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "a wait has an end")]
fn now() -> Instant {
    Instant::now()
}
