//! Watching the server's process: its memory and its descriptors, while clients are there and afterwards.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::report::Sample;
use crate::server::Server;

const SAMPLE: Duration = Duration::from_secs(1);
/// For the server to see that its clients have gone.
const AFTER: u32 = 10;

/// What the process has at the moment.
///
/// # Errors
/// A process that has ended.
pub(crate) fn sample(server: &Server, after: Duration) -> anyhow::Result<Sample> {
    let (resident, descriptors) = (server.resident()?, server.descriptors()?);
    Ok(Sample { seconds: after.as_secs(), resident, descriptors })
}

/// A sample every second until the time is up.
///
/// # Errors
/// A process that has ended.
pub(crate) async fn watch(
    server: Arc<Server>,
    until: Instant,
    time: Duration,
) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    while Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now());
        samples.push(sample(&server, time.saturating_sub(left))?);
        sleep(SAMPLE.min(left)).await;
    }
    Ok(samples)
}

/// The last sample: once the descriptors are back, or when that has taken too long.
///
/// # Errors
/// A process that has ended.
pub(crate) async fn afterwards(server: &Server, start: Sample, time: Duration) -> anyhow::Result<Sample> {
    for _ in 0..AFTER {
        if server.descriptors()? <= start.descriptors {
            break;
        }
        sleep(SAMPLE).await;
    }
    sample(server, time)
}
