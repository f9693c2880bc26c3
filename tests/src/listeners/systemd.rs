//! The binary as a service of systemd: sockets that it is passed, and what it says on `NOTIFY_SOCKET`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::binary::{command, run, text};

/// No test waits so long; without it one that fails would hang.
const NEVER: Duration = Duration::from_mins(1);
// No tenant is there; what is tested needs none.
const SETTINGS: [(&str, &str); 3] = [
    ("AUTH0_ISSUER", "http://127.0.0.1:1/"),
    ("AUTH0_AUDIENCE", "http://localhost/mcp"),
    ("MCP_SERVER_URL", "http://localhost"),
];

/// Where systemd would listen.
struct Notifications {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Notifications {
    fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(NEVER)).unwrap();
        Self { socket, folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("notify").to_str().unwrap().to_owned()
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).unwrap();
        text(&bytes[..count])
    }

    /// The next one that is no watchdog's.
    fn next_state(&self) -> String {
        std::iter::repeat_with(|| self.next()).find(|text| text.trim() != "WATCHDOG=1").unwrap()
    }
}

/// `serve` with a socket that was passed on, as file 0: `LISTEN_FDS_FIRST_FD` says so.
fn serve(socket: impl Into<OwnedFd>, environment: &[(&str, &str)]) -> Child {
    let passed = [("FASTMCP__SERVER__BIND", "systemd"), ("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")];
    command(&["serve"], &[&SETTINGS, &passed, environment].concat())
        .stdin(Stdio::from(socket.into()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn ended(mut child: Child) -> Option<i32> {
    child.wait().unwrap().code()
}

fn ping(mut stream: impl Read + Write) -> String {
    stream.write_all(b"GET /ping HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut read = String::new();
    stream.read_to_string(&mut read).unwrap();
    read
}

#[test]
fn systemd_hears_of_every_state_and_of_the_watchdog() {
    let notifications = Notifications::listen();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let environment = [("NOTIFY_SOCKET", &*notifications.path()), ("WATCHDOG_USEC", "2000000")];
    let mut server = serve(socket.try_clone().unwrap(), &environment);
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let ready = notifications.next_state();
    assert_eq!(ready, format!("READY=1\nSTATUS=listening on {address}\n"));
    assert!(ping(TcpStream::connect(address).unwrap()).contains("pong"), "it is");
    assert_eq!(notifications.next(), "WATCHDOG=1\n");

    signal(&server, "-HUP");
    let reloading = notifications.next_state();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(since.trim().parse::<u64>().unwrap() > 0);
    assert!(notifications.next_state().starts_with("READY=1\n"));
    let log = log.by_ref().map_while(Result::ok);
    assert!(log.into_iter().any(|line| line.contains("was read again")));

    signal(&server, "-TERM");
    assert_eq!(notifications.next_state(), "STOPPING=1\n");
    assert_eq!(ended(server), Some(0));
}

/// systemd has the socket, too, and it outlives the server: with its backlog, and without a filter of the old server's.
#[test]
fn a_socket_that_was_passed_on_serves_the_next_server_as_it_did_the_one_before() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let notifications = Notifications::listen();
    let path = notifications.path();
    let environment = [("NOTIFY_SOCKET", &*path)];
    let first = serve(socket.try_clone().unwrap(), &environment);
    assert!(notifications.next_state().starts_with("READY=1"));
    signal(&first, "-TERM");
    assert_eq!(notifications.next_state(), "STOPPING=1\n");
    assert_eq!(ended(first), Some(0));

    let waiting = TcpStream::connect_timeout(&address, NEVER).unwrap();
    waiting.set_read_timeout(Some(NEVER)).unwrap();
    let second = serve(socket, &environment);
    assert!(ping(waiting).contains("pong"));
    signal(&second, "-TERM");
    assert_eq!(ended(second), Some(0));
}

#[test]
fn a_unix_socket_may_be_passed_on_and_its_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.sock");
    let server = serve(UnixListener::bind(&path).unwrap(), &[]);
    assert!(ping(UnixStream::connect(&path).unwrap()).contains("pong"));
    signal(&server, "-TERM");
    assert_eq!(ended(server), Some(0));
    assert!(path.exists(), "it is systemd's");
}

#[test]
fn what_is_no_listening_socket_or_not_there_is_refused_in_words() {
    let (datagram, _other) = UnixDatagram::pair().unwrap();
    for (refused, expected) in [
        (serve(datagram, &[]), "is no stream socket of TCP or Unix"),
        (serve(TcpListener::bind("127.0.0.1:0").unwrap(), &[("LISTEN_FDS", "0")]), "has passed on no socket"),
        (serve(TcpListener::bind("127.0.0.1:0").unwrap(), &[("LISTEN_PID", "1")]), "has passed on no socket"),
    ] {
        let refused = refused.wait_with_output().unwrap();
        let told = text(&refused.stderr);
        assert!(told.contains(expected), "{told}");
        assert_eq!(refused.status.code(), Some(1));
    }
}

#[test]
fn the_binary_listens_on_a_unix_socket_and_removes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.sock");
    let bind = format!("unix:{}", path.display());
    let environment =
        [&SETTINGS[..], &[("FASTMCP__SERVER__BIND", &bind), ("FASTMCP__SERVER__SOCKET_MODE", "0600")]]
            .concat();
    let mut server = command(&["serve"], &environment).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let listening = log.find_map(|line| line.ok().filter(|line| line.contains("\"listening\""))).unwrap();
    let listening: Value = serde_json::from_str(&listening).unwrap();
    assert_eq!(listening["address"], *bind);
    assert!(ping(UnixStream::connect(&path).unwrap()).contains("pong"));

    let second = run(&["serve"], &environment);
    assert!(text(&second.stderr).contains("another process listens there"), "{}", text(&second.stderr));
    assert_eq!(second.status.code(), Some(1));
    assert!(ping(UnixStream::connect(&path).unwrap()).contains("pong"), "the first goes on");
    signal(&server, "-TERM");
    assert_eq!(ended(server), Some(0));
    assert!(!Path::new(&path).exists());
}
