// Makes the folder and the repository that the upstreams of the tests work on, in the same state each time.
// Usage: node upstream-folders.mjs FOLDER
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** Both stay where they are: the upstreams have them open. */
export function prepareFolders(folder) {
  const [files, repo] = [join(folder, "files"), join(folder, "repo")];
  for (const path of [files, repo]) {
    mkdirSync(path, { recursive: true });
    for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true });
  }
  mkdirSync(join(files, "deep"));
  writeFileSync(join(files, "a.txt"), "first line\nGrüße, second\n");
  writeFileSync(join(files, "deep", "b.txt"), "deep\n");
  writeFileSync(join(files, "pixel.png"), Buffer.from(PIXEL, "base64"));

  const date = "2026-01-02T03:04:05+0000";
  const env = { PATH: process.env.PATH, HOME: folder, GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date };
  const git = (...args) => execFileSync("git", args, { cwd: repo, env, stdio: ["ignore", "ignore", "inherit"] });
  git("init", "--quiet", "--initial-branch", "main");
  git("config", "user.name", "Ada");
  git("config", "user.email", "ada@example.com");
  writeFileSync(join(repo, "a.txt"), "one\n");
  git("add", "a.txt");
  git("commit", "--quiet", "--message", "The first");
  git("branch", "other");
  writeFileSync(join(repo, "staged.txt"), "staged\n");
  git("add", "staged.txt");
  writeFileSync(join(repo, "a.txt"), "one\ntwo\n");
  writeFileSync(join(repo, "b.txt"), "untracked\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) prepareFolders(process.argv[2]);
