//! The process under test: its configuration file, its signals, and what the kernel says of it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// What the server's tokens are for.
pub(crate) const AUDIENCE: &str = "https://soak.example/mcp";
/// `limits.body_bytes` under the mixed load.
pub(crate) const MOST_BODY: usize = 65_536;
const POLL: Duration = Duration::from_millis(20);
const START: Duration = Duration::from_secs(20);
/// Longer than `limits.drain_seconds`.
const STOP: Duration = Duration::from_secs(40);

/// What differs from config/default.toml.
#[derive(Clone, Copy)]
pub(crate) enum Settings {
    /// Keys that change within seconds, and limits that clients reach without effort.
    Mixed,
    /// Nothing.
    Default,
}

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    settings: Settings,
    issuer: String,
    folder: TempDir,
}

impl Server {
    /// Starts the program, and waits until it listens.
    pub(crate) async fn start(program: &Path, issuer: &str, settings: Settings) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = ([127, 0, 0, 1], port).into();
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(folder.path().join("server.toml"));
        command.env_clear().current_dir(folder.path());
        fs::write(folder.path().join("server.toml"), configuration(port, issuer, settings, None))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.path().join("log"))?);
        let child = command.spawn().with_context(|| format!("can't start {}", program.display()))?;
        let mut server = Self { child, address, settings, issuer: issuer.to_owned(), folder };
        server.wait_until_listening().await?;
        Ok(server)
    }

    async fn wait_until_listening(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", self.log());
            }
            anyhow::ensure!(started.elapsed() < START, "the server does not listen");
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Gives `greet` another scope, or its own again.
    pub(crate) fn reload(&self, greet: Option<&str>) -> anyhow::Result<()> {
        let text = configuration(self.address.port(), &self.issuer, self.settings, greet);
        fs::write(self.folder.path().join("server.toml"), text)?;
        self.signal(Signal::HUP)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most that was resident at any time, in KiB.
    pub(crate) fn peak(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &'static str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(self.proc("fd"))?.count())
    }

    /// The log's warnings and errors.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Stops it as an operator does.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let started = Instant::now();
        while started.elapsed() < STOP {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(POLL).await;
        }
        bail!("the server did not end within {STOP:?}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(port: u16, issuer: &str, settings: Settings, greet: Option<&str>) -> String {
    let greet = greet.map(|scope| format!("[tools.greet]\nscopes = [\"{scope}\"]\n")).unwrap_or_default();
    let settings = match settings {
        Settings::Mixed => format!(
            "[keys]\nrefresh_seconds = 10\nmin_fetch_interval_seconds = 1\n\
             [limits]\nbody_bytes = {MOST_BODY}\nbody_read_seconds = 2\n"
        ),
        Settings::Default => String::new(),
    };
    format!(
        "[server]\nport = {port}\n[auth0]\nissuer = \"{issuer}\"\naudience = \"{AUDIENCE}\"\n\
         {settings}[log]\nlevel = \"warn\"\nformat = \"json\"\n{greet}"
    )
}
