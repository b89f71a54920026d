//! Measures the time from a system call to its alert line on the agent's stdout.
//!
//! ```text
//! cargo run --release -p lavender-agent --example latency [COUNT]
//! ```
//!
//! Needs root. Starts the agent that lies beside it (`lavender-agent` of the same profile), on a control
//! group of its own, reads a file listed as sensitive COUNT times (200), and reports the median and the
//! 99th percentile. Between two reads it waits a little, as an attack comes alone.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures time and prints it"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

const WATCHING: &str = "Lavender is watching";

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("shadow");
    fs::write(&secret, "root:*:1::::::\n")?;
    let home = Path::new("/sys/fs/cgroup");
    let hierarchy =
        if home.join("unified").is_dir() { home.join("unified") } else { home.to_owned() };
    let cgroup = hierarchy.join(format!("lavender-latency-{}", std::process::id()));
    fs::create_dir(&cgroup)?;
    let result = measure(count, &secret, folder.path(), &cgroup);
    // Back to where it was, so that the group can be removed.
    fs::write(hierarchy.join("cgroup.procs"), std::process::id().to_string())?;
    fs::remove_dir(&cgroup)?;
    let mut times = result?;
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!(
        "{} reads, system call to alert line: p50 {:?}, p99 {:?}, max {:?}",
        times.len(),
        at(50),
        at(99),
        at(100),
    );
    Ok(())
}

fn measure(
    count: usize,
    secret: &Path,
    folder: &Path,
    cgroup: &Path,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let config = folder.join("lavender.toml");
    fs::write(
        &config,
        format!(
            "[canary]\nenabled = false\n[alerts]\nsuppress_secs = 0\n[filters]\nsensitive_files = [{:?}]\n",
            secret.to_string_lossy()
        ),
    )?;
    let store = format!("sqlite:{}", folder.join("lavender.db").display());
    let mut agent = Command::new(agent_binary()?)
        .args(["run", "--no-control-plane", "--store", &store])
        .arg("--config")
        .arg(&config)
        .arg("--cgroup")
        .arg(cgroup)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let result = watch(&mut agent).and_then(|lines| {
        fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())?;
        (0..count).map(|_| one(secret, &lines)).collect()
    });
    Command::new("kill").arg(agent.id().to_string()).status()?;
    agent.wait()?;
    result
}

/// Waits until the agent watches, and hands out its lines with the time at which each came.
fn watch(agent: &mut Child) -> Result<Receiver<(Instant, String)>, Box<dyn Error>> {
    let stdout = agent.stdout.take().ok_or("no stdout")?;
    let mut stderr = BufReader::new(agent.stderr.take().ok_or("no stderr")?);
    let mut said = String::new();
    while !said.contains(WATCHING) {
        if stderr.read_line(&mut said)? == 0 {
            return Err(said.into());
        }
    }
    thread::spawn(move || io::copy(&mut stderr, &mut io::stderr()));
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send((Instant::now(), line)).is_err() {
                break;
            }
        }
    });
    Ok(lines)
}

fn one(secret: &Path, lines: &Receiver<(Instant, String)>) -> Result<Duration, Box<dyn Error>> {
    thread::sleep(Duration::from_millis(25));
    let started = Instant::now();
    drop(File::open(secret)?);
    let (came, line) = lines.recv_timeout(Duration::from_secs(10))?;
    if !line.contains("\"kind\":\"alert\"") {
        return Err(format!("not an alert: {line}").into());
    }
    Ok(came - started)
}

fn agent_binary() -> Result<PathBuf, Box<dyn Error>> {
    let examples = std::env::current_exe()?;
    let profile = examples.parent().and_then(Path::parent).ok_or("where is this binary?")?;
    Ok(profile.join("lavender-agent"))
}
