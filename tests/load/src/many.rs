//! The server that growth is measured at: as many tools, resources and templates as its section `[many]` says, a tool that asks, and
//! two that announce a change.

use std::process::ExitCode;

use domain::tools::Greet;
use fastmcp_auth0::{
    Announcer, CallToolResult, Change, Context, DynTool, ElicitResult, Outcome, ReadCall, ReadResourceResult,
    Resource, ResourceBody, ResourceContents, ResourceSpec, ResourceSpecError, Server, Setup, SpecError,
    Tool, ToolCall, ToolError, ToolResult, ToolSpec, async_trait,
};
use serde::Deserialize;
use serde_json::json;

/// What all of it takes.
const SCOPE: &str = "tool:greet";
const DEFAULTS: &str = "[many]\ntools = 0\nresources = 0\ntemplates = 0\nscopes = 0\n";

/// The section `[many]` of the configuration.
#[derive(Clone, Deserialize)]
struct Many {
    tools: usize,
    resources: usize,
    templates: usize,
    /// So many of the tools take a scope each, `other:1` and so on, and not the one that all the rest takes.
    scopes: usize,
}

/// One of many tools.
struct Numbered {
    number: usize,
    scope: String,
}

#[async_trait]
impl DynTool for Numbered {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let schema =
            json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
        let name = format!("tool_{}", self.number);
        ToolSpec::with_schema(&name, &name, "One of many.", schema)?.requires([self.scope.as_str()])
    }

    async fn run(&self, _: ToolCall<'_>) -> ToolResult {
        CallToolResult::of(["done"])
    }
}

/// One of many resources, or one at every URI of one of many templates.
enum Page {
    One(usize),
    Every(usize),
}

#[async_trait]
impl Resource for Page {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        match self {
            Self::One(number) => {
                let name = format!("page {number}");
                ResourceSpec::at(&format!("page://{number}"), &name, &name, "One of many.").requires([SCOPE])
            }
            Self::Every(number) => {
                let (address, name) = (format!("pages://{number}/{{page}}"), format!("pages {number}"));
                ResourceSpec::template(&address, &name, &name, "One of many.")?.requires([SCOPE])
            }
        }
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        Ok(Outcome::Complete(vec![ResourceContents {
            uri: call.uri.to_owned(),
            mime_type: None,
            body: ResourceBody::Text("a page".to_owned()),
        }]))
    }
}

/// Asks the user.
struct Ask;

impl Tool for Ask {
    const NAME: &'static str = "ask";
    const DESCRIPTION: &'static str = "Asks for a name.";
    const SCOPES: &'static [&'static str] = &[SCOPE];
    type Input = ();
    type Output = &'static str;

    async fn call(&self, (): (), context: Context<'_>) -> Result<&'static str, ToolError> {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        match context.elicit("who", "Who are you?", schema)? {
            ElicitResult::Accept(_) => Ok("answered"),
            ElicitResult::Decline | ElicitResult::Cancel => Err(ToolError::new("nobody to greet")),
        }
    }
}

/// Says that the tools changed.
struct Announce(Announcer);

impl Tool for Announce {
    const NAME: &'static str = "announce";
    const DESCRIPTION: &'static str = "Announces that the tools changed.";
    const SCOPES: &'static [&'static str] = &[SCOPE];
    type Input = ();
    type Output = &'static str;

    async fn call(&self, (): (), _: Context<'_>) -> Result<&'static str, ToolError> {
        self.0.announce(&Change::Tools);
        Ok("announced")
    }
}

/// Says that the first of the resources was updated.
struct Update(Announcer);

impl Tool for Update {
    const NAME: &'static str = "update";
    const DESCRIPTION: &'static str = "Announces an update of a resource.";
    const SCOPES: &'static [&'static str] = &[SCOPE];
    type Input = ();
    type Output = &'static str;

    async fn call(&self, (): (), _: Context<'_>) -> Result<&'static str, ToolError> {
        self.0.announce(&Change::Resource("page://0".to_owned()));
        Ok("announced")
    }
}

fn main() -> ExitCode {
    Server::builder()
        .identity("many", env!("CARGO_PKG_VERSION"))
        .defaults(DEFAULTS)
        .section::<Many>("many")
        .tool(Greet)
        .setup(|setup: Setup| async move {
            let (many, announcer) = (setup.section::<Many>("many")?, setup.announcer());
            let setup = setup.tool(Ask).tool(Announce(announcer.clone())).tool(Update(announcer));
            let setup = (0..many.tools).fold(setup, |setup, number| {
                let scope =
                    if number < many.scopes { format!("other:{}", number + 1) } else { SCOPE.to_owned() };
                setup.tool(Numbered { number, scope })
            });
            let pages = (0..many.resources).map(Page::One).chain((0..many.templates).map(Page::Every));
            Ok(pages.fold(setup, Setup::resource))
        })
        .run()
}
