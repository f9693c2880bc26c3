//! The methods that are served, one entry each. Whatever depends on the method is in its entry: a new method is an entry here
//! and its handler.
//!
//! No method of MCP's asks for a scope by itself: [`domain::Service`] judges what a request names (a tool, a resource, a
//! prompt), and lists show what the principal may use.

use std::future::Future;
use std::pin::Pin;

use domain::Catalog;

use crate::era::Era;
use crate::exchange::Exchange;
use crate::job::Target;
use crate::listing::List;
use crate::mirror::MirroredParam;
use crate::reply::{LogFields, Refusal, RenderedResult, Reply};
use crate::version::Feature;
use crate::{handlers, legacy, listen, modern};

/// A method, and how it is served.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    eras: Eras,
    /// The member of `params` that the `Mcp-Name` header mirrors.
    pub(crate) mcp_name: Option<MirroredParam>,
    /// What the catalog must have for the method to be served.
    feature: Feature,
    pub(crate) handler: Handler,
}

/// The eras that have a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eras {
    Both,
    Modern,
    Legacy,
}

/// What answers a request.
pub(crate) enum Handler {
    /// Answers at once.
    Immediate(fn(&mut Exchange<'_, '_>) -> Result<RenderedResult, Refusal>),
    /// Waits for code of the catalog's, and is not heard of before it has its result.
    Waiting(for<'x> fn(&'x mut Exchange<'_, '_>) -> Waiting<'x>),
    /// Has a [`crate::job::Job`] call the target, which may send messages and requests for input before its result.
    Job(fn(&mut Exchange<'_, '_>) -> Result<Target, Refusal>),
    /// Answers with a stream, and so only clients that take one.
    Stream(fn(&mut Exchange<'_, '_>, LogFields) -> Result<Reply, Refusal>),
}

pub(crate) type Waiting<'x> = Pin<Box<dyn Future<Output = Result<RenderedResult, Refusal>> + Send + 'x>>;

/// MCP's own methods, the one that is called most first.
static METHODS: [Method; 15] = [
    Method {
        name: "tools/call",
        eras: Eras::Both,
        mcp_name: Some(MirroredParam::Name),
        feature: Feature::Always,
        handler: Handler::Job(handlers::call_tool),
    },
    Method {
        name: "tools/list",
        eras: Eras::Both,
        mcp_name: None,
        feature: Feature::Always,
        handler: Handler::Immediate(|exchange| handlers::list(exchange, List::Tools)),
    },
    Method {
        name: "resources/list",
        eras: Eras::Both,
        mcp_name: None,
        feature: Feature::Resources,
        handler: Handler::Immediate(|exchange| handlers::list(exchange, List::Resources)),
    },
    Method {
        name: "resources/templates/list",
        eras: Eras::Both,
        mcp_name: None,
        feature: Feature::Resources,
        handler: Handler::Immediate(|exchange| handlers::list(exchange, List::Templates)),
    },
    Method {
        name: "resources/read",
        eras: Eras::Both,
        mcp_name: Some(MirroredParam::Uri),
        feature: Feature::Resources,
        handler: Handler::Job(handlers::read_resource),
    },
    Method {
        name: "resources/subscribe",
        eras: Eras::Legacy,
        mcp_name: None,
        feature: Feature::Resources,
        handler: Handler::Immediate(legacy::subscribe),
    },
    Method {
        name: "resources/unsubscribe",
        eras: Eras::Legacy,
        mcp_name: None,
        feature: Feature::Resources,
        handler: Handler::Immediate(legacy::subscribe),
    },
    Method {
        name: "prompts/list",
        eras: Eras::Both,
        mcp_name: None,
        feature: Feature::Prompts,
        handler: Handler::Immediate(|exchange| handlers::list(exchange, List::Prompts)),
    },
    Method {
        name: "prompts/get",
        eras: Eras::Both,
        mcp_name: Some(MirroredParam::Name),
        feature: Feature::Prompts,
        handler: Handler::Job(handlers::get_prompt),
    },
    Method {
        name: "completion/complete",
        eras: Eras::Both,
        mcp_name: None,
        feature: Feature::Completions,
        handler: Handler::Waiting(|exchange| Box::pin(handlers::complete(exchange))),
    },
    Method {
        name: "server/discover",
        eras: Eras::Modern,
        mcp_name: None,
        feature: Feature::Always,
        handler: Handler::Immediate(|exchange| Ok(modern::discover(exchange))),
    },
    Method {
        name: "subscriptions/listen",
        eras: Eras::Modern,
        mcp_name: None,
        feature: Feature::Always,
        handler: Handler::Stream(listen::open),
    },
    Method {
        name: INITIALIZE,
        eras: Eras::Legacy,
        mcp_name: None,
        feature: Feature::Always,
        handler: Handler::Immediate(legacy::initialize),
    },
    Method {
        name: "ping",
        eras: Eras::Legacy,
        mcp_name: None,
        feature: Feature::Always,
        handler: Handler::Immediate(|_| Ok(legacy::ping())),
    },
    Method {
        name: "logging/setLevel",
        eras: Eras::Legacy,
        mcp_name: None,
        feature: Feature::Always,
        handler: Handler::Immediate(legacy::set_level),
    },
];

/// The handshake of the legacy era, which is no part of a batch, and comes before the version is known.
pub(crate) const INITIALIZE: &str = "initialize";

/// Returns the method of this name.
pub(crate) fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

impl Method {
    /// Returns whether it is served in an era, with what the catalog has: what was not advertised is not served.
    pub(crate) fn is_served(&self, era: Era, catalog: &Catalog) -> bool {
        let has_era = match self.eras {
            Eras::Both => true,
            Eras::Modern => era == Era::Modern,
            Eras::Legacy => era == Era::Legacy,
        };
        has_era && self.feature.is_in(catalog)
    }
}
