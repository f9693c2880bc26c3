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
mod tests {
    use std::collections::BTreeMap;

    use domain::UnixMillis;
    use fakes::ManualClock;
    use futures_util::FutureExt as _;
    use rmcp::model::{JsonRpcMessage, ServerCapabilities, ServerConfig};
    use rmcp::{ServerHandler, ServiceExt as _};
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::{Reading, Source};

    const LIMITS: Limits = Limits { message_bytes: 1 << 20, ..limits() };

    const fn limits() -> Limits {
        Limits {
            start: Duration::from_secs(30),
            call: Duration::from_mins(1),
            stop: Duration::from_secs(5),
            message_bytes: 0,
            calls: 64,
            parked_calls: 64,
            parked: Duration::from_mins(5),
            listed: 1000,
        }
    }

    fn child(program: &str, arguments: &[&str]) -> Child {
        let path = (OsString::from("PATH"), OsString::from("/usr/bin:/bin"));
        Child {
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: BTreeMap::from([path]),
            folder: None,
        }
    }

    fn try_spawn(child: &Child, limits: &Limits) -> Result<(ChildTransport, Arc<ManualClock>), SpawnError> {
        let clock = Arc::new(ManualClock::at(UnixMillis(0)));
        let transport = ChildTransport::spawn("a", child, limits, Arc::default(), Arc::clone(&clock) as _)?;
        Ok((transport, clock))
    }

    fn shell(script: &str) -> (ChildTransport, Arc<ManualClock>) {
        try_spawn(&child("sh", &["-c", script]), &LIMITS).unwrap()
    }

    fn request(id: i64, text: &str) -> ClientJsonRpcMessage {
        let params = json!({"name": "a", "arguments": {"text": text}});
        serde_json::from_value(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
            .unwrap()
    }

    async fn receive(transport: &mut ChildTransport) -> Option<Value> {
        Some(serde_json::to_value(transport.receive().await?).unwrap())
    }

    fn answer(id: i64) -> String {
        json!({"jsonrpc": "2.0", "id": id, "result": {"a": id}}).to_string()
    }

    fn how(transport: &ChildTransport) -> Option<String> {
        transport.ended.borrow().clone()
    }

    #[tokio::test]
    async fn messages_go_in_and_come_out() {
        // What it gets it sends back, so that each request is one to us, too.
        let (mut transport, _clock) = shell("cat");
        let sent = request(1, "a\nb\u{e9}");
        transport.send(sent.clone()).await.unwrap();
        assert_eq!(receive(&mut transport).await.unwrap(), serde_json::to_value(&sent).unwrap());
        assert_eq!(how(&transport), None);
    }

    #[tokio::test]
    async fn concurrent_messages_do_not_mix() {
        let (mut transport, _clock) = shell("cat");
        let text = "a".repeat(100_000);
        let mut sends = Vec::new();
        for id in 0..50 {
            sends.push(transport.send(request(id, &text)));
        }
        let sends = tokio::spawn(futures_util::future::join_all(sends));
        let mut ids = Vec::new();
        for _ in 0..50 {
            let message = receive(&mut transport).await.unwrap();
            assert_eq!(message["params"]["arguments"]["text"], *text);
            ids.push(message["id"].as_i64().unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..50).collect::<Vec<_>>());
        assert!(sends.await.unwrap().into_iter().all(|sent| sent.is_ok()));
    }

    #[tokio::test]
    async fn a_message_that_nobody_waits_for_any_more_is_written_as_a_whole() {
        let (mut transport, _clock) = shell("cat");
        let mut first = Box::pin(transport.send(request(1, &"a".repeat(500_000))));
        assert!(first.as_mut().now_or_never().is_none());
        drop(first);
        transport.send(request(2, "b")).now_or_never();
        let second = tokio::spawn(transport.send(request(3, "c")));
        assert_eq!(receive(&mut transport).await.unwrap()["id"], 1);
        let next = receive(&mut transport).await.unwrap()["id"].as_i64().unwrap();
        assert!(matches!(next, 2 | 3));
        second.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_no_message_is_skipped() {
        let script =
            format!("printf 'Starting up\\n\\n  \\r\\n{{\"a\":1}}\\n[]\\n\\377\\376\\n%s' '{}'", answer(1));
        let (mut transport, _clock) = shell(&script);
        assert_eq!(receive(&mut transport).await.unwrap().to_string(), answer(1), "the last line has no end");
        assert!(receive(&mut transport).await.is_none());
        assert_eq!(transport.complaints.quota.take_refused(), 3, "one of four was logged");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_utf_8_is_an_error_of_its_call() {
        let script = r#"printf '{"jsonrpc":"2.0","id":7,"result":{"a":"\377"}}\n'"#;
        let (mut transport, _clock) = shell(script);
        let error = receive(&mut transport).await.unwrap();
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(7), &json!(-32603)));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_an_error_of_its_call_and_the_next_message_comes() {
        // Of 32 MB, of which the id is the last.
        let script = format!(
            "printf '{{\"jsonrpc\":\"2.0\",\"result\":{{\"a\":\"'; head -c 32000000 /dev/zero | tr '\\0' a; \
             printf '\"}},\"id\":7}}\\n'; printf '{{\"method\":\"notifications/message\",\"params\":\"'; \
             head -c 2000000 /dev/zero | tr '\\0' a; printf '\"}}\\n%s\\n' '{}'; cat",
            answer(8)
        );
        let (mut transport, _clock) = shell(&script);
        let error = receive(&mut transport).await.unwrap();
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(7), &json!(-32603)));
        assert_eq!(receive(&mut transport).await.unwrap().to_string(), answer(8));
    }

