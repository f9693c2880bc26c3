//! The methods that are served, one entry each. Whatever depends on the method is in its entry: a new method is an entry here
//! and its handler.
//!
//! No method of MCP's asks for a scope by itself: [`domain::Service`] judges what a request names (a tool, a resource, a
//! prompt), and lists show what the principal may use. A method of the catalog asks for the scopes of its spec.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use domain::Catalog;

use crate::era::Era;
use crate::exchange::Exchange;
use crate::job::Target;
use crate::listing::List;
use crate::message::{CALL_TOOL, GET_PROMPT, READ_RESOURCE};
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
    /// Waits for code of the catalog's, and sends nothing before its result.
    Waiting(for<'x> fn(&'x mut Exchange<'_, '_>) -> Waiting<'x>),
    /// Has a job call the target, which may send messages and requests for input before its result.
    Job(fn(&mut Exchange<'_, '_>) -> Result<Target, Refusal>),
    /// Answers with a stream, and so only clients that take one.
    Stream(fn(&mut Exchange<'_, '_>, LogFields) -> Result<Reply, Refusal>),
}

pub(crate) type Waiting<'x> = Pin<Box<dyn Future<Output = Result<RenderedResult, Refusal>> + Send + 'x>>;

/// MCP's own methods, the most frequent one first.
static METHODS: [Method; 15] = [
    Method {
        name: CALL_TOOL,
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
        name: READ_RESOURCE,
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
        name: GET_PROMPT,
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

/// Every method of the catalog.
static CATALOG_METHOD: Method = Method {
    name: "a method of the catalog",
    eras: Eras::Both,
    mcp_name: None,
    feature: Feature::Always,
    handler: Handler::Job(handlers::call_method),
};

/// Namespaces that are MCP's beside those of its methods here: of messages that clients handle, of extensions, JSON-RPC's own.
const RESERVED: [&str; 6] = ["notifications", "sampling", "elicitation", "roots", "tasks", "rpc"];

/// A method, and the name that logs may show: what a client made up is in no log.
pub(crate) struct Found {
    pub(crate) method: &'static Method,
    pub(crate) name: Cow<'static, str>,
}

/// Returns the method of this name: MCP's, or one of the catalog.
pub(crate) fn find(name: &str, catalog: &Catalog) -> Option<Found> {
    if let Some(method) = METHODS.iter().find(|method| method.name == name) {
        return Some(Found { method, name: method.name.into() });
    }
    let spec = catalog.methods.specs().find(|spec| spec.name() == name)?;
    Some(Found { method: &CATALOG_METHOD, name: spec.name().to_owned().into() })
}

/// Returns whether a method's name is in a namespace of MCP's or of JSON-RPC's, so that no method of the catalog may have it.
pub(crate) fn is_reserved(name: &str) -> bool {
    let namespace = |name: &str| name.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let own = namespace(name);
    let mut labels = own.split('.');
    METHODS.iter().any(|method| namespace(method.name) == own)
        || labels.clone().next().is_some_and(|first| RESERVED.contains(&first))
        || labels.any(|label| label == "mcp" || label == "modelcontextprotocol")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_one_entry_and_a_reserved_name() {
        for (index, method) in METHODS.iter().enumerate() {
            assert!(METHODS[..index].iter().all(|other| other.name != method.name), "{}", method.name);
            assert!(is_reserved(method.name), "{}", method.name);
        }
        assert!(!is_reserved("com.example/tools") && !is_reserved("toolsmith/call"));
    }
}
