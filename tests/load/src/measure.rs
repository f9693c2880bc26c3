//! What is measured, and how.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use local_tenant::LocalTenant;
use tempfile::TempDir;

use crate::client::{Client, Outcome, Waits, Work, now};
use crate::process::{Process, free_port, pin};
use crate::requests::{Era, tenant_options, tokens};
use crate::verify;
use crate::{CostOptions, Options};

pub(crate) const AUDIENCE: &str = "https://load.example/mcp";
/// The public URL of a server that is measured, whose host requests name as behind a proxy.
pub(crate) const PUBLIC_URL: &str = "https://load.example";
/// How many tokens a server sees over and over.
pub(crate) const SEEN: usize = 64;
/// Before a measurement: connections, caches and branch predictors as they are in service.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const CLIENT_CORE: usize = 1;
/// Connections of the measurements.
pub(crate) const CONNECTIONS: [usize; 2] = [32, 256];
/// How often those that are compared take turns within a round: a machine that becomes slower meanwhile does so for all of them.
const TURNS: u32 = 4;

/// One program under one load.
pub(crate) struct Cost {
    /// Time on a core for a request, in microseconds.
    pub(crate) cpu: f64,
    /// 99 of 100 answers came within, in microseconds.
    pub(crate) p99: f64,
}

/// The floor and the server under the same load, by turns.
pub(crate) struct Pair {
    pub(crate) floor: Cost,
    pub(crate) server: Cost,
    /// One verify by itself, by turns with both, where tokens are unseen: time on a core in microseconds.
    pub(crate) verify: Option<f64>,
}

/// All rounds of one row of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) waits: Waits,
    pub(crate) connections: usize,
    pub(crate) pairs: Vec<Pair>,
}

/// What the server does besides, when it is switched on.
#[derive(Clone, Copy)]
pub(crate) enum Extra {
    LogLine,
    MetricsAndAudit,
}

/// All rounds of a server without something besides, and with it: time on a core for a request, in microseconds.
pub(crate) struct ExtraRow {
    pub(crate) extra: Extra,
    pub(crate) era: &'static str,
    pub(crate) rounds: Vec<(f64, f64)>,
}

/// Everything that was measured.
pub(crate) struct Results {
    pub(crate) seconds: f64,
    pub(crate) arguments: CostOptions,
    pub(crate) pinned: bool,
    pub(crate) seen: Vec<Row>,
    pub(crate) extras: Vec<ExtraRow>,
    pub(crate) unseen: Vec<Row>,
    /// CPU per request on one core and on two, in microseconds.
    pub(crate) cores: Vec<(f64, f64)>,
    /// From exec to the first answer, in milliseconds.
    pub(crate) starts: Vec<f64>,
    /// Resident after the start, in KiB.
    pub(crate) idle: u64,
    /// For an idle connection, in KiB.
    pub(crate) per_connection: f64,
    pub(crate) floor_per_connection: f64,
    /// More than at the start after so many tokens, in KiB.
    pub(crate) after_tokens: i64,
}

/// What a run needs.
pub(crate) struct Bench {
    duration: Duration,
    rounds: usize,
    arguments: CostOptions,
    server: PathBuf,
    floor: PathBuf,
    tenant: LocalTenant,
    folder: TempDir,
    seen: Vec<String>,
    fresh: Vec<String>,
    /// The right answers, in the eras' order.
    answers: Vec<Vec<u8>>,
    pinned: bool,
}

impl Bench {
    pub(crate) async fn start(
        options: &Options,
        arguments: CostOptions,
        server: PathBuf,
        floor: PathBuf,
    ) -> anyhow::Result<Self> {
        let tenant = LocalTenant::start(tenant_options(AUDIENCE)).await?;
        let folder = tempfile::tempdir()?;
        let seen = tokens(&tenant, SEEN)?;
        let fresh = tokens(&tenant, arguments.tokens)?;
        let (duration, rounds) = (options.duration(), options.rounds);
        let (answers, pinned) = (Vec::new(), false);
        let mut bench =
            Self { duration, rounds, arguments, server, floor, tenant, folder, seen, fresh, answers, pinned };
        let server = bench.server(&[SERVER_CORE])?;
        for era in Era::BOTH {
            let answer = ask(server.address, &era.request(&bench.seen[0]))?;
            era.check(&answer)?;
            bench.answers.push(answer);
        }
        bench.pinned = pin(None, &[CLIENT_CORE]);
        server.stop()?;
        Ok(bench)
    }

