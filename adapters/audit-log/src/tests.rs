use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;

use fakes::ManualClock;
use tempfile::TempDir;

use super::*;

struct Lost(Sender<()>);

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
fn what_was_written_of_a_line_is_taken_back_unless_another_process_has_added_to_it() {
    let folder = TempDir::new().unwrap();
    let (path, mut output) = output(&folder);
    output.write(b"one\n").unwrap();
    output.write(b"tw").unwrap();
    output.take_back(2).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
    output.write(b"th").unwrap();
    let (_, mut other) = self::output(&folder);
    other.write(b"\nfour\n").unwrap();
    assert!(output.take_back(2).is_err());
    output.is_torn = true;
    output.write(b"five\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\nth\nfour\n\nfive\n");
}

#[test]
fn what_can_not_be_written_is_told_and_counted() {
    let (sender, lost) = mpsc::channel();
    let observer: Arc<dyn Observer> = Arc::new(Lost(sender));
    let options =
        Options { to: Destination::File("/dev/full".into()), on_failure: OnFailure::Count, queued_events: 1 };
    let log = AuditLog::start(&options, &observer).unwrap();
    let (asks, told) = oneshot::channel();
    log.queue.send(Message::Line(b"one\n".to_vec(), Some(asks))).unwrap();
    log.flush();
    lost.try_recv().unwrap();
    assert_eq!(futures_util::FutureExt::now_or_never(told), Some(Ok(false)));
}

#[test]
fn what_is_beyond_the_queue_is_lost_at_once() {
    let (sender, lost) = mpsc::channel();
    let (queue, _messages) = sync_channel(1);
    let shared = Arc::new(Shared {
        observer: Arc::new(Lost(sender)),
        must_reopen: AtomicBool::new(false),
        lost: AtomicU64::new(0),
    });
    let policy = policy();
    let decision = Decision {
        at: domain::Clock::now(&ManualClock::at(domain::UnixMillis(0))),
        request_id: "id",
        principal: None,
        audience: "a",
        method: None,
        target: None,
        refused: Some("no_token"),
        needed: None,
        policy: &policy,
    };
    let count = AuditLog { queue, shared, on_failure: OnFailure::Count };
    let refuse = AuditLog { on_failure: OnFailure::Refuse, ..count.clone() };
    assert!(matches!(count.record(&decision), Recording::GoesOn));
    assert!(lost.try_recv().is_err());
    assert!(matches!(count.record(&decision), Recording::GoesOn));
    lost.try_recv().unwrap();
    assert!(matches!(refuse.record(&decision), Recording::Failed));
    lost.try_recv().unwrap();
    assert_eq!(
        String::from_utf8(event::line(&decision)).unwrap(),
        format!(
            "{{\"time\":\"1970-01-01T00:00:00.000Z\",\"request_id\":\"id\",\"verdict\":\"deny\",\"reason\":\"no_token\",\
             \"audience\":\"a\",\"policy\":\"{policy}\"}}\n"
        )
    );
}

fn policy() -> domain::PolicyVersion {
    let tokens = domain::TokenPolicy {
        token_types: &[],
        issuers: Vec::new(),
        resources: Vec::new(),
        additional_audiences: Vec::new(),
        leeway: Duration::ZERO,
        authority: domain::ScopeAuthority::Scope,
        hierarchy: Arc::default(),
    };
    let catalog = domain::Catalog::default();
    let scopes = domain::ScopePolicy::new([], &catalog, &tokens.hierarchy, domain::LoginScopes::All).unwrap();
    domain::PolicyVersion::of(&tokens, &catalog, &scopes)
}
