"""What is published: completions, manual pages, manifests, the chart, server.json, the release's archive, and the image.

Usage: ship.py PATH_TO_BINARY
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from helm_python import Chart, lint
from helm_python.errors import HelmError

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/fastmcp-auth0"
BINARY = Path(sys.argv[1])
PYTHON = Path(sys.executable)
URL = "https://mcp.example.com"
VALUES = {
    "url": URL,
    "auth0": {"domain": "example-tenant.us.auth0.com"},
    "secretName": "fastmcp-auth0",
    "configuration": '[log]\nformat = "json"',
    "ingress": {"enabled": True, "className": "nginx", "tlsSecretName": "mcp-example-com"},
}
checks = 0


def check(said, good, detail=""):
    global checks
    if not good:
        sys.exit(f"FAILED  {said}\n{detail}")
    checks += 1
    print(f"ok  {said}")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def expect(said, *command, **options):
    ended = run(*command, **options)
    check(said, ended.returncode == 0, ended.stdout + ended.stderr)
    return ended.stdout


def completions(folder):
    for shell, command in [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])]:
        script = folder / f"completions.{shell}"
        script.write_text(expect(f"completions for {shell} are printed", BINARY, "completions", shell))
        expect(f"{shell} parses them", *command, script)
    words = 'source "$1"; COMP_WORDS=(fastmcp-auth0 comp); COMP_CWORD=1; _fastmcp__auth0 fastmcp-auth0 comp fastmcp-auth0; echo "${COMPREPLY[@]}"'
    said = expect("bash completes a command", "bash", "-c", words, "bash", folder / "completions.bash")
    check("with the command's name", said.split() == ["completions"], said)


def manual(folder):
    pages = folder / "man"
    pages.mkdir()
    expect("manual pages are written", BINARY, "man", "--output", pages)
    written = sorted(pages.iterdir())
    check("one for each command", {"fastmcp-auth0.1", "fastmcp-auth0-serve.1"} <= {page.name for page in written})
    for page in written:
        # Errors, not matters of style.
        ended = run("mandoc", "-T", "lint", "-W", "error", page)
        if ended.returncode:
            check(f"mandoc reads {page.name}", False, ended.stdout + ended.stderr)
    shown = expect("mandoc shows the program's page", "mandoc", "-T", "utf8", pages / "fastmcp-auth0.1")
    check("with its commands", "fastmcp-auth0-serve(1)" in re.sub(".\b", "", shown), shown)


def validate(said, documents):
    """Judges documents by the schemas of Kubernetes, and a deployment by what a restricted namespace asks for."""
    kinds = []
    for document in documents:
        kinds.append(document["kind"])
        try:
            kubernetes_validate.validate(document, "1.37", strict=True)
        except kubernetes_validate.ValidationError as error:
            check(f"{said}: {document['kind']}", False, error.message)
        if document["kind"] == "Deployment":
            restricted(said, document["spec"]["template"]["spec"])
    expected = {"ConfigMap", "Deployment", "Ingress", "NetworkPolicy", "PodDisruptionBudget", "Service"}
    check(f"{said}: all kinds, each by its schema", set(kinds) == expected, str(kinds))
    return {document["kind"]: document for document in documents}


def restricted(said, pod):
    container = pod["containers"][0]
    of_pod, of_container = pod["securityContext"], container["securityContext"]
    check(
        f"{said}: a restricted namespace takes the pod",
        of_pod["runAsNonRoot"] is True
        and of_pod["seccompProfile"]["type"] == "RuntimeDefault"
        and of_container["allowPrivilegeEscalation"] is False
        and of_container["capabilities"] == {"drop": ["ALL"]}
        and of_container["readOnlyRootFilesystem"] is True,
    )
    paths = [container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]
    check(f"{said}: the probes", paths == ["/health", "/ready"], str(paths))


def configuration(said, found, folder):
    """The server takes the configuration that the manifests have, and ends before Kubernetes ends it."""
    text = found["ConfigMap"]["data"]["production.toml"]
    keys = folder / "state-keys"
    keys.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    path = folder / "production.toml"
    # The server refuses a domain that nobody has replaced.
    text = text.replace("example-tenant.", "acme.").replace("/run/secrets/fastmcp-auth0/state-keys", str(keys))
    path.write_text(text)
    shown = expect(f"{said}: the server takes the configuration", BINARY, "check", "--config", path, env={}, cwd=folder)
    check(f"{said}: with the keys from the secret", "1 redacted" in shown, shown)
    drain = sum(int(re.search(rf"^{key} = (\d+)$", text, re.M)[1]) for key in ("drain_delay_seconds", "drain_seconds"))
    grace = found["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    check(f"{said}: the grace period is longer than the drain", grace > drain, f"{grace} {drain}")


def kubernetes(folder):
    documents = [document for path in sorted((ROOT / "deploy/kubernetes").glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]
    plain = validate("manifests", documents)
    configuration("manifests", plain, folder)

    found = lint(CHART, VALUES, strict=True)
    check("Helm finds no fault in the chart", not found["errors"], str(found))
    chart = Chart.load(CHART)

    def rendered(values, name="fastmcp-auth0"):
        texts = chart.render(values, name=name, namespace="mcp").values()
        return [document for text in texts for document in yaml.safe_load_all(text) if document]

    of_chart = validate("chart", rendered(VALUES))
    configuration("chart", of_chart, folder)
    for kind in ("Deployment", "PodDisruptionBudget", "NetworkPolicy"):
        check(f"manifests and chart have the same {kind}", alike(plain[kind]) == alike(of_chart[kind]), f"{alike(plain[kind])}\n{alike(of_chart[kind])}")
    less = {document["kind"] for document in rendered({"url": URL, "auth0": VALUES["auth0"], "replicas": 1, "networkPolicy": {"enabled": False}})}
    check("what is switched off is left out", less == {"ConfigMap", "Deployment", "Service"}, str(less))
    validate("chart by a name that YAML takes for a number", rendered(VALUES, "17"))
    for missing in ("url", "auth0"):
        try:
            rendered({key: value for key, value in VALUES.items() if key != missing})
            check(f"the chart needs {missing}", False)
        except HelmError as error:
            check(f"the chart needs {missing}", missing in str(error), str(error))


def alike(document):
    """What has to be the same in both: all but the names of the release, and the checksum that only a chart can make."""
    text = json.dumps(document, sort_keys=True)
    text = re.sub(r', "app.kubernetes.io/instance": "[^"]*"', "", text)
    text = re.sub(r'"app.kubernetes.io/instance": "[^"]*", ', "", text)
    return re.sub(r'"checksum/configuration": "[^"]*", ', "", text)


def registry(folder):
    alone = folder / "registry"
    alone.mkdir()
    (alone / "server.json").write_text((ROOT / "server.json").read_text())
    expect("server.json is as the MCP registry wants it", PYTHON.with_name("skillsaw"), "lint", "--strict", "--quiet", alone)
    (alone / "server.json").write_text(json.dumps({**json.loads((ROOT / "server.json").read_text()), "name": "no-slash"}))
    check("which is noticed where it is not", run(PYTHON.with_name("skillsaw"), "lint", "--quiet", alone).returncode != 0)
    name = json.loads((ROOT / "server.json").read_text())["name"]
    label = f'LABEL io.modelcontextprotocol.server.name="{name}"'
    check("the image's label names the same server", label in (ROOT / "Containerfile").read_text().splitlines())


def release(folder):
    made = []
    for turn in ("one", "two"):
        output = folder / turn
        expect(f"the release is made ({turn})", ROOT / "deploy/release", "--profile", "dev", "--output", output)
        expect(f"its sums hold ({turn})", "sha256sum", "--check", "--strict", "SHA256SUMS", cwd=output)
        made.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(output.iterdir())})
    check("both times the same", made[0] == made[1], str(made))
    archive = next((folder / "one").glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        tar.extractall(folder / "unpacked", filter="data")
    inside = {member.name.partition("/")[2]: member for member in members}
    wanted = ["fastmcp-auth0", "man/fastmcp-auth0.1", "completions/_fastmcp-auth0", "systemd/fastmcp-auth0.service", "LICENSE", "THIRD-PARTY-LICENSES.txt"]
    check("the archive has what it should", all(name in inside for name in wanted), str(sorted(inside)))
    check("and nobody's user", all(member.uid == member.gid == 0 and not member.mode & 0o022 for member in members))
    root = folder / "unpacked" / archive.name.removesuffix(".tar.gz")
    check("the program in it runs", run(root / "fastmcp-auth0", "--version").stdout == run(BINARY, "--version").stdout)
    bill = (root / "fastmcp-auth0.cdx.json").read_text()
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
    check("the bill of materials is CycloneDX", fault is None, str(fault))
    components = json.loads(bill)["components"]
    names = {component["name"] for component in components}
    check("of what is linked, and nothing else", {"rustls", "hyper"} <= names and not names & {"fastmcp-auth0-fakes", "criterion"})
    licenses = (root / "THIRD-PARTY-LICENSES.txt").read_text()
    unnamed = [component["purl"] for component in components if component.get("hashes") and f"{component['name']} {component['version']}" not in licenses]
    check("and every license is named", not unnamed, str(unnamed))


def counts(folder):
    """The compiler only warns about a profile that it can't read, and then builds without it."""
    source = folder / "counts.rs"
    source.write_text("pub fn sum(of: &[u8]) -> usize { of.iter().map(|byte| usize::from(*byte)).sum() }")
    profiles = sorted((ROOT / "deploy").glob("*.profdata"))
    check("there is a profile for deploy/build", bool(profiles))
    spoiled = folder / "spoiled.profdata"
    spoiled.write_bytes(profiles[0].read_bytes()[8:])
    for profile in [*profiles, spoiled]:
        done = run("rustc", "-O", "--crate-type=lib", "--emit=obj", f"-Cprofile-use={profile}", "-o", folder / "counts.o", source, cwd=ROOT)
        is_read = done.returncode == 0 and not done.stderr
        check(f"the compiler reads {profile.name}" if profile != spoiled else "and tells of one that it can't read", is_read == (profile != spoiled), done.stderr)