    pub(crate) fn run(self) -> anyhow::Result<Results> {
        let (mut seen, mut extras, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
        for era in Era::BOTH {
            for connections in CONNECTIONS {
                for waits in [Waits::Awake, Waits::Asleep] {
                    seen.push(self.seen(era, connections, waits)?);
                }
            }
            for extra in [Extra::LogLine, Extra::MetricsAndAudit] {
                extras.push(self.extra(extra, era)?);
            }
            unseen.push(self.unseen(era, CONNECTIONS[0])?);
        }
        let cores = self.two_cores()?;
        let starts = self.starts()?;
        let (idle, per_connection) = self.idle_connections(self.server(&[SERVER_CORE])?)?;
        let (_, floor_per_connection) = self.idle_connections(self.floor(Era::Modern)?)?;
        let after_tokens = self.memory_after_tokens()?;
        Ok(Results {
            seconds: self.duration.as_secs_f64(),
            pinned: self.pinned,
            arguments: self.arguments,
            seen,
            extras,
            unseen,
            cores,
            starts,
            idle,
            per_connection,
            floor_per_connection,
            after_tokens,
        })
    }

    fn server(&self, cores: &[usize]) -> anyhow::Result<Process> {
        self.server_with(None, cores)
    }

    fn server_with(&self, extra: Option<Extra>, cores: &[usize]) -> anyhow::Result<Process> {
        let port = free_port()?;
        let (port_text, admin) = (port.to_string(), format!("127.0.0.1:{}", free_port()?));
        let file = |name: &str| self.folder.path().join(name);
        let (log, audit) = (file("server.log"), file("audit.log").display().to_string());
        let mut environment = vec![
            ("PORT", port_text.as_str()),
            ("AUTH0_ISSUER", self.tenant.issuer()),
            ("AUTH0_AUDIENCE", AUDIENCE),
            ("FASTMCP__SERVER__URL", PUBLIC_URL),
        ];
        environment.extend(match extra {
            Some(Extra::LogLine) => vec![("FASTMCP__LOG__LEVEL", "info")],
            None => vec![("FASTMCP__LOG__LEVEL", "warn")],
            Some(Extra::MetricsAndAudit) => vec![
                ("FASTMCP__LOG__LEVEL", "warn"),
                ("FASTMCP__ADMIN__BIND", admin.as_str()),
                ("FASTMCP__AUDIT__TO", "file"),
                ("FASTMCP__AUDIT__FILE", audit.as_str()),
            ],
        });
        let server = Process::start(&self.server, &["serve".as_ref()], &environment, port, cores, &log)?;
        pin(None, &[CLIENT_CORE]);
        Ok(server)
    }

    fn floor(&self, era: Era) -> anyhow::Result<Process> {
        let port = free_port()?;
        let answer: PathBuf = self.folder.path().join(era.name());
        std::fs::write(&answer, self.answer(era))?;
        let port_text = port.to_string();
        let arguments: [&OsStr; 2] = [port_text.as_ref(), answer.as_os_str()];
        let log = self.folder.path().join("floor.log");
        let floor = Process::start(&self.floor, &arguments, &[], port, &[SERVER_CORE], &log)?;
        pin(None, &[CLIENT_CORE]);
        Ok(floor)
    }

    fn answer(&self, era: Era) -> &[u8] {
        &self.answers[usize::from(era == Era::Modern)]
    }

    fn requests(era: Era, tokens: &[String]) -> Vec<Vec<u8>> {
        tokens.iter().map(|token| era.request(token)).collect()
    }

    /// Tokens that the server has seen before. Both are started anew every round: where the loader puts a program makes a
    /// difference, too.
    fn seen(&self, era: Era, connections: usize, waits: Waits) -> anyhow::Result<Row> {
        let requests = Self::requests(era, &self.seen);
        let work = Work { requests: &requests, expected: self.answer(era) };
        let mut pairs = Vec::new();
        for _ in 0..self.rounds {
            let (floor, server) = (self.floor(era)?, self.server(&[SERVER_CORE])?);
            let mut floor = Side::new(floor, connections, waits)?;
            let mut server = Side::new(server, connections, waits)?;
            self.compare(&mut floor, &mut server, &work)?;
            pairs.push(Pair { floor: floor.stop()?, server: server.stop()?, verify: None });
        }
        Ok(Row { what: format!("seen, {}", era.name()), waits, connections, pairs })
    }

    /// What something besides adds to a request of a token that the server has seen before.
    fn extra(&self, extra: Extra, era: Era) -> anyhow::Result<ExtraRow> {
        let requests = Self::requests(era, &self.seen);
        let work = Work { requests: &requests, expected: self.answer(era) };
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            let (without, with) =
                (self.server(&[SERVER_CORE])?, self.server_with(Some(extra), &[SERVER_CORE])?);
            let mut without = Side::new(without, CONNECTIONS[0], Waits::Awake)?;
            let mut with = Side::new(with, CONNECTIONS[0], Waits::Awake)?;
            self.compare(&mut without, &mut with, &work)?;
            rounds.push((without.stop()?.cpu, with.stop()?.cpu));
        }
        Ok(ExtraRow { extra, era: era.name(), rounds })
    }