    #[tokio::test]
    async fn the_wire_sees_what_is_sent_and_received() {
        let wire = Arc::<Wire>::default();
        let clock = Arc::new(ManualClock::at(UnixMillis(0)));
        let script = format!("read line; echo '{}'; cat", answer(1));
        let child = child("sh", &["-c", &script]);
        let mut transport = ChildTransport::spawn("a", &child, &LIMITS, Arc::clone(&wire), clock).unwrap();
        let call = wire.register(Reading::Call, Source::Caller("a".into()), hyper::HeaderMap::new());
        let mut message = request(1, "a");
        if let JsonRpcMessage::Request(request) = &mut message {
            rmcp::model::GetExtensions::extensions_mut(&mut request.request).insert(call.key);
        }
        transport.send(message).await.unwrap();
        let shown = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
        assert_eq!(receive(&mut transport).await.unwrap(), shown);
        assert_eq!(call.result.take().unwrap().get("a").unwrap().get(), "1");
    }

    #[tokio::test]
    async fn the_environment_is_what_is_configured_and_the_folder_is() {
        let script = "read line; vars=$(env | tr '\\n' ' '); \
                      printf '{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"vars\":\"%s\",\"folder\":\"%s\"}}\\n' \
                      \"$vars\" \"$(pwd)\"";
        let mut child = child("sh", &["-c", script]);
        child.environment.insert("A".into(), "1".into());
        child.folder = Some("/usr".into());
        let (mut transport, _clock) = try_spawn(&child, &LIMITS).unwrap();
        transport.send(request(1, "")).await.unwrap();
        let result = receive(&mut transport).await.unwrap()["result"].take();
        assert_eq!(result["folder"], "/usr");
        // The shell adds some of its own for what it starts.
        let own = ["PWD", "OLDPWD", "SHLVL", "_"];
        let vars = result["vars"].as_str().unwrap().split_whitespace();
        let vars: Vec<&str> = vars.filter(|var| !own.contains(&var.split('=').next().unwrap())).collect();
        assert_eq!(vars.len(), 2, "{vars:?}");
        assert!(vars.contains(&"A=1") && vars.contains(&"PATH=/usr/bin:/bin"), "{vars:?}");
    }

