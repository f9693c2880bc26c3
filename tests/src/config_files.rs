//! Configuration files through the real binary: what is not a file, what is too large, and secrets that no message repeats.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::binary::{binary, command, text};

const KEY: &str = "dzHF8dbAAX8KLEJwi69e/jLB9/3Ai02sJYE/3CTFoy0=";
const OTHER_KEY: &str = "F/EV0ERk3sD0rJ2LZ4zYkP7nWl980AbgI5b6jQcd1zg=";
const TENANT: [(&str, &str); 2] =
    [("AUTH0_DOMAIN", "tenant.eu.auth0.com"), ("AUTH0_AUDIENCE", "http://localhost:3001/mcp")];
/// A configuration that works.
const GOOD: &str = "[log]\nlevel = \"info\"\n";

/// A folder to start the binary in.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        command(arguments, environment).current_dir(self.0.path()).output().unwrap()
    }

    /// `check` and `serve`, both of which must refuse in the same words.
    #[track_caller]
    fn refused(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let environment = [&TENANT[..], environment].concat();
        let [check, serve] = ["check", "serve"].map(|command| {
            // A check that is gone must fail a test, not eat the machine's memory.
            let line = format!("ulimit -v 4000000; ulimit -t 20; exec \"$0\" {command} \"$@\"");
            let output = Command::new("sh")
                .args(["-c", &line])
                .arg(binary())
                .args(arguments)
                .env_clear()
                .envs(environment.iter().copied())
                .current_dir(self.0.path())
                .output()
                .unwrap();
            let said = text(&output.stderr);
            assert_eq!((output.status.code(), text(&output.stdout)), (Some(64), String::new()), "{said}");
            said
        });
        assert_eq!(
            serve.lines().take(check.lines().count()).collect::<Vec<_>>(),
            check.lines().collect::<Vec<_>>()
        );
        check
    }
}

/// Fails if any 8 characters of a key are in a text.
#[track_caller]
fn assert_holds_no_key(said: &str, context: &str) {
    for key in [KEY, OTHER_KEY] {
        for start in 0..=key.len() - 8 {
            assert!(!said.contains(&key[start..start + 8]), "{context}\n\n{said}");
        }
    }
}

#[test]
fn faults_in_a_file_name_the_place_and_never_repeat_a_key() {
    let folder = Folder::new();
    for (toml, expected) in [
        (
            "[mcp]\nstate_keys = [\"KEY]\n",
            "mcp.state_keys (my.toml:2:61): not TOML: unclosed array, expected `]`",
        ),
        ("[mcp]\nstate_keys = [KEY]\n", "mcp.state_keys (my.toml:2:58): not TOML: unexpected `=` in array"),
        (
            "[mcp]\nstate_keys = [\"KEY\" \"OTHER\"]\n",
            "mcp.state_keys (my.toml:2:62): not TOML: missing comma between array elements, expected `,`",
        ),
        ("[mcp]\nstate_keys = [\"KEY\"\ninstructions = \"\"\n", "my.toml:3:1"),
        (
            "[mcp]\nstate_keys = [\n  KEY,\n]\n",
            "mcp.state_keys (my.toml:3:46): not TOML: unexpected `=` in array",
        ),
        (
            "[mcp]\nstate_keys = [\"KEY\"]\nstate_keys = [\"OTHER\"]\n",
            "mcp.state_keys (my.toml:3:1): not TOML: duplicate key",
        ),
        (
            "[mcp]\nstate_keys = [\"\\KEY\"]\n",
            "mcp.state_keys (my.toml:2:17): not TOML: missing escaped value",
        ),
        (
            "[mcp]\nstate_keys = [\"KEY\u{1}\"]\n",
            "mcp.state_keys (my.toml:2:60): not TOML: invalid basic string",
        ),
        ("[mcp]\nstate_keys \"KEY\"\n", "my.toml:2:12: not TOML: key with no value, expected `=`"),
        ("[mcp]\nKEY\n", "my.toml:2:"),
        ("[KEY]\nx = 1\n", "my.toml:1:"),
        (
            "[mcp]\nstate_keys = \"KEY\"\n",
            "mcp.state_keys (my.toml:2:1): must be a list of texts, none of them empty",
        ),
        (
            "[mcp]\nstate_keys = \"PART\"\n",
            "mcp.state_keys (my.toml:2:1): must be a list of texts, none of them empty",
        ),
        (
            "[mcp]\nstate_keys = [\"KEY\", 5]\n",
            "mcp.state_keys (my.toml:2:1): must be a list of texts, none of them empty",
        ),
        (
            "[mcp]\nstate_keys = { first = \"KEY\" }\n",
            "mcp.state_keys (my.toml:2:16): must be a list of texts, not a table",
        ),
        (
            "[mcp.state_keys]\n\"KEY\" = 1\n",
            "mcp.state_keys (my.toml:2:1): must be a list of texts, not a table",
        ),
        ("[mcp]\n\"KEY\" = true\n", "mcp.(a name of 44 characters) (my.toml:2:1): there is no such key"),
        (
            "\"KEY\" = 99999999999999999999\n",
            "(a name of 44 characters) (my.toml:1:1): must be a number of at most 64 bits",
        ),
        ("[mcp]\nstate_key = [\"KEY\"]\n", "mcp.state_key (my.toml:2:1): there is no such key"),
        (
            "[tools.\"KEY\"]\nenabled = 1\n",
            "tools.(a name of 44 characters) (my.toml:2:1): there is no such tool",
        ),
        (
            "[tools.greet.\"KEY\"]\nenabled = 1\n",
            "tools.greet.(a name of 44 characters).enabled (my.toml:2:1): there is no such key",
        ),
        (
            "[mcp]\nstate_keys = [\"OTHER\", \"sKEY\"]\n",
            "mcp.state_keys (my.toml:2:1): item 2 must be a key of 32 bytes in base64",
        ),
        (
            "[mcp]\nstate_keys = [\"KEY\"]\nstate_keys_file = \"keys\"\n",
            "mcp.state_keys_file (my.toml:3:1): can't be set together with mcp.state_keys",
        ),
        (
            "[mcp]\nstate_keys_file = \"KEY\"\n",
            "mcp.state_keys_file (my.toml:2:1): must be the path of a file with keys, not a key",
        ),
    ] {
        let toml = toml.replace("PART", &KEY[..20]).replace("OTHER", OTHER_KEY).replace("KEY", KEY);
        folder.write("my.toml", &toml);
        let said = folder.refused(&["--config", "my.toml"], &[]);
        assert!(said.contains(expected), "{toml}\n{expected}\n\n{said}");
        assert_holds_no_key(&said, &toml);
    }
}

