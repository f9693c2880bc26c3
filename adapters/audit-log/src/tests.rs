use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{self, Poll, Wake, Waker};

use domain::Principal;
use fakes::ManualClock;
use tempfile::TempDir;

use super::*;

struct Lost(mpsc::Sender<()>);

impl Observer for Lost {
    fn observe(&self, event: Event<'_>) {
        if matches!(event, Event::AuditEventLost) {
            let _ = self.0.send(());
        }
    }
}

fn output(folder: &TempDir) -> (PathBuf, Output) {
    let path = folder.path().join("audit");
    let output = Output::open(&Destination::File(path.clone())).unwrap();
    (path, output)
}

#[test]
fn the_file_is_its_owners_and_is_added_to() {
    let folder = TempDir::new().unwrap();
    let (path, mut first) = output(&folder);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    first.write(b"one\n").unwrap();
    let (_, mut second) = output(&folder);
    second.write(b"two\n").unwrap();
    first.write(b"three\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
}

#[test]
fn a_file_that_was_renamed_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let (path, mut output) = output(&folder);
    output.write(b"one\n").unwrap();
    let rotated = folder.path().join("rotated");
    std::fs::rename(&path, &rotated).unwrap();
    output.write(b"two\n").unwrap();
    output.reopen().unwrap();
    output.write(b"three\n").unwrap();
    assert_eq!(std::fs::read_to_string(&rotated).unwrap(), "one\ntwo\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
}

#[test]
fn a_file_that_was_removed_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let (path, mut output) = output(&folder);
    output.write(b"one\n").unwrap();
    std::fs::remove_file(&path).unwrap();
    output.write(b"two\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    // Where none can be made, nothing is written and nothing was.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    output.write(b"three\n").unwrap_err();
}

#[test]
fn a_pipe_is_refused_instead_of_waited_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let error = Output::open(&Destination::File(path)).err().unwrap();
    assert!(error.to_string().ends_with("is a pipe, not a file"), "{error}");
}

#[test]
fn a_line_that_a_crash_broke_off_stands_alone() {
    for (before, after) in [("", ""), ("one\n", "one\n"), ("one\ntw", "one\ntw\n")] {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("audit"), before).unwrap();
        let (path, mut output) = output(&folder);
        output.write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{after}three\n"));
    }
}

#[test]
fn what_was_written_of_a_line_is_taken_back_unless_another_process_has_added_to_it() {
    let folder = TempDir::new().unwrap();
    let (path, mut output) = output(&folder);
    output.write(b"one\n").unwrap();
    output.write(b"tw").unwrap();
    output.take_back(2).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
    output.write(b"th").unwrap();
    let (_, mut other) = self::output(&folder);
    other.write(b"four\n").unwrap();
    assert!(output.take_back(2).is_err());
    output.is_torn = true;
    output.write(b"five\n").unwrap();
    output.write(b"six\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\nth\nfour\n\nfive\nsix\n");
}

#[test]
fn a_line_that_broke_off_in_a_stream_is_ended() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(ours));
    let mut output = Output { to: Destination::Stdout, file, is_torn: false };
    // More than there is room for.
    output.write(&vec![b'x'; 10_000_000]).unwrap_err();
    theirs.set_nonblocking(true).unwrap();
    let mut read = Vec::new();
    theirs.read_to_end(&mut read).unwrap_err();
    assert!(!read.is_empty() && read.iter().all(|byte| *byte == b'x'));
    read.clear();
    output.write(b"one\n").unwrap();
    theirs.read_to_end(&mut read).unwrap_err();
    assert_eq!(read, b"\none\n");
}

#[test]
fn what_can_not_be_written_is_told_and_counted() {
    let (sender, lost) = mpsc::channel();
    let observer: Arc<dyn Observer> = Arc::new(Lost(sender));
    let options =
        Options { to: Destination::File("/dev/full".into()), on_failure: OnFailure::Count, queued_events: 4 };
    let log = AuditLog::start(&options, &observer).unwrap();
    let told: Vec<_> = (0..3)
        .map(|_| {
            let (asks, told) = oneshot::channel();
            assert!(log.entrance.0.add("one\n", false, Some(asks)));
            told
        })
        .collect();
    log.flush();
    for told in told {
        assert_eq!(futures_util::FutureExt::now_or_never(told), Some(Ok(false)));
    }
    assert_eq!(lost.try_iter().count(), 3);
}

