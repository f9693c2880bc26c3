//! What every measurement of growth needs: the tenant, servers with a configuration, sizes, and medians of rounds.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_tenant::{ApiScope, LocalTenant};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::client::{Client, Work};
use crate::growth::law::Point;
use crate::measure::{AUDIENCE, CLIENT_CORE, SEEN, SERVER_CORE, WARM_UP, ask, configured, median};
use crate::process::{Process, free_port, pin};
use crate::requests::{Era, tenant_options, tokens_with};
use crate::{GrowthOptions, Options};

/// The scope of everything that is on offer.
pub(super) const SCOPE: &str = "tool:greet";
/// How many scopes the tenant has besides, of either kind.
pub(super) const SCOPES: usize = 500;
pub(super) const LEVELS: usize = 100;
/// What a file descriptor is needed for beside the connections that are counted.
const OTHER_FILES: usize = 500;
/// Sizes further apart than this have others between them.
const FAR_APART: usize = 30;
/// Limits that no measurement reaches.
const LIMITS: &str = "[limits]\nconnections = 100000\nrequests = 100000\nstreams = 100000\nquestions = 100000\n\
                      memory_bytes = 4294967296\nsubject_percent = 100\nclient_percent = 100\nkeep_alive_seconds = 3600\n\n";

/// What a run needs.
pub(crate) struct Setting {
    pub(super) seconds: f64,
    pub(super) rounds: usize,
    pub(super) redis: Option<String>,
    pub(super) only: Option<String>,
    pub(super) tenant: LocalTenant,
    /// With the scope of everything that is on offer, and no other.
    pub(super) seen: Vec<String>,
    most: usize,
    programs: Programs,
    folder: TempDir,
}

/// Builds of what is measured.
pub(crate) struct Programs {
    pub(crate) many: PathBuf,
    pub(crate) floor: PathBuf,
    pub(crate) peer: PathBuf,
}

impl Setting {
    pub(crate) async fn start(
        options: &Options,
        growth: GrowthOptions,
        programs: Programs,
    ) -> anyhow::Result<Self> {
        allow_files(growth.most)?;
        let tenant = LocalTenant::start(tenant()).await?;
        Ok(Self {
            seconds: options.seconds,
            rounds: options.rounds,
            redis: growth.redis,
            only: growth.only,
            seen: tokens_with(Some(SCOPE), &tenant, SEEN)?,
            tenant,
            most: growth.most,
            programs,
            folder: tempfile::tempdir()?,
        })
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// As many as this, unless fewer are asked for.
    pub(super) fn at_most(&self, count: usize) -> usize {
        count.min(self.most)
    }

    /// Sizes from the first to the last, or to as many as are asked for, each so many times the one before.
    pub(super) fn sizes(&self, all: RangeInclusive<usize>) -> Vec<usize> {
        let first = *all.start();
        let last = (*all.end()).min(self.most.max(2 * first));
        let steps: u32 = if last / first < FAR_APART { 1 } else { 3 };
        let factor = (last as f64 / first as f64).powf(f64::from(steps).recip());
        (0..=steps).map(|step| rounded(first as f64 * factor.powf(f64::from(step)))).collect()
    }

    /// The medians of every round's figures, of each size by itself.
    pub(super) fn medians<const FIGURES: usize>(
        &self,
        sizes: &[usize],
        round: impl Fn(usize) -> anyhow::Result<[f64; FIGURES]>,
    ) -> anyhow::Result<[Vec<Point>; FIGURES]> {
        let rounds = self.rounds(sizes, round)?;
        Ok(std::array::from_fn(|figure| points(&rounds, |figures| figures[figure])))
    }

    /// The same of figures that bare hyper has, too.
    pub(super) fn medians_beside<const FIGURES: usize>(
        &self,
        sizes: &[usize],
        round: impl Fn(usize) -> anyhow::Result<[Pair; FIGURES]>,
    ) -> anyhow::Result<[Beside; FIGURES]> {
        let rounds = self.rounds(sizes, round)?;
        Ok(std::array::from_fn(|figure| Beside {
            server: points(&rounds, |pairs| pairs[figure].server),
            floor: points(&rounds, |pairs| pairs[figure].floor),
            ratios: points(&rounds, |pairs| pairs[figure].server / pairs[figure].floor),
        }))
    }

    /// Each size with what its rounds came to.
    fn rounds<T>(
        &self,
        sizes: &[usize],
        round: impl Fn(usize) -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<(usize, Vec<T>)>> {
        let all = |size: &usize| {
            Ok((*size, (0..self.rounds).map(|_| round(*size)).collect::<anyhow::Result<_>>()?))
        };
        sizes.iter().map(all).collect()
    }

    /// The server with many tools, once it has the tenant's keys.
    pub(super) fn server(&self, config: &str) -> anyhow::Result<Process> {
        self.configure(config)?;
        let server = configured(&self.programs.many, self.tenant.issuer(), &self.config())?;
        Era::Modern.check(&ask(server.address, &Era::Modern.request(&self.seen[0]))?)?;
        Ok(server)
    }

    /// Writes the configuration that a server reads when it starts, and again when it is told to.
    pub(super) fn configure(&self, config: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.config(), format!("{LIMITS}{config}"))?)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("many.toml")
    }