#[test]
fn faults_in_variables_name_them_and_never_repeat_a_key() {
    let folder = Folder::new();
    let short = &KEY[..40];
    for (name, value, expected) in [
        (
            "FASTMCP__MCP__STATE_KEYS",
            short,
            "mcp.state_keys (environment: FASTMCP__MCP__STATE_KEYS): item 1 must be a key",
        ),
        ("FASTMCP__MCP__STATE_KEYS", &format!("{KEY},"), "must be a list of texts, none of them empty"),
        ("FASTMCP__MCP__STATE_KEYS", &format!("[\"{KEY}\"]"), "item 1 must be a key"),
        (
            "FASTMCP__MCP__STATE_KEYS__0",
            KEY,
            "mcp.state_keys (environment: FASTMCP__MCP__STATE_KEYS__0): must be a list of texts, not a table",
        ),
        (
            "FASTMCP__MCP__STATE_KEY",
            KEY,
            "mcp.state_key (environment: FASTMCP__MCP__STATE_KEY): there is no such key",
        ),
        ("FASTMCP__MCP__STATE_KEYS_FILE", KEY, "must be the path of a file with keys, not a key"),
    ] {
        let said = folder.refused(&[], &[(name, value)]);
        assert!(said.contains(expected), "{name}={value}\n\n{said}");
        assert_holds_no_key(&said, name);
    }
    let twice = [("FASTMCP__MCP__STATE_KEYS", KEY), ("FASTMCP__MCP__STATE_KEYS__1", OTHER_KEY)];
    let said = folder.refused(&[], &twice);
    assert!(
        said.contains("(environment: FASTMCP__MCP__STATE_KEYS__1): is within a key that another"),
        "{said}"
    );
    assert_holds_no_key(&said, "both");
}

#[test]
fn faults_in_dot_env_name_the_line_and_never_repeat_a_key() {
    let folder = Folder::new();
    let place = "mcp.state_keys (.env:2: FASTMCP__MCP__STATE_KEYS): must be ";
    for (line, expected) in [
        ("FASTMCP__MCP__STATE_KEYS=KEY OTHER", place),
        ("FASTMCP__MCP__STATE_KEYS KEY", place),
        ("FASTMCP__MCP__STATE_KEYS: KEY", place),
        ("FASTMCP__MCP__STATE_KEYS=\"KEY", place),
        ("export FASTMCP__MCP__STATE_KEYS='KEY", place),
        ("KEY and more", ".env:2: must be NAME=VALUE"),
        ("/KEY", ".env:2: must be NAME=VALUE"),
        (
            "FASTMCP__MCP__STATE_KEYS=sKEY",
            "mcp.state_keys (.env:2: FASTMCP__MCP__STATE_KEYS): item 1 must be a key",
        ),
    ] {
        let line = line
            .replace("OTHER", OTHER_KEY)
            .replace("KEY", KEY)
            .replace(&format!("STATE_{KEY}S"), "STATE_KEYS");
        folder.write(".env", format!("# comment\n{line}\nPORT=4000\n"));
        let said = folder.refused(&[], &[]);
        assert!(said.contains(expected), "{line}\n\n{said}");
        assert_holds_no_key(&said, &line);
    }
    folder.write(".env", [b"FASTMCP__MCP__STATE_KEYS=", KEY.as_bytes(), b"\n\xff\n"].concat());
    let said = folder.refused(&[], &[]);
    assert!(said.contains(".env: line 2 is not UTF-8 text"), "{said}");
    assert_holds_no_key(&said, "not UTF-8");
}