/// A log of so many places whose thread does not write.
fn stopped(places: usize) -> (AuditLog, Exit, mpsc::Receiver<()>) {
    let (sender, lost) = mpsc::channel();
    let queue = Arc::new(Queue::with_room_for(places));
    let shared = Arc::new(Shared { observer: Arc::new(Lost(sender)), lost: AtomicU64::new(0) });
    let entrance = Arc::new(Entrance(Arc::clone(&queue)));
    (AuditLog { entrance, shared, on_failure: OnFailure::Count }, Exit(queue), lost)
}

fn decision<'d>(principal: Option<&'d Principal>, policy: &'d domain::PolicyVersion) -> Decision<'d> {
    Decision {
        at: domain::Clock::now(&ManualClock::at(domain::UnixMillis(0))),
        request_id: "id",
        principal,
        audience: "a",
        method: None,
        target: None,
        refused: Some("no_token"),
        needed: None,
        rules: &[],
        would_refuse: &[],
        policy,
    }
}

#[test]
fn what_is_beyond_the_queue_is_lost_at_once() {
    let (count, _exit, lost) = stopped(2);
    let refuse = AuditLog { on_failure: OnFailure::Refuse, ..count.clone() };
    let (principal, policy) = (principal(), policy());
    let decision = decision(Some(&principal), &policy);
    for _ in 0..2 {
        assert!(matches!(count.record(&decision), Recording::GoesOn));
        assert!(lost.try_recv().is_err());
    }
    assert!(matches!(count.record(&decision), Recording::GoesOn));
    lost.try_recv().unwrap();
    assert!(matches!(refuse.record(&decision), Recording::Failed));
    lost.try_recv().unwrap();
}

#[test]
fn an_event_that_nobody_writes_any_more_is_not_written() {
    let (log, exit, _lost) = stopped(2);
    let log = AuditLog { on_failure: OnFailure::Refuse, ..log };
    let (principal, policy) = (principal(), policy());
    let Recording::Waits(written) = log.record(&decision(Some(&principal), &policy)) else {
        panic!("it has a place")
    };
    drop(exit);
    assert_eq!(futures_util::FutureExt::now_or_never(written), Some(Err(NotRecorded)));
    assert!(matches!(log.record(&decision(Some(&principal), &policy)), Recording::Failed));
}

#[test]
fn a_flood_of_events_about_nobody_leaves_places_for_others() {
    let (log, exit, lost) = stopped(4);
    let log = AuditLog { on_failure: OnFailure::Refuse, ..log };
    let (principal, policy) = (principal(), policy());
    let nobody = decision(None, &policy);
    let somebody = decision(Some(&principal), &policy);
    let goes_on = |decision: &Decision<'_>| matches!(log.record(decision), Recording::Waits(_));
    assert_eq!([0; 100].map(|_| goes_on(&nobody)).iter().filter(|goes_on| **goes_on).count(), 2);
    assert_eq!(lost.try_iter().count(), 98);
    assert!(goes_on(&somebody) && goes_on(&somebody) && !goes_on(&somebody));
    // What is written frees its place, once it is.
    let mut batch = Batch::default();
    assert!(exit.0.take(&mut batch));
    assert!(!goes_on(&somebody) && !goes_on(&nobody));
    exit.0.reopen();
    assert!(exit.0.take(&mut batch));
    assert!(goes_on(&nobody) && goes_on(&nobody) && !goes_on(&nobody));
}

#[test]
fn an_event_about_nobody_names_nobody() {
    let policy = policy();
    assert_eq!(
        event::with_line(&decision(None, &policy), str::to_owned),
        format!(
            "{{\"time\":\"1970-01-01T00:00:00.000Z\",\"request_id\":\"id\",\"verdict\":\"deny\",\"reason\":\"no_token\",\
             \"audience\":\"a\",\"policy\":\"{policy}\"}}\n"
        )
    );
}

#[test]
fn a_text_of_a_token_breaks_no_line() {
    let policy = policy();
    let subject = "x\n{\"verdict\":\"allow\"}\r\u{85}\u{2028}\u{1b}[2J";
    let principal = principal_of(subject);
    let line = event::with_line(&decision(Some(&principal), &policy), str::to_owned);
    let (line, end) = line.split_at(line.len() - 1);
    assert!(end == "\n" && !line.chars().any(|char| char.is_ascii_control()), "{line:?}");
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(event["sub"], subject);
    assert_eq!(event["verdict"], "deny");
}

