//! Tools as clients see them, rendered once, and the list that a principal may see.

use std::collections::HashMap;

use domain::{Principal, Service, ToolName, ToolSpec};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// `Tool` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolWire<'a> {
    name: &'a str,
    title: &'a str,
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<&'a Value>,
    annotations: AnnotationsWire<'a>,
}

/// `ToolAnnotations` in the schema. Before 2025-06-18 the title stood only here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnnotationsWire<'a> {
    title: &'a str,
    read_only_hint: bool,
}

/// What `tools/list` returns; each era wraps it in its own way.
#[derive(Serialize)]
pub(crate) struct ToolList<'a> {
    tools: Vec<&'a RawValue>,
}

/// Every tool's JSON.
pub(crate) struct ToolListing {
    rendered: HashMap<ToolName, Box<RawValue>>,
}

impl ToolListing {
    pub(crate) fn render(service: &Service) -> Result<Self, serde_json::Error> {
        let render = |spec: &ToolSpec| Ok((spec.name.clone(), to_raw_value(&to_wire(spec))?));
        Ok(Self { rendered: service.catalog.specs().map(render).collect::<Result<_, serde_json::Error>>()? })
    }

    /// The tools that `who` may call, in the catalog's order.
    pub(crate) fn for_principal<'a>(&'a self, service: &'a Service, who: &Principal) -> ToolList<'a> {
        let rendered = |spec: &ToolSpec| self.rendered.get(&spec.name).map(AsRef::as_ref);
        ToolList { tools: service.tools_for(who).filter_map(rendered).collect() }
    }
}

fn to_wire(spec: &ToolSpec) -> ToolWire<'_> {
    ToolWire {
        name: spec.name.as_str(),
        title: &spec.title,
        description: &spec.description,
        input_schema: spec.input.as_json(),
        output_schema: spec.output.as_ref().map(domain::Schema::as_json),
        annotations: AnnotationsWire { title: &spec.title, read_only_hint: spec.read_only },
    }
}
