//! [`ChildTransport`]: messages to and from a child process, and its life from start to end.
//!
//! A child leads a process group of its own, because what is started is often only what starts the server (`npx`, a shell):
//! signals go to the group, and none of it is left behind.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::incoming;
use crate::lines::{Line, Lines};
use crate::options::{Child, Limits};
use crate::quota::Quota;
use crate::scan::Scanner;
use crate::stderr;
use crate::wire::Wire;

/// The maximum number of messages that wait to be written.
const QUEUE: usize = 16;
/// How often it is logged that what the child writes is no message.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// A child process, as a transport of rmcp's.
pub(crate) struct ChildTransport {
    wire: Arc<Wire>,
    clock: Arc<dyn Clock>,
    stop: Duration,
    lines: Lines<ChildStdout>,
    queue: mpsc::Sender<Outgoing>,
    /// Has the standard input; `None` once that was closed.
    writer: Option<JoinHandle<()>>,
    group: Group,
    ended: watch::Receiver<Option<String>>,
    /// Closed once standard error is.
    logging: watch::Receiver<()>,
    complaints: Complaints,
    is_closed: bool,
}

/// Why a child could not be started, for an operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("the program {} is not there", .0.display())]
    NotFound(PathBuf),
    #[error("the program {} was not found in the PATH that the child is given; no shell is involved", .0.display())]
    NotInPath(PathBuf),
    #[error("the program {} is a name, and the child is given no PATH to find it in: name PATH in `inherit_env`, or the program by its path", .0.display())]
    NoPath(PathBuf),
    #[error("the program {} may not be executed", .0.display())]
    NotExecutable(PathBuf),
    #[error("the program {} is there, but not the interpreter that its first line names", .0.display())]
    NoInterpreter(PathBuf),
    #[error("the folder {} is not there", .0.display())]
    NoFolder(PathBuf),
    #[error("the program {} can't be started: {}", .program.display(), .error)]
    Other { program: PathBuf, error: io::Error },
}

impl ChildTransport {
    /// Starts a child.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub(crate) fn spawn(
        name: &str,
        child: &Child,
        limits: &Limits,
        wire: Arc<Wire>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SpawnError> {
        let mut process = command(child)?.spawn().map_err(|error| SpawnError::of(child, error))?;
        let other = |text: &'static str| SpawnError::of(child, io::Error::other(text));
        let pid = process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let group = Group(pid.ok_or_else(|| other("it has no process id"))?);
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(other("it has no standard streams"));
        };
        let name: Arc<str> = name.into();
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let (ended_sender, ended) = watch::channel(None);
        let (logging_sender, logging) = watch::channel(());
        let log = stderr::log(Arc::clone(&name), stderr, Arc::clone(&clock));
        let log = tokio::spawn(async move {
            log.await;
            drop(logging_sender);
        });
        tokio::spawn(keep(process, group, ended_sender, log, Arc::clone(&clock), limits.stop));
        Ok(Self {
            wire,
            stop: limits.stop,
            lines: Lines::new(stdout, limits.message_bytes),
            queue,
            writer: Some(tokio::spawn(write(stdin, outgoing))),
            group,
            ended,
            logging,
            complaints: Complaints {
                name,
                clock: Arc::clone(&clock),
                quota: Quota::new(1, COMPLAINT_INTERVAL),
            },
            clock,
            is_closed: false,
        })
    }

    /// Returns where it will be said how the process ended, such as `exit status: 1`.
    pub(crate) fn ended(&self) -> watch::Receiver<Option<String>> {
        self.ended.clone()
    }

    /// Waits until the process has ended and nobody has its standard output and error any more, or the time is up.
    async fn gone_in_time(&mut self) -> bool {
        let Self { lines, ended, logging, clock, stop, .. } = self;
        let gone = async {
            // What it still writes is read, so that it doesn't wait for that.
            tokio::join!(has_ended(ended), lines.drain(), is_closed(logging));
        };
        tokio::select! {
            biased;
            () = gone => true,
            () = clock.sleep(*stop) => false,
        }
    }
}

impl Transport<RoleClient> for ChildTransport {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.wire.sending(&message);
        let responding = self.wire.responding(&message);
        let text = serde_json::to_vec(&message);
        let queue = self.queue.clone();
        async move {
            let _responding = responding;
            let mut line = text?;
            line.push(b'\n');
            let (written, result) = oneshot::channel();
            queue.send(Outgoing { line, written }).await.map_err(|_| closed())?;
            result.await.unwrap_or_else(|_| Err(closed()))
        }
    }

    /// Returns the next message. What is none is skipped, since some servers print other things. An answer that is too long is
    /// replaced by an error, so that its call ends.
    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            // A child that reads no responses gets no further requests answered: they would queue up without bound.
            self.wire.room().await;
            match self.lines.next().await {
                Ok(Some(Line::Text(line))) => {
                    if let Some(message) = read(&self.wire, line, &mut self.complaints) {
                        return Some(message);
                    }
                }
                Ok(Some(Line::TooLong { answers })) => {
                    self.complaints.too_long(answers.is_some());
                    if let Some(id) = answers {
                        return Some(incoming::failed(id, "the upstream's answer is too long"));
                    }
                }
                Ok(None) => return None,
                Err(error) => {
                    let upstream = &*self.complaints.name;
                    tracing::warn!(upstream, %error, "the child's standard output can't be read");
                    return None;
                }
            }
        }
    }

    /// Ends the process: by closing its standard input, then by SIGTERM, then by SIGKILL.
    async fn close(&mut self) -> Result<(), Self::Error> {
        if let Some(writer) = self.writer.take() {
            writer.abort();
            let _ = writer.await;
        }
        if self.is_closed {
            return Ok(());
        }
        if !self.gone_in_time().await {
            self.group.signal(Signal::TERM);
            if !self.gone_in_time().await {
                let upstream = &*self.complaints.name;
                tracing::warn!(upstream, "the child ended neither by itself nor by SIGTERM, and is killed");
            }
        }
        // Even if its leader is gone: something without its standard streams may be left.
        self.group.signal(Signal::KILL);
        self.is_closed = true;
        tokio::select! {
            biased;
            () = has_ended(&mut self.ended) => {}
            () = self.clock.sleep(self.stop) => {}
        }
        Ok(())
    }
}

