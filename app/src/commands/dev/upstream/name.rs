//! What an upstream is called that is given as a command: the package or the script that a runner is told, or the program.

/// The name where nothing of the command makes one.
const NOTHING: &str = "server";
/// The maximum length of an upstream's name.
const MAX: usize = 32;
/// Programs that fetch a package and run it.
const FETCHERS: [&str; 6] = ["npx", "uvx", "bunx", "pnpx", "uv", "pipx"];
/// Programs that are told what to run by an argument; `python3.12` and the like are, too.
const RUNNERS: [&str; 6] = ["npx", "uvx", "bunx", "pnpx", "node", "ruby"];
/// Those that are told so behind a subcommand, if there is one.
const MANAGERS: [&str; 7] = ["uv", "pipx", "npm", "pnpm", "yarn", "bun", "deno"];
/// Programs of whose arguments none is a name.
const NAMELESS: [&str; 6] = ["sh", "bash", "zsh", "env", "docker", "podman"];
const SUBCOMMANDS: [&str; 4] = ["run", "exec", "dlx", "x"];
const EXTENSIONS: [&str; 7] = [".py", ".js", ".mjs", ".cjs", ".ts", ".rb", ".exe"];

/// Returns the name, which a configuration can have.
pub(super) fn of_command(command: &[String]) -> String {
    let Some((program, arguments)) = command.split_first() else { return NOTHING.to_owned() };
    let program = file_name(program);
    let word = match program {
        nameless if NAMELESS.contains(&nameless) => None,
        runner if RUNNERS.contains(&runner) || runner.starts_with("python") => told(arguments),
        manager if MANAGERS.contains(&manager) => told(behind_subcommand(arguments)),
        _ if command[0].contains(char::is_whitespace) => None,
        program => Some(program),
    };
    // What is no plain word is code, or a whole command, or has a value in it.
    let is_plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "@/._-~^".contains(c));
    word.filter(is_plain).and_then(sanitized).unwrap_or_else(|| NOTHING.to_owned())
}

/// Returns whether a program may fetch what it runs.
pub(super) fn downloads(program: &str) -> bool {
    FETCHERS.contains(&program)
}

/// Returns the last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

fn behind_subcommand(arguments: &[String]) -> &[String] {
    let is_subcommand = |argument: &String| SUBCOMMANDS.contains(&argument.as_str());
    let begin = arguments.iter().position(is_subcommand).map_or(0, |at| at + 1);
    &arguments[begin..]
}

/// Returns what a runner is told to run: the first argument that is no option.
fn told(arguments: &[String]) -> Option<&str> {
    let mut words = arguments.iter().map(String::as_str);
    words.find(|word| !word.starts_with('-'))
}

/// Returns a word as a name: without folder, scope, version and extension, in small letters.
fn sanitized(word: &str) -> Option<String> {
    let word = file_name(word);
    let word = word.split_once('@').filter(|(name, _)| !name.is_empty()).map_or(word, |(name, _)| name);
    let word = word.to_lowercase();
    let word = EXTENSIONS.iter().find_map(|extension| word.strip_suffix(extension)).unwrap_or(&word);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = word.chars().map(plain).take(MAX).collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_called_after_its_package_script_or_program() {
        for (command, name) in [
            ("npx -y @modelcontextprotocol/server-filesystem /data", "server-filesystem"),
            ("npx -y @modelcontextprotocol/server-filesystem@2026.1.0 /data", "server-filesystem"),
            ("uvx mcp-server-git --repository .", "mcp-server-git"),
            ("uvx mcp-server-git@latest", "mcp-server-git"),
            ("uv run --quiet my_server.py", "my_server"),
            ("uv --directory /here run my_server.py", "my_server"),
            ("pnpm dlx some-server", "some-server"),
            ("npx -y some-server run x", "some-server"),
            ("uv tool run some-server", "some-server"),
            ("python my_server.py", "my_server"),
            ("/usr/bin/python3.12 -u tools/My.Server.py", "my-server"),
            ("python -m mcp_server_git", "mcp_server_git"),
            ("node ./dist/index.js", "index"),
            ("./target/release/my-server --stdio", "my-server"),
            ("server.exe", "server"),
            ("docker run -i -e KEY=s3cr3t mcp/fetch", "server"),
            ("sh -c whatever", "server"),
            ("npx -y", "server"),
            ("npx KEY=s3cr3t", "server"),
            ("...", "server"),
            ("", "server"),
        ] {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            assert_eq!(of_command(&words), name, "{command}");
        }
        let long = of_command(&["x".repeat(100)]);
        assert_eq!(long.len(), MAX);
        assert_eq!(of_command(&["npx -y some-server /s3cr3t".to_owned()]), NOTHING);
        assert_eq!(of_command(&["python".to_owned(), "-c".to_owned(), "print(1)".to_owned()]), "server");
    }
}