    /// Does something by this process on the server's core as well, while no server is measured.
    pub(super) fn on_all_cores<T>(work: impl FnOnce() -> T) -> T {
        pin(None, &[SERVER_CORE, CLIENT_CORE]);
        let done = work();
        pin(None, &[CLIENT_CORE]);
        done
    }

    /// A small upstream.
    pub(super) fn upstream(&self) -> anyhow::Result<Process> {
        self.start_beside(&self.programs.peer, &["serve".as_ref()], &[])
    }

    /// Bare hyper with a fixed answer.
    pub(super) fn floor(&self, answer: &[u8]) -> anyhow::Result<Process> {
        self.start_beside(&self.programs.floor, &[], &[&self.file("answer", answer)?])
    }

    /// Bare hyper whose listeners get one event at first, and another one with every other request.
    pub(super) fn listening_floor(&self, first: &[u8], event: &[u8]) -> anyhow::Result<Process> {
        let files = [self.file("first", first)?, self.file("event", event)?];
        self.start_beside(&self.programs.floor, &[], &files.each_ref())
    }

    fn file(&self, name: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content)?;
        Ok(file)
    }

    /// Starts another program on the server's core, with a port between these arguments.
    fn start_beside(&self, program: &Path, before: &[&OsStr], after: &[&PathBuf]) -> anyhow::Result<Process> {
        let port = free_port()?;
        let port_text = port.to_string();
        let after = after.iter().map(|file| file.as_os_str());
        let arguments: Vec<&OsStr> =
            before.iter().copied().chain([port_text.as_ref()]).chain(after).collect();
        let log = self.folder.path().join("beside.log");
        let process = Process::start(program, &arguments, &[], port, &[SERVER_CORE], &log)?;
        pin(None, &[CLIENT_CORE]);
        Ok(process)
    }

    /// The time on a core for a request, of all these servers together, in microseconds; after warming up.
    pub(super) fn cpu(
        &self,
        servers: &[Process],
        client: &mut Client,
        work: &Work<'_>,
    ) -> anyhow::Result<f64> {
        client.run(work, u64::MAX, WARM_UP.min(self.duration()))?;
        let before = cpu_of(servers)?;
        let outcome = client.run(work, u64::MAX, self.duration())?;
        Ok((cpu_of(servers)? - before) / outcome.answers as f64)
    }
}

/// What the server costs, and what the same costs bare hyper.
pub(super) struct Pair {
    pub(super) server: f64,
    pub(super) floor: f64,
}

/// The medians of that at each size; the ratios' are those of the rounds' ratios.
pub(super) struct Beside {
    pub(super) server: Vec<Point>,
    pub(super) floor: Vec<Point>,
    pub(super) ratios: Vec<Point>,
}

impl Pair {
    pub(super) fn each<const FIGURES: usize>(
        server: [f64; FIGURES],
        floor: [f64; FIGURES],
    ) -> [Self; FIGURES] {
        std::array::from_fn(|figure| Self { server: server[figure], floor: floor[figure] })
    }
}

fn points<T>(rounds: &[(usize, Vec<T>)], figure: impl Fn(&T) -> f64) -> Vec<Point> {
    let cost = |rounds: &[T]| median(rounds.iter().map(&figure));
    rounds.iter().map(|(size, rounds)| Point { size: *size as f64, cost: cost(rounds) }).collect()
}

/// The time on a core so far, in microseconds.
pub(super) fn cpu_of(servers: &[Process]) -> anyhow::Result<f64> {
    servers.iter().map(|server| Ok(server.cpu()?.as_secs_f64() * 1e6)).sum()
}

/// A tenant whose tokens can have many scopes, the one that is needed last.
fn tenant() -> local_tenant::Options {
    let mut options = tenant_options(AUDIENCE);
    let others = (1..=SCOPES).map(other_scope).chain((1..=LEVELS).map(level));
    let scope = |name| ApiScope { name, description: "One of many".to_owned() };
    options.api.scopes = others.chain([SCOPE.to_owned()]).map(scope).collect();
    for role in &mut options.roles {
        role.permissions = options.api.scopes.iter().map(|scope| scope.name.clone()).collect();
    }
    options
}

/// A scope that nothing asks for.
pub(super) fn other_scope(number: usize) -> String {
    format!("other:{number}")
}

/// A scope that stands for the one of the level below.
pub(super) fn level(number: usize) -> String {
    format!("level:{number}")
}

/// Both this process and the server have as many files open as there are connections.
fn allow_files(connections: usize) -> anyhow::Result<()> {
    let needed = u64::try_from(connections + OTHER_FILES)?;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum;
    anyhow::ensure!(
        most.is_none_or(|most| most >= needed),
        "{connections} connections take `ulimit -Hn` of {needed}; or ask for less by --most"
    );
    Ok(setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes are small and positive")]
fn rounded(size: f64) -> usize {
    size.round() as usize
}