/// A log to a file of this folder.
fn log_to(folder: &TempDir, on_failure: OnFailure, queued_events: usize) -> (PathBuf, AuditLog) {
    let path = folder.path().join("audit");
    let options = Options { to: Destination::File(path.clone()), on_failure, queued_events };
    let (sender, _) = mpsc::channel();
    let observer: Arc<dyn Observer> = Arc::new(Lost(sender));
    (path, AuditLog::start(&options, &observer).unwrap())
}

#[test]
fn events_are_written_in_order_and_all_of_them_when_flush_returns() {
    let folder = TempDir::new().unwrap();
    let (path, log) = log_to(&folder, OnFailure::Count, 100_000);
    let lines: Vec<String> = (0..10_000).map(|number| format!("{number} {}\n", "x".repeat(100))).collect();
    for line in &lines {
        assert!(log.entrance.0.add(line, false, None));
    }
    log.flush();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lines.concat());
}

#[test]
fn events_before_a_reopening_are_in_the_file_of_before() {
    let folder = TempDir::new().unwrap();
    let (path, log) = log_to(&folder, OnFailure::Count, 8);
    let rotated = folder.path().join("rotated");
    assert!(log.entrance.0.add("one\n", false, None));
    std::fs::rename(&path, &rotated).unwrap();
    log.reopen();
    assert!(log.entrance.0.add("two\n", false, None));
    log.flush();
    assert_eq!(std::fs::read_to_string(&rotated).unwrap(), "one\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
}

#[test]
fn what_waits_is_written_when_the_log_is_gone() {
    let folder = TempDir::new().unwrap();
    let (path, log) = log_to(&folder, OnFailure::Count, 8);
    assert!(log.entrance.0.add("one\n", false, None));
    let (done, written) = mpsc::channel();
    log.entrance.0.flush(done);
    drop(log);
    written.recv().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
}

struct Unparks(thread::Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn outcome(
    mut written: Pin<Box<dyn Future<Output = Result<(), NotRecorded>> + Send>>,
) -> Result<(), NotRecorded> {
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    loop {
        match written.as_mut().poll(&mut task::Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn an_event_that_is_waited_for_is_written_without_others_and_the_thread_is_woken_each_time() {
    let folder = TempDir::new().unwrap();
    let (path, log) = log_to(&folder, OnFailure::Refuse, 8);
    let (principal, policy) = (principal(), policy());
    for count in 1..=3 {
        let Recording::Waits(written) = log.record(&decision(Some(&principal), &policy)) else {
            panic!("it has a place")
        };
        assert_eq!(outcome(written), Ok(()));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), count);
    }
}

#[test]
fn what_is_written_with_one_call_is_whole_lines() {
    let (short, long) = ("x".repeat(999) + "\n", "x".repeat(MAX_WRITE) + "\n");
    for (lines, expected) in [
        (short.repeat(65), 65_000),
        (short.repeat(66), 65_000),
        (short.clone() + &long, 1000),
        (long.clone() + &short, MAX_WRITE + 1),
        (String::new(), 0),
    ] {
        assert_eq!(for_one_call(lines.as_bytes()), expected);
    }
}

fn tokens() -> domain::TokenPolicy {
    domain::TokenPolicy {
        token_types: &["at+jwt"],
        issuers: vec!["https://issuer.example/".into()],
        resources: vec!["a".into()],
        additional_audiences: Vec::new(),
        leeway: Duration::ZERO,
        authority: domain::ScopeAuthority::Scope,
        hierarchy: Arc::default(),
    }
}

fn principal() -> Principal {
    principal_of("auth0|ada")
}

fn principal_of(subject: &str) -> Principal {
    let mut claims = fakes::claims("https://issuer.example/", "a", domain::UnixSeconds(1), "");
    claims.subject = subject.into();
    tokens().admit(&Arc::new(claims), &"a".into(), domain::UnixSeconds(0)).unwrap()
}

fn policy() -> domain::PolicyVersion {
    let catalog = domain::Catalog::default();
    let scopes =
        domain::ScopePolicy::new([], &catalog, &tokens().hierarchy, domain::LoginScopes::All).unwrap();
    domain::PolicyVersion::of(&tokens(), &catalog, &scopes, None)
}