#[test]
fn keys_from_a_file_are_counted_and_never_shown() {
    let folder = Folder::new();
    folder.write("keys", format!("\n  {KEY}\t\r\n\n{OTHER_KEY}"));
    let keys = folder.path("keys").display().to_string();
    let environment = [&TENANT[..], &[("FASTMCP__MCP__STATE_KEYS_FILE", "keys")]].concat();
    let output = folder.run(&["check"], &environment);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let line = said.lines().find(|line| line.starts_with("mcp.state_keys ")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), "mcp.state_keys = [2 redacted] # keys");
    assert!(said.contains("mcp.state_keys_file = \"keys\""), "{said}");
    assert_holds_no_key(&format!("{said}{}", text(&output.stderr)), "check");

    for (content, expected) in [
        (
            format!("{KEY}\n{}\n", &OTHER_KEY[1..]),
            format!("{keys}: line 2 must be a key of 32 bytes in base64"),
        ),
        (format!("{KEY},{OTHER_KEY}\n"), format!("{keys}: line 1 must be a key of 32 bytes in base64")),
        (format!("# keys\n{KEY}\n"), format!("{keys}: line 1 must be")),
        (" \n\n".to_owned(), format!("{keys} holds no key")),
        ("\n".repeat(64 * 1024) + KEY, format!("{keys} is larger than 65536 bytes")),
    ] {
        folder.write("keys", &content);
        let said = folder.refused(&[], &[("FASTMCP__MCP__STATE_KEYS_FILE", &keys)]);
        assert!(
            said.contains(&format!(
                "mcp.state_keys_file (environment: FASTMCP__MCP__STATE_KEYS_FILE): {expected}"
            )),
            "{said}"
        );
        assert_holds_no_key(&said, &content);
    }
    folder.write("keys", [KEY.as_bytes(), b"\n\n\xfe\n"].concat());
    let said = folder.refused(&[], &[("FASTMCP__MCP__STATE_KEYS_FILE", &keys)]);
    assert!(said.contains(&format!("{keys} line 3 is not UTF-8 text")), "{said}");
    let said = folder.refused(&[], &[("FASTMCP__MCP__STATE_KEYS_FILE", "/nowhere/keys")]);
    assert!(said.contains("/nowhere/keys can't be read: No such file or directory"), "{said}");
    let both = [("FASTMCP__MCP__STATE_KEYS_FILE", "keys"), ("FASTMCP__MCP__STATE_KEYS", KEY)];
    let said = folder.refused(&[], &both);
    assert!(said.contains("can't be set together with mcp.state_keys"), "{said}");
    assert_holds_no_key(&said, "both");
}

/// Puts something at a path that is not a regular file of a sensible size.
type Make = fn(&Path);

#[test]
fn whatever_is_no_regular_file_of_a_sensible_size_is_refused() {
    let kinds: [(Make, &str); 4] = [
        (|path| std::fs::create_dir(path).unwrap(), " is a directory, not a file"),
        (
            |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
            " is not a regular file (pipes and devices are not read)",
        ),
        (|path| make_pipe(path), " is not a regular file (pipes and devices are not read)"),
        (|path| File::create(path).unwrap().set_len(1 << 40).unwrap(), " is larger than "),
    ];
    for (make, expected) in kinds {
        for (name, arguments, environment) in [
            (".env", &[][..], &[][..]),
            ("my.toml", &["--config", "my.toml"], &[]),
            ("keys", &[], &[("FASTMCP__MCP__STATE_KEYS_FILE", "keys")]),
        ] {
            let folder = Folder::new();
            make(&folder.path(name));
            let said = folder.refused(arguments, environment);
            // A file named by a key is at the end of that key's message.
            let said = said.replace(&format!("{name}: is"), &format!("{name} is"));
            assert!(said.contains(&format!("{name}{expected}")), "{said}");
        }
    }
}

/// A pipe with a writer, so that whoever reads it goes on instead of waiting forever.
fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let path = path.to_owned();
    std::thread::spawn(move || {
        while let Ok(mut pipe) = File::options().write(true).open(&path) {
            let _ = pipe.write_all(b"# read");
        }
    });
}

#[test]
fn a_file_of_the_greatest_size_is_read() {
    let folder = Folder::new();
    let padding = "#".repeat(1024 * 1024 - GOOD.len());
    folder.write("my.toml", format!("{GOOD}{padding}"));
    folder.write(".env", "# nothing\n");
    let output = folder.run(&["check", "--config", "my.toml"], &TENANT);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("# my.toml:2:1"), "{}", text(&output.stdout));
    folder.write("my.toml", format!("{GOOD}{padding}#"));
    assert!(folder.refused(&["--config", "my.toml"], &[]).contains("my.toml: is larger than 1048576 bytes"));
}