    #[tokio::test]
    async fn what_can_not_be_started_is_said_clearly() {
        let error = |child: Child| try_spawn(&child, &LIMITS).err().unwrap().to_string();
        let secret = |program: &str| {
            let mut child = child(program, &["--key=secret"]);
            child.environment.insert("KEY".into(), "secret".into());
            child
        };
        let in_no_folder =
            "the program no-such was not found in the PATH that the child is given; no shell is involved";
        assert_eq!(error(secret("no-such")), in_no_folder);
        assert_eq!(error(secret("/no/such")), "the program /no/such is not there");
        assert_eq!(error(secret("./no-such")), "the program ./no-such is not there");
        assert_eq!(error(secret("/usr")), "the program /usr may not be executed");
        let mut there = secret("Cargo.toml");
        there.environment.insert("PATH".into(), env!("CARGO_MANIFEST_DIR").into());
        assert_eq!(error(there), "the program Cargo.toml may not be executed");
        let mut relative = secret("lib.rs");
        relative.environment.insert("PATH".into(), "src:".into());
        assert!(error(relative).contains("was not found in the PATH"));
        let mut no_path = secret("sh");
        no_path.environment.remove(&OsString::from("PATH"));
        let error_of_name = error(no_path);
        assert!(error_of_name.contains("is a name, and the child is given no PATH"), "{error_of_name}");
        let no_folder = Child { folder: Some("/no/such".into()), ..secret("sh") };
        assert_eq!(error(no_folder), "the folder /no/such is not there");
        let nul = Child { arguments: vec!["secret\0".into()], ..secret("sh") };
        assert!(error(nul).starts_with("the program sh can't be started: "));
        let of = |kind| SpawnError::of(&secret("sh"), io::Error::from(kind)).to_string();
        assert!(of(io::ErrorKind::NotFound).contains("interpreter"));
    }

    #[tokio::test]
    async fn a_program_with_a_path_is_found_from_its_folder() {
        let mut child = child("./sh", &["-c", "exit 3"]);
        child.folder = Some("/bin".into());
        let (mut transport, _clock) = try_spawn(&child, &LIMITS).unwrap();
        assert!(transport.receive().await.is_none());
        has_ended(&mut transport.ended).await;
        assert_eq!(how(&transport).unwrap(), "exit status: 3");
    }

    #[tokio::test]
    async fn closing_ends_a_child_that_reads_to_the_end() {
        // What it still writes then is more than a pipe holds.
        let (mut transport, clock) =
            shell("cat; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 4");
        transport.close().await.unwrap();
        assert_eq!(how(&transport).unwrap(), "exit status: 4");
        assert_eq!(clock.uptime(), Duration::ZERO);
        let error = transport.send(request(1, "a")).await.unwrap_err();
        assert_eq!(error.to_string(), "the child's standard input is closed");
        transport.close().await.unwrap();
    }

