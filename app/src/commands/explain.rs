//! `explain`: why a token is accepted or refused. It is judged by the server's own checks, one after the other; of the network
//! only the configured issuer's keys are asked for. Nothing here logs or sends a token, and its signature is never shown.

mod advice;
mod decoded;
mod judged;
mod report;
mod text;
mod times;
mod token;

use std::process::ExitCode;

use super::loading::{json, load, print_refusal};
use super::{ServiceArguments, dev, eprint, print, runtime};
use crate::config::Sources;
use crate::server::ServerBuilder;

pub(super) use text::for_terminals;

use judged::Judge;
use report::Report;

const OTHER_TOOLS: &str = "the running `dev` was given an upstream, which is not started again here: the tools below are this \
                           server's own, and not those of `dev`";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The access token, with or without `Bearer` before it; without one, or with `-`, it is read from standard input
    #[arg(value_name = "TOKEN")]
    token: Vec<token::Word>,
    #[command(flatten)]
    service: ServiceArguments,
    /// Print one JSON document, also about a configuration that can't be used
    #[arg(long)]
    json: bool,
    /// Fetch no keys: the signature is not judged
    #[arg(long)]
    offline: bool,
    /// Judge as the running `dev` does; --config is then the file that it was given
    #[arg(long)]
    local: bool,
}