    /// Two programs under the same load, after warming up.
    fn compare(&self, one: &mut Side, other: &mut Side, work: &Work<'_>) -> anyhow::Result<()> {
        one.client.run(work, u64::MAX, WARM_UP)?;
        other.client.run(work, u64::MAX, WARM_UP)?;
        let most = self.duration / TURNS;
        by_turns(&mut [&mut |_| one.turn(work, u64::MAX, most), &mut |_| other.turn(work, u64::MAX, most)])
    }

    /// Tokens that the server has never seen: a new server every round, each token once.
    fn unseen(&self, era: Era, connections: usize) -> anyhow::Result<Row> {
        let requests = Self::requests(era, &self.fresh);
        let work = Work { requests: &requests, expected: self.answer(era) };
        let known = Self::requests(era, &self.seen);
        let before = Work { requests: &known, expected: self.answer(era) };
        let key = self.key()?;
        let share = self.fresh.len().div_ceil(TURNS as usize).max(1);
        let tokens = |turn| self.fresh.chunks(share).nth(turn).unwrap_or_default();
        let (count, most) = (|turn| tokens(turn).len() as u64, Duration::from_mins(2));
        let mut pairs = Vec::new();
        for _ in 0..self.rounds {
            let (floor, server) = (self.floor(era)?, self.server(&[SERVER_CORE])?);
            let mut floor = Side::new(floor, connections, Waits::Awake)?;
            let mut server = Side::new(server, connections, Waits::Awake)?;
            floor.client.run(&before, u64::MAX, WARM_UP)?;
            server.client.run(&before, u64::MAX, WARM_UP)?;
            let mut verify = Duration::ZERO;
            let mut verify_some = |turn| {
                pin(None, &[SERVER_CORE]);
                verify += verify::cost(&key, tokens(turn))?;
                pin(None, &[CLIENT_CORE]);
                Ok(())
            };
            by_turns(&mut [
                &mut |turn| floor.turn(&work, count(turn), most),
                &mut verify_some,
                &mut |turn| server.turn(&work, count(turn), most),
            ])?;
            let verify = Some(verify.as_secs_f64() * 1e6 / self.fresh.len() as f64);
            pairs.push(Pair { floor: floor.stop()?, server: server.stop()?, verify });
        }
        Ok(Row { what: format!("unseen, {}", era.name()), waits: Waits::Awake, connections, pairs })
    }

    /// The key that all tokens are signed with.
    fn key(&self) -> anyhow::Result<DecodingKey> {
        let request = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        let keys = ask(([127, 0, 0, 1], self.tenant.port()).into(), request)?;
        verify::key(&keys)
    }

    /// What a request costs on one core, and on two that share everything.
    fn two_cores(&self) -> anyhow::Result<Vec<(f64, f64)>> {
        let requests = Self::requests(Era::Modern, &self.seen);
        let work = Work { requests: &requests, expected: self.answer(Era::Modern) };
        let mut costs = Vec::new();
        for _ in 0..self.rounds {
            let (one, two) = (self.server(&[SERVER_CORE])?, self.server(&[SERVER_CORE, CLIENT_CORE])?);
            pin(None, &[SERVER_CORE, CLIENT_CORE]);
            let mut one = Side::new(one, CONNECTIONS[1], Waits::Awake)?;
            let mut two = Side::new(two, CONNECTIONS[1], Waits::Awake)?;
            self.compare(&mut one, &mut two, &work)?;
            pin(None, &[CLIENT_CORE]);
            costs.push((one.stop()?.cpu, two.stop()?.cpu));
        }
        Ok(costs)
    }

