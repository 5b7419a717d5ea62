//! A real Chromium, driven over WebDriver (W3C) by its own driver: one session, ended with the value.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Program;
use crate::support::ports::Port;
use crate::support::program::on_path;
use crate::support::skip::Missing;
use crate::support::wait::wait_for;

/// Long enough for a loaded machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    driver: Program,
    /// The browser itself: what the driver started.
    process: Option<i32>,
    base: String,
    http: Client,
    _port: Port,
    _profile: TempDir,
}

impl Browser {
    /// Starts both.
    pub async fn start() -> Result<Self, Missing> {
        let missing = || Missing("no Chromium here: install chromium and chromium-driver".to_owned());
        let (chromium, chromedriver) =
            (on_path("chromium").ok_or_else(missing)?, on_path("chromedriver").ok_or_else(missing)?);
        let (port, profile) = (Port::claim(), tempfile::tempdir().unwrap());
        let mut command = Command::new(chromedriver);
        command.arg(format!("--port={}", port.number())).arg("--allowed-ips=127.0.0.1");
        let driver = Program::start(command);
        let http = client();
        let base = format!("http://127.0.0.1:{}", port.number());
        let mut browser = Self { driver, process: None, base, http, _port: port, _profile: profile };
        let answers = async || {
            let answer = browser.http.get(format!("{}/status", browser.base)).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        assert!(wait_for(PATIENCE, answers).await.is_some(), "{}", browser.log());
        browser.open(&chromium).await;
        Ok(browser)
    }

    async fn open(&mut self, chromium: &Path) {
        let profile = format!("--user-data-dir={}", self._profile.path().display());
        let options = json!({
            "binary": chromium,
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     "--no-first-run", "--disable-background-networking", "--window-size=1000,900", profile],
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let session = self.send("/session", &wanted).await;
        self.process =
            session["capabilities"]["goog:processID"].as_i64().and_then(|id| i32::try_from(id).ok());
        assert!(self.process.is_some(), "{session}");
        self.base = format!("{}/session/{}", self.base, session["sessionId"].as_str().unwrap());
    }

    /// What driver and browser said.
    pub fn log(&self) -> String {
        self.driver.stdout() + &self.driver.stderr()
    }

    /// One command of the session; its value.
    pub async fn send(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.base)).body(body.to_string());
        value(path, request.send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Value {
        value(path, self.http.get(format!("{}{path}", self.base)).send().await.unwrap()).await
    }

    /// Goes there and waits until it is loaded.
    pub async fn go(&self, url: &str) {
        self.send("/url", &json!({ "url": url })).await;
    }

    /// The value of an expression in the page.
    pub async fn value_of(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.send("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Waits for an expression to hold in the page.
    pub async fn becomes(&self, expression: &str) {
        let holds = async || (self.value_of(expression).await == true).then_some(());
        if wait_for(PATIENCE, holds).await.is_none() {
            let text = self.value_of("document.body.innerText").await;
            panic!("never: {expression}\n{}", text.as_str().unwrap_or_default());
        }
    }

    /// A command of the browser's own protocol.
    pub async fn devtools(&self, command: &str, params: Value) -> Value {
        self.send("/goog/cdp/execute", &json!({ "cmd": command, "params": params })).await
    }

    /// The window as if it was that wide.
    pub async fn width(&self, width: u32, height: u32) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", params).await;
    }

    /// Presses a key: `\u{e004}` is Tab, `\u{e006}` Enter (WebDriver, section 17.4.2).
    pub async fn press(&self, key: char) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.send("/actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": keys }] }))
            .await;
    }

    /// What the console got since the last call.
    pub async fn console(&self) -> Vec<String> {
        let lines = self.send("/se/log", &json!({ "type": "browser" })).await;
        lines.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Addresses that were asked for since the last call.
    pub async fn requests(&self) -> Vec<String> {
        let lines = self.send("/se/log", &json!({ "type": "performance" })).await;
        let messages = lines.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap());
        let messages = messages.map(|text| serde_json::from_str::<Value>(text).unwrap()["message"].clone());
        let sent = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        sent.map(|message| message["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// The window as PNG in base64.
    pub async fn picture(&self) -> String {
        self.get("/screenshot").await.as_str().unwrap().to_owned()
    }
}

/// Plain HTTP. The client wants a TLS provider all the same.
pub fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

async fn value(path: &str, answer: reqwest::Response) -> Value {
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str::<Value>(&text).unwrap()["value"].take()
}

impl Drop for Browser {
    /// The browser's own processes end with it; the driver, a [`Program`], is killed right after.
    fn drop(&mut self) {
        if let Some(pid) = self.process.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        self.driver.end_now(Signal::KILL, Duration::from_secs(5));
    }
}