def build(folder):
    """What deploy/build has Cargo do, which is a script here that tells."""
    checkout = folder / "a checkout"
    shutil.copytree(ROOT / "deploy", checkout / "deploy")
    shutil.copy(ROOT / "rust-toolchain.toml", checkout)
    (folder / "bin").mkdir()
    cargo = folder / "bin/cargo"
    cargo.write_text('#!/bin/sh\nprintf "%s\\n" "${CARGO_ENCODED_RUSTFLAGS-none}" "$@"\n')
    cargo.chmod(0o755)
    host = next(line.split()[1] for line in run("rustc", "-vV", cwd=checkout).stdout.splitlines() if line.startswith("host:"))
    (checkout / f"deploy/{host}.profdata").touch()
    use = f"-Cprofile-use={checkout}/deploy/{host}.profdata"
    clean = {name: value for name, value in os.environ.items() if "RUSTFLAGS" not in name and name != "CARGO_BUILD_TARGET"}
    clean["PATH"] = f"{folder / 'bin'}:{clean['PATH']}"
    for variables, arguments, flags in [
        ({}, [], use),
        ({"RUSTFLAGS": " -Ca  -Cb "}, ["--target-dir", "x"], f"-Ca\x1f-Cb\x1f{use}"),
        ({"RUSTFLAGS": "-Ca", "CARGO_ENCODED_RUSTFLAGS": ""}, [], use),
        ({"CARGO_ENCODED_RUSTFLAGS": "-Ca b"}, [], f"-Ca b\x1f{use}"),
        ({}, ["--target", "x"], "none"),
        ({}, ["--quiet", "--target=x"], "none"),
        ({"CARGO_BUILD_TARGET": "x"}, [], "none"),
    ]:
        said = run(checkout / "deploy/build", *arguments, env={**clean, **variables}).stdout.splitlines()
        expected = [flags, *"build --locked --profile dist --package fastmcp-auth0 --bin fastmcp-auth0".split(), *arguments]
        check(f"deploy/build {' '.join(arguments)} {variables}", said == expected, str(said))