/// Prints what the token says, every check with its verdict, and what the token may call. Succeeds if it is accepted.
pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let token = token::take(&arguments.token)?;
    let report = match runtime()?.block_on(explain(builder, arguments, &token)) {
        Ok(report) => report,
        Err(error) => {
            if arguments.json {
                print_refusal(&error)?;
            }
            return Err(error);
        }
    };
    let shown = if arguments.json {
        json(&report)?
    } else {
        for warning in &report.warnings {
            eprint(&format!("warning: {}", text::for_terminals(warning)));
        }
        report.to_text()
    };
    print(&text::for_terminals(&shown));
    Ok(if report.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn explain(builder: ServerBuilder, arguments: &Arguments, token: &str) -> anyhow::Result<Report> {
    let mut warnings = Vec::new();
    let sources = if arguments.local {
        let ports = dev::running_ports();
        warnings.extend(ports.has_upstream.then(|| OTHER_TOOLS.to_owned()));
        dev::running_sources(&builder, arguments.service.config.as_deref(), ports)?
    } else {
        arguments.service.sources(&builder.profile)
    };
    let mut report = judge(builder, sources, token, arguments.offline).await?;
    report.warnings.extend(warnings);
    Ok(report)
}

/// Judges a token by a configuration.
async fn judge(
    builder: ServerBuilder,
    sources: Sources,
    token: &str,
    is_offline: bool,
) -> anyhow::Result<Report> {
    load(builder, sources, async |set_up, settings, catalog| {
        let judge = Judge::new(set_up, settings, catalog);
        let judged = judge.judge(token, is_offline).await;
        Report::new(&judge, judged, set_up.unreached().collect())
    })
    .await
}

/// Returns an error of the command line without its words, one of which may be a token.
pub(super) fn without_words(error: &clap::Error) -> clap::Error {
    let text = format!(
        "{}; the arguments are not repeated, since one may be a token: see `explain --help`\n",
        error.kind()
    );
    clap::Error::raw(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{
        BearerToken, Claims, GetPromptResult, InvalidScope, Principal, Prompt, PromptCall, PromptSpec,
        ReadCall, ReadError, ReadResourceResult, Resource, ResourceSpec, ResourceSpecError, ScopeSet,
        TokenVerifier, ToolError, UnixSeconds, VerifyError, async_trait,
    };

    use super::*;
    use crate::{Json, Server, tool_fn};

    /// Proves every token, and says that it is for the API and has the scope `notes:write`.
    struct Proves;

    #[async_trait]
    impl TokenVerifier for Proves {
        async fn verify(&self, _: &BearerToken) -> Result<Arc<Claims>, VerifyError> {
            Ok(Arc::new(Claims {
                token_type: Some("JWT".into()),
                issuer: "https://t/".into(),
                audience: vec!["urn:api".into()],
                subject: "s".into(),
                expires_at: UnixSeconds(i64::MAX),
                not_before: None,
                issued_at: None,
                client_id: Some("c".into()),
                authorized_party: None,
                scope: ScopeSet::granted_by(["notes:write"]),
                permissions: ScopeSet::EMPTY,
                name: None,
                email: None,
                organization_id: None,
                token_id: None,
                sender_constrained: false,
                extra: None,
            }))
        }
    }

    struct Note;

    #[async_trait]
    impl Resource for Note {
        fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
            ResourceSpec::at("note:1", "note", "Note", "A note.").requires(["notes:read"])
        }

        async fn read(&self, _: ReadCall<'_>) -> ReadResourceResult {
            Err(ReadError::NotFound)
        }
    }

    struct Summary;

    #[async_trait]
    impl Prompt for Summary {
        fn spec(&self) -> Result<PromptSpec, InvalidScope> {
            PromptSpec::new("summary", "Summary", "Sums notes up.").requires(["notes:sum"])
        }

        async fn get(&self, _: PromptCall<'_>) -> GetPromptResult {
            Err(ToolError::new("not called"))
        }
    }

    #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    struct Nothing {}

    fn builder() -> ServerBuilder {
        let tool =
            |name| tool_fn(name, "Does nothing.", async |_: Nothing, _: Principal| Ok(Json(Nothing {})));
        Server::builder()
            .tool(tool("write").scopes(&["notes:write"]))
            .tool(tool("remove").scopes(&["notes:write", "notes:remove"]))
            .tool(tool("off").scopes(&["notes:off"]))
            .resource(Note)
            .prompt(Summary)
            .verifier(Arc::new(Proves))
    }

    fn sources() -> Sources {
        let toml = "[auth0]\nissuer = \"https://t/\"\naudience = \"urn:api\"\n[scopes.implies]\n\"notes:write\" = \
                    [\"notes:read\"]\n[tools.off]\nenabled = false\n[tools.write]\nscopes = [\"notes:read\"]\n";
        Sources::defaults().text("test", toml)
    }

    #[tokio::test]
    async fn all_that_is_on_offer_is_judged_by_rules_and_hierarchy() {
        let report = judge(builder(), sources(), "a.b.c", false).await.unwrap();
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["accepted"], true);
        let items = |kind: &str| {
            let items = json[kind].as_array().unwrap().iter();
            let item = |item: &serde_json::Value| {
                format!("{} {} {} {}", item["name"], item["may_call"], item["missing"], item["implied_by"])
            };
            items.map(item).collect::<Vec<_>>().join("; ").replace('"', "")
        };
        assert_eq!(items("tools"), "write true [] [notes:write]; remove false [notes:remove] null");
        assert_eq!(items("resources"), "note:1 true [] [notes:write]");
        assert_eq!(items("prompts"), "summary false [notes:sum] null");
        let text = report.to_text();
        assert!(text.contains("\nprompts\n  may not   summary  lacks notes:sum\n"), "{text}");
        assert!(text.ends_with("accepted; 1 of 2 tools"), "{text}");
    }

    #[tokio::test]
    async fn a_verifier_of_the_servers_own_is_one_check_and_not_asked_offline() {
        let names = |report: &Report| {
            let json = serde_json::to_value(report).unwrap();
            let checks = json["checks"].as_array().unwrap().iter();
            checks
                .map(|check| format!("{}:{}", check["name"], check["verdict"]).replace('"', ""))
                .collect::<Vec<_>>()
        };
        let report = judge(builder(), sources(), "a.b.c", false).await.unwrap();
        assert_eq!(names(&report)[..3], ["form:pass", "signature:pass", "token type:pass"]);
        let report = judge(builder(), sources(), "a.b.c", true).await.unwrap();
        assert_eq!(names(&report)[..3], ["form:pass", "parts:pass", "header:fail"]);
    }

    #[test]
    fn an_error_of_the_command_line_repeats_no_word() {
        let error = clap::Command::new("x").try_get_matches_from(["x", "--secret"]).unwrap_err();
        assert!(error.to_string().contains("--secret"));
        let text = without_words(&error).to_string();
        assert!(text.contains("unexpected argument found") && !text.contains("secret"), "{text}");
    }
}
