//! The second mode: attacks beside honest clients, on a server with its default limits. Every honest client must get its right
//! answer, the server's memory must stay within its bound, and the process must live.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use local_tenant::Fault;
use tokio::time::{Instant, sleep};

use crate::attack_report::{self, Outcome};
use crate::attacks::{Attack, Attacks};
use crate::clients::{self, World};
use crate::report::{self, Sample};
use crate::requests::Kind;
use crate::scene::Stage;
use crate::server::{Server, Settings};
use crate::tally::Tally;
use crate::trouble;
use crate::watch::{afterwards, sample};

/// The time that the server has for its first keys.
const WARM_UP: Duration = Duration::from_millis(500);
/// The time between two requests of an honest client: they are to be measured, not to be the load.
const PAUSE: Duration = Duration::from_millis(100);
const SAMPLE: Duration = Duration::from_millis(200);
/// Resident memory, in KiB, at which a run ends early, so that a server without bounds does not take the machine down.
const RUNAWAY: u64 = 1024 * 1024;

/// Runs these attacks beside honest clients.
///
/// # Errors
/// What keeps the run from happening at all; what it finds is in the exit code.
pub(crate) async fn run(program: &Path, time: Duration, attacks: &[Attack]) -> anyhow::Result<ExitCode> {
    let tenant = Arc::new(trouble::tenant(attacks.iter().map(|attack| attack.user()).collect()).await?);
    let stage = Arc::new(Stage::new(trouble::mint(&tenant).await?));
    let mut server = Server::start(program, tenant.issuer(), Settings::Default).await?;
    sleep(WARM_UP).await;
    let start = sample(&server, Duration::ZERO)?;
    let tally = Arc::new(Tally::default());
    let until = Instant::now() + time;
    let (mix, address) = (&Kind::HONEST, server.address);
    let world = World { address, stage, tally: Arc::clone(&tally), until, mix, pause: PAUSE };
    let honest = tokio::spawn(async move { clients::run(&world, &clients::HONEST).await });
    let mut hostile = Attacks::start(attacks, address, &tenant, until)?;
    let mut under_attack = Vec::new();
    let broken = watch(&server, until, time, &mut under_attack).await.err();
    if broken.is_some() {
        honest.abort();
    }
    let _ = honest.await;
    hostile.end().await;
    tenant.inject(&Fault::Reset);
    let peak = server.peak().ok();
    let end = afterwards(&server, start, time).await.ok();
    let exit = server.stop().await;
    let outcome = Outcome { start, under_attack, peak, end, exit, broken };
    Ok(conclude(&tally, &hostile, &outcome, &server.log()))
}

/// Takes samples until the time is up.
///
/// # Errors
/// Why the run ends early: the process has ended, or takes too much of the machine.
async fn watch(
    server: &Server,
    until: Instant,
    time: Duration,
    samples: &mut Vec<Sample>,
) -> anyhow::Result<()> {
    while Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now());
        let after = time.saturating_sub(left);
        let sample = sample(server, after)
            .map_err(|_| anyhow::anyhow!("the process ended after {} s", after.as_secs()))?;
        samples.push(sample);
        anyhow::ensure!(
            sample.resident < RUNAWAY,
            "resident memory passed {} MiB after {} s, so that the run ended early",
            RUNAWAY / 1024,
            after.as_secs()
        );
        sleep(SAMPLE.min(left)).await;
    }
    Ok(())
}

/// Prints what it came to, and what was wrong.
fn conclude(tally: &Tally, hostile: &Attacks, outcome: &Outcome, log: &str) -> ExitCode {
    let counts = tally.lock();
    report::print(&attack_report::render(&hostile.journals, &counts, outcome));
    report::verdict(&attack_report::violations(&hostile.journals, &counts, outcome), log)
}
