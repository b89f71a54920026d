//! The agent as a child process.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the agent says once it watches.
pub const WATCHING: &str = "Lavender is watching. Ctrl+C to stop";

/// A command line of the agent.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lavender-agent"));
    command.args(arguments).env_remove("LAVENDER_CONFIG").env_remove("LAVENDER_LOG");
    command.stdin(Stdio::null());
    command
}

/// Replays by the agent that `LAVENDER_TEST_REPLAY_AGENT` names, such as one built without libbpf, else by this
/// one.
pub fn replay(arguments: &[&str]) -> Finished {
    let mut replay = command(&[]);
    if let Some(agent) = std::env::var_os("LAVENDER_TEST_REPLAY_AGENT") {
        replay = Command::new(agent);
        replay.env_remove("LAVENDER_CONFIG").env_remove("LAVENDER_LOG").stdin(Stdio::null());
    }
    Finished::from(replay.arg("replay").args(arguments).output().unwrap())
}

/// Runs the agent to its end.
pub fn output(arguments: &[&str]) -> Finished {
    Finished::from(command(arguments).output().unwrap())
}

/// An agent that has ended.
pub struct Finished {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<Value>,
    pub stderr: String,
}

impl std::fmt::Debug for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let titles: Vec<&Value> =
            self.alerts().iter().map(|alert| &alert["rule"]["title"]).collect();
        f.debug_struct("Finished")
            .field("code", &self.code)
            .field("signal", &self.signal)
            .field("lines", &self.stdout.len())
            .field("alerts", &titles)
            .finish()?;
        write!(f, "\n{}", self.stderr)
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).expect("stdout is UTF-8");
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: text.lines().map(json).collect(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Finished {
    /// The alerts among the lines.
    pub fn alerts(&self) -> Vec<&Value> {
        self.stdout.iter().filter(|line| line["kind"] == "alert").collect()
    }
}

/// stdout carries JSON lines and nothing else.
fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
}

/// An agent that watches.
pub struct Agent {
    child: Child,
    lines: Receiver<(Instant, String)>,
    stderr: thread::JoinHandle<()>,
    said: Arc<Mutex<String>>,
    seen: Vec<(Instant, Value)>,
}

impl Agent {
    /// Starts the agent and waits until it says that it watches.
    pub fn start(arguments: &[&str]) -> Self {
        Self::try_start(command(arguments)).unwrap_or_else(|finished| panic!("{finished:?}"))
    }

    /// Starts the agent and waits until it says that it watches, or has ended.
    pub fn try_start(mut command: Command) -> Result<Self, Finished> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            // A line without an end is one that a kill has cut.
            while stdout.read_line(&mut line).is_ok() && line.ends_with('\n') {
                if send.send((Instant::now(), std::mem::take(&mut line))).is_err() {
                    break;
                }
            }
        });
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains(WATCHING) {
            if stderr.read_line(&mut said).unwrap() == 0 {
                let status = child.wait().unwrap();
                let stdout = lines.iter().map(|(_, line)| json(&line)).collect();
                return Err(Finished {
                    code: status.code(),
                    signal: status.signal(),
                    stdout,
                    stderr: said,
                });
            }
        }
        let all = Arc::new(Mutex::new(said));
        let said = Arc::clone(&all);
        let stderr = thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|read| read > 0) {
                all.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        Ok(Self { child, lines, stderr, said, seen: Vec::new() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line for which `wanted` holds, among all that came; and tells when it came.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> (Instant, Value) {
        if let Some(found) = self.seen.iter().find(|(_, line)| wanted(line)) {
            return found.clone();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((at, line)) => {
                    self.seen.push((at, json(&line)));
                    if wanted(&self.seen[self.seen.len() - 1].1) {
                        return self.seen[self.seen.len() - 1].clone();
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let seen: Vec<&Value> = self
                        .seen
                        .iter()
                        .map(|(_, line)| {
                            if line["rule"].is_null() {
                                &line["kind"]
                            } else {
                                &line["rule"]["title"]
                            }
                        })
                        .collect();
                    panic!("{what} did not come; this did: {seen:?}");
                }
            }
        }
    }

    /// Waits for a line on stderr that has this in it; what stands behind it.
    pub fn wait_said(&self, before: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.said();
            if let Some((_, after)) = said.lines().find_map(|line| line.split_once(before)) {
                return after.to_owned();
            }
            assert!(Instant::now() < deadline, "`{before}` was not said: {said}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has said on stderr by now, in whole lines.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Whether such a line has come by now.
    pub fn has(&mut self, wanted: impl Fn(&Value) -> bool) -> bool {
        while let Ok((at, line)) = self.lines.try_recv() {
            self.seen.push((at, json(&line)));
        }
        self.seen.iter().any(|(_, line)| wanted(line))
    }

    /// Forgets the lines that have come for which this does not hold: each takes ten times its length.
    pub fn keep(&mut self, wanted: impl Fn(&Value) -> bool) {
        self.has(|_| false);
        self.seen.retain(|(_, line)| wanted(line));
    }

    /// What the last line says that says any of it, among all that came.
    pub fn last<T>(&mut self, told: impl Fn(&Value) -> Option<T>) -> Option<T> {
        self.has(|_| false);
        self.seen.iter().rev().find_map(|(_, line)| told(line))
    }

    /// Sends a signal to the agent.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Asks the agent to stop and waits until it has.
    pub fn stop(self) -> Finished {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until the agent has ended by itself.
    pub fn wait(mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = self.child.kill();
                    panic!("the agent did not end");
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut stdout: Vec<Value> =
            std::mem::take(&mut self.seen).into_iter().map(|(_, line)| line).collect();
        while let Ok((_, line)) = self.lines.recv_timeout(PATIENCE) {
            stdout.push(json(&line));
        }
        std::mem::replace(&mut self.stderr, thread::spawn(|| ())).join().unwrap();
        Finished { code: status.code(), signal: status.signal(), stdout, stderr: self.said() }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Its own child, and not yet waited for when a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