    #[tokio::test]
    async fn closing_ends_a_child_that_reads_nothing_by_sigterm() {
        let (mut transport, clock) = shell("exec sleep 1000");
        let stuck = tokio::spawn(transport.send(request(1, &"a".repeat(1_000_000))));
        let stop = async {
            clock.sleeping_until(LIMITS.stop).await;
            clock.advance(LIMITS.stop);
        };
        let (closed, ()) = tokio::join!(transport.close(), stop);
        closed.unwrap();
        assert_eq!(how(&transport).unwrap(), "signal: 15 (SIGTERM)");
        assert!(stuck.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn closing_ends_a_child_that_ignores_sigterm_by_sigkill() {
        let script = format!("trap '' TERM; echo '{}'; while true; do sleep 1000; done", answer(1));
        let (mut transport, clock) = shell(&script);
        receive(&mut transport).await.unwrap();
        let stop = async {
            for _ in 0..2 {
                clock.sleeping_until(LIMITS.stop).await;
                clock.advance(LIMITS.stop);
            }
        };
        let (closed, ()) = tokio::join!(transport.close(), stop);
        closed.unwrap();
        assert_eq!(how(&transport).unwrap(), "signal: 9 (SIGKILL)");
    }

    #[tokio::test]
    async fn closing_ends_what_the_child_started() {
        let script = format!("(trap '' TERM; exec sleep 1000) & echo '{}'; cat", answer(1));
        let (mut transport, clock) = shell(&script);
        receive(&mut transport).await.unwrap();
        let mut ended = transport.ended();
        let time_passes = async {
            has_ended(&mut ended).await;
            loop {
                clock.sleeping_until(LIMITS.stop).await;
                clock.advance(LIMITS.stop);
            }
        };
        tokio::select! {
            closed = transport.close() => closed.unwrap(),
            () = time_passes => {}
        }
        assert_eq!(how(&transport).unwrap(), "exit status: 0");
        // Only once nobody has it any more.
        is_closed(&mut transport.logging).await;
    }

    #[tokio::test]
    async fn a_dropped_transport_leaves_no_process() {
        let script = format!("trap '' TERM; sleep 1000 & echo '{}'; wait", answer(1));
        let (mut transport, clock) = shell(&script);
        receive(&mut transport).await.unwrap();
        let (mut ended, mut logging) = (transport.ended(), transport.logging.clone());
        drop(transport);
        has_ended(&mut ended).await;
        assert_eq!(ended.borrow().as_deref(), Some("signal: 9 (SIGKILL)"));
        is_closed(&mut logging).await;
        assert_eq!(clock.uptime(), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_a_child_leaves_behind_ends_with_it() {
        let (mut transport, _clock) = shell("sleep 1000 & exit 5");
        assert!(transport.receive().await.is_none());
        assert_eq!(how(&transport).unwrap(), "exit status: 5");

        let script = format!("(trap '' TERM; echo '{}'; exec sleep 1000) & read line; exit 6", answer(1));
        let (mut transport, clock) = shell(&script);
        receive(&mut transport).await.unwrap();
        transport.send(request(1, "a")).await.unwrap();
        clock.sleeping_until(LIMITS.stop).await;
        clock.advance(LIMITS.stop);
        assert!(transport.receive().await.is_none());
        assert_eq!(how(&transport).unwrap(), "exit status: 6");
    }

    #[tokio::test]
    async fn a_flood_on_standard_error_holds_nothing_up() {
        let script =
            format!("head -c 20000000 /dev/zero >&2; yes | head -c 5000000 >&2; echo '{}'", answer(1));
        let (mut transport, _clock) = shell(&script);
        assert_eq!(receive(&mut transport).await.unwrap().to_string(), answer(1));
        assert!(receive(&mut transport).await.is_none());
    }

    struct Empty;

    impl ServerHandler for Empty {
        fn get_info(&self) -> ServerConfig {
            ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
        }
    }

    /// What [`rmcp_speaks_to_a_server_of_its_own`] starts; by itself it ends with its standard input.
    #[tokio::test]
    #[ignore = "it is the server of another test"]
    async fn server() {
        if let Ok(server) = Empty.serve(rmcp::transport::stdio()).await {
            server.waiting().await.unwrap();
        }
    }

    #[tokio::test]
    async fn rmcp_speaks_to_a_server_of_its_own() {
        // The test binary prints other lines as well, before the server does.
        let program = std::env::current_exe().unwrap();
        let arguments = ["child::tests::server", "--exact", "--ignored", "--nocapture"];
        let (transport, clock) = try_spawn(&child(program.to_str().unwrap(), &arguments), &LIMITS).unwrap();
        let mut ended = transport.ended();
        let client = ().serve(transport).await.unwrap();
        assert!(client.list_all_tools().await.unwrap().is_empty());
        client.cancel().await.unwrap();
        has_ended(&mut ended).await;
        assert_eq!(ended.borrow().as_deref(), Some("exit status: 0"));
        assert_eq!(clock.uptime(), Duration::ZERO);
    }
}
