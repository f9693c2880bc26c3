//! The processes under test: started on their cores, asked by the kernel's own books what they cost.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::client::now;

/// A running server on 127.0.0.1.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// Keeps a process on these cores; where the machine does not allow it, it stays where it is.
pub(crate) fn pin(pid: Option<u32>, cores: &[usize]) -> bool {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    sched_setaffinity(pid, &set).is_ok()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process and all that it started, which are its own.
pub(crate) fn family(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))?;
        for task in tasks {
            let children = fs::read_to_string(task?.path().join("children"))?;
            for child in children.split_whitespace() {
                family.push(child.parse()?);
            }
        }
        next += 1;
    }
    Ok(family)
}

/// Time on a core so far, of all threads of a process that have not ended.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match fs::read_to_string(task?.path().join("schedstat")) {
            Ok(text) => nanoseconds += text.split(' ').next().context("no schedstat")?.parse::<u64>()?,
            // It ended meanwhile.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Returns whether a thread has ended: before its file was opened, or before that was read (`ESRCH`).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

impl Process {
    /// Starts a program on the given cores, and waits until it listens on the port.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&OsStr],
        environment: &[(&str, &str)],
        port: u16,
        cores: &[usize],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(log)?);
        // A child begins where its parent is.
        pin(None, cores);
        let started = now();
        let child = command.spawn().with_context(|| format!("can't start {}", program.display()))?;
        let mut process = Self { child, address: ([127, 0, 0, 1], port).into() };
        process.wait_until_listening(started)?;
        Ok(process)
    }

    fn wait_until_listening(&mut self, started: Instant) -> anyhow::Result<()> {
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            if started.elapsed() > Duration::from_secs(20) {
                bail!("the server does not listen");
            }
            // The server may be on this core.
            thread::yield_now();
        }
        Ok(())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time on a core so far, of all its threads.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(self.id())
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        resident(self.id())
    }

    /// Has it read its configuration again.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
