//! What `check` and `explain` begin with: the configuration is read and the set-up runs, as before serving.

use anyhow::Context;
use domain::Catalog;
use serde::Serialize;

use super::print;
use crate::config::{Problem, Problems, Settings, Sources};
use crate::logging;
use crate::server::{ServerBuilder, SetUp};

/// A configuration that can't be used.
#[derive(Serialize)]
struct Refusal<'a> {
    valid: bool,
    problems: &'a [Problem],
    warnings: &'a [String],
}

/// Reads the configuration, runs the set-up, has `look` take what it needs of both, and shuts down what the set-up made.
pub(super) async fn load<T>(
    builder: ServerBuilder,
    sources: Sources,
    look: impl AsyncFnOnce(&SetUp, Settings, Catalog) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let settings = builder.first_settings(sources.clone())?;
    if !settings.upstreams.is_empty() {
        // What a program writes to its standard error often says why it is not there.
        logging::start(settings.log)?;
    }
    let shutdown = builder.shutdown.clone();
    let looked = async {
        let set_up = builder.set_up(sources.clone()).await?;
        let settings = set_up.settings(sources)?;
        let catalog = set_up.offer.catalog()?;
        look(&set_up, settings, catalog).await
    };
    let looked = looked.await;
    shutdown.run().await;
    looked
}

/// Prints what is wrong with the configuration as JSON, if that is what an error is about.
pub(super) fn print_refusal(error: &anyhow::Error) -> anyhow::Result<()> {
    if let Some(Problems { problems, warnings, .. }) = error.downcast_ref() {
        print(&json(&Refusal { valid: false, problems, warnings })?);
    }
    Ok(())
}

pub(super) fn json(document: &impl Serialize) -> anyhow::Result<String> {
    serde_json::to_string_pretty(document).context("the report can't be shown as JSON")
}