    fn starts(&self) -> anyhow::Result<Vec<f64>> {
        let mut starts = Vec::new();
        for _ in 0..self.rounds.max(5) {
            let began = now();
            let server = self.server(&[SERVER_CORE])?;
            ask(server.address, b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
            starts.push(began.elapsed().as_secs_f64() * 1e3);
            server.stop()?;
        }
        Ok(starts)
    }

    /// Resident memory at the start, and what an idle connection adds that has had its requests answered.
    fn idle_connections(&self, process: Process) -> anyhow::Result<(u64, f64)> {
        let requests = Self::requests(Era::Modern, &self.seen);
        ask(process.address, &requests[0])?;
        let before = process.resident()?;
        let work = Work { requests: &requests, expected: self.answer(Era::Modern) };
        let mut client = Client::connect(process.address, self.arguments.idle)?;
        client.run(&work, 4 * self.arguments.idle as u64, Duration::from_mins(1))?;
        let after = process.resident()?;
        drop(client);
        process.stop()?;
        Ok((before, (after as f64 - before as f64) / self.arguments.idle as f64))
    }

    fn memory_after_tokens(&self) -> anyhow::Result<i64> {
        let server = self.server(&[SERVER_CORE])?;
        ask(server.address, &Era::Modern.request(&self.seen[0]))?;
        let before = server.resident()?;
        let mut client = Client::connect(server.address, CONNECTIONS[0])?;
        let mut left = self.arguments.memory_tokens;
        while left > 0 {
            let some = left.min(20_000);
            pin(None, &[SERVER_CORE, CLIENT_CORE]);
            let requests = Self::requests(Era::Modern, &tokens(&self.tenant, some)?);
            pin(None, &[CLIENT_CORE]);
            let work = Work { requests: &requests, expected: self.answer(Era::Modern) };
            client.run(&work, some as u64, Duration::from_mins(2))?;
            left -= some;
        }
        let grown = i64::try_from(server.resident()?)? - i64::try_from(before)?;
        server.stop()?;
        Ok(grown)
    }
}

/// A server on its core, configured by a file; its log is beside that.
pub(crate) fn configured(program: &Path, issuer: &str, config: &Path) -> anyhow::Result<Process> {
    let port = free_port()?;
    let port_text = port.to_string();
    let environment = [
        ("PORT", port_text.as_str()),
        ("AUTH0_ISSUER", issuer),
        ("AUTH0_AUDIENCE", AUDIENCE),
        ("FASTMCP__SERVER__URL", PUBLIC_URL),
        ("FASTMCP__LOG__LEVEL", "warn"),
    ];
    let arguments = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()];
    let log = config.with_extension("log");
    let server = Process::start(program, &arguments, &environment, port, &[SERVER_CORE], &log)?;
    pin(None, &[CLIENT_CORE]);
    Ok(server)
}

/// Runs all steps in each turn, backward in every other one, and tells each which turn it is.
fn by_turns(steps: &mut [&mut dyn FnMut(usize) -> anyhow::Result<()>]) -> anyhow::Result<()> {
    for turn in 0..TURNS as usize {
        if turn % 2 == 0 {
            steps.iter_mut().try_for_each(|step| step(turn))?;
        } else {
            steps.iter_mut().rev().try_for_each(|step| step(turn))?;
        }
    }
    Ok(())
}

/// A program under load, and what came of it so far.
struct Side {
    process: Process,
    client: Client,
    cpu: Duration,
    outcome: Outcome,
}

impl Side {
    fn new(process: Process, connections: usize, waits: Waits) -> anyhow::Result<Self> {
        let client = Client::connect(process.address, connections)?.waiting(waits);
        Ok(Self { process, client, cpu: Duration::ZERO, outcome: Outcome::default() })
    }

    /// So many requests, or for so long.
    fn turn(&mut self, work: &Work<'_>, count: u64, most: Duration) -> anyhow::Result<()> {
        let before = self.process.cpu()?;
        let outcome = self.client.run(work, count, most)?;
        self.cpu += self.process.cpu()?.saturating_sub(before);
        self.outcome.add(outcome);
        Ok(())
    }

    fn stop(self) -> anyhow::Result<Cost> {
        self.process.stop()?;
        Ok(cost(&self.outcome, self.cpu))
    }
}

fn cost(outcome: &Outcome, cpu: Duration) -> Cost {
    let answers = outcome.answers as f64;
    Cost { cpu: cpu.as_secs_f64() * 1e6 / answers, p99: outcome.percentile(99).as_secs_f64() * 1e6 }
}

/// One request on a connection of its own: the answer's body.
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    answer(&mut stream)
}

/// The body of the next answer on a connection.
pub(crate) fn answer(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        anyhow::ensure!(length > 0, "no whole answer: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..length]);
        if let Some(body) = crate::client::body(&answer) {
            return Ok(body.to_vec());
        }
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}