impl Drop for ChildTransport {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.abort();
        }
        if !self.is_closed {
            self.group.signal(Signal::KILL);
        }
    }
}

async fn has_ended(ended: &mut watch::Receiver<Option<String>>) {
    // Nobody will say it if the runtime ends.
    let _ = ended.wait_for(Option::is_some).await;
}

async fn is_closed(open: &mut watch::Receiver<()>) {
    let _ = open.wait_for(|()| false).await;
}

/// A message on its way to the child.
struct Outgoing {
    line: Vec<u8>,
    written: oneshot::Sender<io::Result<()>>,
}

/// Writes lines one after the other, each as a whole even if nobody waits for it any more.
async fn write(mut stdin: ChildStdin, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { line, written }) = queue.recv().await {
        let result = stdin.write_all(&line).await;
        let has_failed = result.is_err();
        let _ = written.send(result);
        if has_failed {
            return;
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the child's standard input is closed")
}

fn read(wire: &Wire, line: &[u8], complaints: &mut Complaints) -> Option<ServerJsonRpcMessage> {
    if line.trim_ascii().is_empty() {
        return None;
    }
    let Ok(text) = str::from_utf8(line) else {
        complaints.malformed(line.len());
        let mut scanner = Scanner::default();
        scanner.feed(line);
        return scanner.answers().map(|id| incoming::failed(id, "the upstream's answer is not UTF-8"));
    };
    let message = incoming::read(wire, text, None).ok();
    if message.is_none() {
        complaints.malformed(line.len());
    }
    message.flatten().map(|(_, message)| message)
}

/// What is logged of lines that are no message: never their text, which may be anything.
struct Complaints {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    quota: Quota,
}

impl Complaints {
    fn malformed(&mut self, bytes: usize) {
        if let Some(others) = self.quota.admit(self.clock.uptime()) {
            let upstream = &*self.name;
            tracing::warn!(upstream, bytes, others, "the child wrote a line that is no JSON-RPC message");
        }
    }

    fn too_long(&mut self, is_answer: bool) {
        if let Some(others) = self.quota.admit(self.clock.uptime()) {
            let upstream = &*self.name;
            tracing::warn!(upstream, is_answer, others, "the child wrote a line that is too long");
        }
    }
}

/// The process group of a child; it has the id of the child.
#[derive(Debug, Clone, Copy)]
struct Group(Pid);

impl Group {
    /// Returns whether anything was left of it to get the signal.
    fn signal(self, signal: Signal) -> bool {
        kill_process_group(self.0, signal).is_ok()
    }
}

/// Waits for the process to end, says how it did, and ends what it left behind.
async fn keep(
    mut process: tokio::process::Child,
    group: Group,
    ended: watch::Sender<Option<String>>,
    log: JoinHandle<()>,
    clock: Arc<dyn Clock>,
    stop: Duration,
) {
    let how = match process.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => format!("it can't be waited for: {error}"),
    };
    ended.send_replace(Some(how));
    // No other group has this id while anything is left of this one, and a new one of the same id won't be there at once.
    let is_something_left = group.signal(Signal::TERM);
    if is_something_left || !log.is_finished() {
        let stop_logging = log.abort_handle();
        tokio::select! {
            // What the process wrote last is often why it ended.
            _ = log, if !is_something_left => {}
            () = clock.sleep(stop) => stop_logging.abort(),
        }
    }
    if is_something_left {
        group.signal(Signal::KILL);
    }
}

fn command(child: &Child) -> Result<Command, SpawnError> {
    if let Some(folder) = child.folder.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(SpawnError::NoFolder(folder.clone()));
    }
    let mut command = Command::new(find(child)?);
    command
        .arg0(&child.program)
        .args(&child.arguments)
        .env_clear()
        .envs(&child.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(folder) = &child.folder {
        command.current_dir(folder);
    }
    Ok(command)
}

/// Finds the program as the child would: a path from its folder, a name in its `PATH`.
fn find(child: &Child) -> Result<PathBuf, SpawnError> {
    let program = PathBuf::from(&child.program);
    if child.program.as_bytes().contains(&b'/') {
        let path = child.folder.as_deref().unwrap_or(Path::new("")).join(&program);
        let path = std::path::absolute(path).map_err(|error| SpawnError::of(child, error))?;
        return if path.exists() { Ok(path) } else { Err(SpawnError::NotFound(program)) };
    }
    let Some(folders) = child.environment.get(&OsString::from("PATH")) else {
        return Err(SpawnError::NoPath(program));
    };
    let files = std::env::split_paths(folders)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&program))
        .filter(|path| path.is_file());
    let mut has_file = false;
    for file in files {
        has_file = true;
        if file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0) {
            return Ok(file);
        }
    }
    Err(if has_file { SpawnError::NotExecutable(program) } else { SpawnError::NotInPath(program) })
}

impl SpawnError {
    /// Says why a program that is there can't be started.
    fn of(child: &Child, error: io::Error) -> Self {
        let program = PathBuf::from(&child.program);
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoInterpreter(program),
            io::ErrorKind::PermissionDenied => Self::NotExecutable(program),
            _ => Self::Other { program, error },
        }
    }
}

#[cfg(test)]
mod tests;
