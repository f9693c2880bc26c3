//! A server of which several share a Redis: its tools announce changes, and ask. `.ci/clients/redis.mjs` starts it.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastmcp_auth0::{
    Announcer, Change, Context, ElicitResult, Outcome, ReadCall, ReadResourceResult, Resource, ResourceBody,
    ResourceContents, ResourceSpec, ResourceSpecError, Server, Setup, Tool, ToolError, async_trait,
};
use serde_json::{Value, json};

const COUNTER: &str = "counter://one";

/// A number that only this process knows; what matters is who hears that it changed.
struct Counter(Arc<AtomicU64>);

#[async_trait]
impl Resource for Counter {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        Ok(ResourceSpec::at(COUNTER, "counter", "Counter", "Counts.").of_type("text/plain"))
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        Ok(Outcome::Complete(vec![ResourceContents {
            uri: call.uri.to_owned(),
            mime_type: Some("text/plain".to_owned()),
            body: ResourceBody::Text(self.0.load(Ordering::Relaxed).to_string()),
        }]))
    }
}

/// Changes the resource.
struct Count(Arc<AtomicU64>, Announcer);

impl Tool for Count {
    const NAME: &'static str = "count";
    const DESCRIPTION: &'static str = "Counts one further.";
    type Input = ();
    type Output = String;

    async fn call(&self, (): (), _: Context<'_>) -> Result<String, ToolError> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        self.1.announce(&Change::Resource(COUNTER.to_owned()));
        Ok(count.to_string())
    }
}

/// Says that the tools changed.
struct AnnounceTools(Announcer);

impl Tool for AnnounceTools {
    const NAME: &'static str = "announce_tools";
    const DESCRIPTION: &'static str = "Announces that the tools changed.";
    type Input = ();
    type Output = &'static str;

    async fn call(&self, (): (), _: Context<'_>) -> Result<&'static str, ToolError> {
        self.0.announce(&Change::Tools);
        Ok("announced")
    }
}

/// Asks the user.
struct Ask;

impl Tool for Ask {
    const NAME: &'static str = "ask";
    const DESCRIPTION: &'static str = "Asks for a name.";
    type Input = ();
    type Output = String;

    async fn call(&self, (): (), context: Context<'_>) -> Result<String, ToolError> {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        match context.elicit("who", "Who are you?", schema)? {
            ElicitResult::Accept(form) => {
                Ok(format!("Hello, {}!", form.get("name").and_then(Value::as_str).unwrap_or("nobody")))
            }
            ElicitResult::Decline | ElicitResult::Cancel => Err(ToolError::new("nobody to greet")),
        }
    }
}

fn main() -> ExitCode {
    Server::builder()
        .identity("replica", env!("CARGO_PKG_VERSION"))
        .setup(|setup: Setup| async move {
            let (count, announcer) = (Arc::new(AtomicU64::new(0)), setup.announcer());
            Ok(setup
                .tool(Count(Arc::clone(&count), announcer.clone()))
                .tool(AnnounceTools(announcer))
                .tool(Ask)
                .resource(Counter(count)))
        })
        .run()
}