def image(folder):
    """The file tree of the image, in which the program runs alone as nobody: root can enter it."""
    root = folder / "root"
    expect("the image's files are laid out", ROOT / "deploy/container/root", BINARY, root)
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    others = {name for name in names if "/lib" not in f"/{name}" and not name.startswith("lib")}
    expected = {"usr/local/bin/fastmcp-auth0", "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "etc/group"}
    check("the program, authorities and libraries alone", others == expected, str(names))
    os.chmod(folder, 0o755)
    enter = ["chroot", "--userspec", "65532:65532", root, "/usr/local/bin/fastmcp-auth0"]
    if os.geteuid() != 0:
        enter = ["unshare", "--map-root-user", "--root", root, "/usr/local/bin/fastmcp-auth0"]
    environment = {"FASTMCP__SERVER__BIND": "0.0.0.0", "MCP_SERVER_URL": URL, "AUTH0_DOMAIN": "t.eu.auth0.com", "AUTH0_AUDIENCE": f"{URL}/mcp", "PATH": os.environ["PATH"]}
    shown = expect("the program runs there, without anything else", *enter, "check", env=environment)
    check("with the environment's configuration", URL in shown, shown)
    built(folder)


def built(folder):
    """The image itself, by buildah and without a base image, in a store of its own."""
    store = folder / "storage.conf"
    store.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/containers"\n')
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(store)}

    def buildah(said, *arguments):
        return expect(said, "buildah", *arguments, env=environment)

    expect("the image is built", ROOT / "deploy/container/build", BINARY, "shipped", env=environment)
    config = json.loads(buildah("it says how it is run", "inspect", "--type", "image", "shipped"))["OCIv1"]["config"]
    how = {key: config.get(key) for key in ("User", "Entrypoint", "Cmd", "ExposedPorts")}
    expected = {"User": "65532:65532", "Entrypoint": ["/usr/local/bin/fastmcp-auth0"], "Cmd": ["serve"], "ExposedPorts": {"3001/tcp": {}}}
    check("by nobody, and as the server", how == expected, str(how))
    variables = sorted(variable.partition("=")[0] for variable in config["Env"])
    check("with no variable but where to listen", variables == ["FASTMCP__SERVER__BIND", "PATH"], str(variables))
    name = json.loads((ROOT / "server.json").read_text())["name"]
    check("it is the registry's", config["Labels"]["io.modelcontextprotocol.server.name"] == name, str(config["Labels"]))
    container = buildah("a container is made of it", "from", "shipped").strip()
    said = buildah("the program runs in it", "run", "--isolation", "chroot", container, "--", "/usr/local/bin/fastmcp-auth0", "--version")
    check("and is the one that was built", said == run(BINARY, "--version").stdout, said)
    buildah("the container goes", "rm", container)


with tempfile.TemporaryDirectory() as temporary:
    here = Path(temporary)
    completions(here)
    manual(here)
    kubernetes(here)
    registry(here)
    image(here)
    release(here)
    counts(here)
    build(here)
print(f"ship: {checks} checks passed")
