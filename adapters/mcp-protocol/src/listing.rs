//! The catalog as clients see it: rendered once, then filtered for a principal and cut into pages.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{
    Address, Icon, Principal, PromptSpec, RawObject, ResourceSpec, Service, ToolHints, ToolName, ToolSpec,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use syntax::strict_json::Json;

use crate::content::{IconWire, icons};
use crate::mirror::ParamHeaders;
use crate::params::bad_params;
use crate::reply::Refusal;

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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<IconWire<'a>>,
}

/// `ToolAnnotations` in the schema. Before 2025-06-18 the title stood only here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the schema has four")]
struct AnnotationsWire<'a> {
    title: &'a str,
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
    open_world_hint: bool,
}

/// `Resource` and `ResourceTemplate` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceWire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri_template: Option<&'a str>,
    name: &'a str,
    title: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<IconWire<'a>>,
}

/// `Prompt` in the schema.
#[derive(Serialize)]
struct PromptWire<'a> {
    name: &'a str,
    title: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<ArgumentWire<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<IconWire<'a>>,
}

/// `PromptArgument` in the schema.
#[derive(Serialize)]
struct ArgumentWire<'a> {
    name: &'a str,
    description: &'a str,
    required: bool,
}

/// A list of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum List {
    Tools,
    Resources,
    Templates,
    Prompts,
}

impl List {
    pub(crate) const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }
}

/// A page, and the cursor of the next one.
pub(crate) type Page<'a> = (Vec<&'a str>, Option<String>);

/// Something of a list: its name, URI or template, and its JSON.
type Item<'a> = (&'a str, &'a str);

/// The JSON of everything in the catalog.
pub(crate) struct Listing {
    tools: Texts,
    resources: Texts,
    prompts: Texts,
    /// The header fields that mirror a tool's arguments.
    pub(crate) param_headers: HashMap<ToolName, ParamHeaders>,
}

/// Texts in the catalog's order, one behind the other: a long list is read from memory as it is written.
#[derive(Default)]
struct Texts {
    all: String,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &RawValue) {
        self.all.push_str(text.get());
        self.ends.push(self.all.len());
    }

    fn get(&self, place: usize) -> Option<&str> {
        let begin = place.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.all.get(begin..*self.ends.get(place)?)
    }
}

/// Why something can't be listed; for the developer who wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// Something can't be given as JSON.
    #[error("what is on offer can't be given as JSON")]
    Json(#[from] serde_json::Error),
    /// An `x-mcp-header` annotation breaks the rules.
    #[error("the tool {tool}: {problem}")]
    ParamHeader {
        /// The tool that has it.
        tool: ToolName,
        /// The rule that is broken.
        problem: String,
    },
    /// An icon that clients must refuse.
    #[error("an icon of {of} is neither an https URL nor a data URI of an image: {src:?}")]
    Icon {
        /// What has the icon.
        of: String,
        /// The icon's source, cut.
        src: String,
    },
}

/// Checks that a tool can be shown to clients.
///
/// # Errors
/// [`ListingError`].
pub fn check_tool(spec: &ToolSpec) -> Result<(), ListingError> {
    check_icons(spec.name.as_str(), &spec.icons)?;
    param_headers(spec).map(drop)
}

fn param_headers(spec: &ToolSpec) -> Result<ParamHeaders, ListingError> {
    let headers = ParamHeaders::of(spec.input.as_json());
    headers.map_err(|problem| ListingError::ParamHeader { tool: spec.name.clone(), problem })
}

/// Checks that clients may fetch the icons of something.
///
/// # Errors
/// [`ListingError::Icon`].
pub(crate) fn check_icons(of: &str, icons: &[Icon]) -> Result<(), ListingError> {
    match icons.iter().find(|icon| !icon.is_acceptable()) {
        None => Ok(()),
        Some(Icon { src, .. }) => {
            Err(ListingError::Icon { of: of.to_owned(), src: src.chars().take(100).collect() })
        }
    }
}

impl Listing {
    pub(crate) fn render(service: &Service) -> Result<Self, ListingError> {
        let catalog = &service.catalog;
        let mut listing = Self {
            tools: Texts::default(),
            resources: Texts::default(),
            prompts: Texts::default(),
            param_headers: HashMap::new(),
        };
        for spec in catalog.tools.specs() {
            check_icons(spec.name.as_str(), &spec.icons)?;
            let definition = match &spec.definition {
                Some(definition) => named(definition, "name", spec.name.as_str())?,
                None => to_raw_value(&tool(spec))?,
            };
            listing.tools.push(&definition);
            listing.param_headers.insert(spec.name.clone(), param_headers(spec)?);
        }
        for spec in catalog.resources.specs() {
            check_icons(spec.address.as_str(), &spec.icons)?;
            let (member, address) = match &spec.address {
                Address::Uri(uri) => ("uri", uri.as_str()),
                Address::Template(template) => ("uriTemplate", template.as_str()),
            };
            let definition = match &spec.definition {
                Some(definition) => named(definition, member, address)?,
                None => to_raw_value(&resource(spec))?,
            };
            listing.resources.push(&definition);
        }
        for spec in catalog.prompts.specs() {
            check_icons(&spec.name, &spec.icons)?;
            let definition = match &spec.definition {
                Some(definition) => named(definition, "name", &spec.name)?,
                None => to_raw_value(&prompt(spec))?,
            };
            listing.prompts.push(&definition);
        }
        Ok(listing)
    }

    /// Returns a page of what a principal may see of a list, in the catalog's order.
    pub(crate) fn page<'a>(
        &'a self,
        list: List,
        service: &'a Service,
        principal: &'a Principal,
        cursor: Option<&Json<'_>>,
        size: usize,
    ) -> Result<Page<'a>, Refusal> {
        page(|from| self.visible(list, service, principal, from), cursor, size)
    }

    /// Returns what a principal may see of a list, by name, in the catalog's order: all, or from an item on that is named, which
    /// need not be among it.
    pub(crate) fn visible<'a>(
        &'a self,
        list: List,
        service: &'a Service,
        principal: &'a Principal,
        from: Option<&str>,
    ) -> Box<dyn Iterator<Item = Item<'a>> + 'a> {
        match list {
            List::Tools => Box::new(
                service
                    .tools_for(principal, from)
                    .filter_map(|(place, spec)| Some((spec.name.as_str(), self.tools.get(place)?))),
            ),
            List::Resources => Box::new(self.resources(service, principal, from, false)),
            List::Templates => Box::new(self.resources(service, principal, from, true)),
            List::Prompts => Box::new(
                service
                    .prompts_for(principal, from)
                    .filter_map(|(place, spec)| Some((spec.name.as_str(), self.prompts.get(place)?))),
            ),
        }
    }

    fn resources<'a>(
        &'a self,
        service: &'a Service,
        principal: &'a Principal,
        from: Option<&str>,
        templates: bool,
    ) -> impl Iterator<Item = Item<'a>> + use<'a> {
        service
            .resources_for(principal, from)
            .filter(move |(_, spec)| matches!(spec.address, Address::Template(_)) == templates)
            .filter_map(|(place, spec)| Some((spec.address.as_str(), self.resources.get(place)?)))
    }
}

/// Returns a page of the items that `from` returns. A cursor names the last item of the page before, so that a list that changes
/// meanwhile loses nothing but what is gone, and the items before it need not be looked at.
fn page<'a, I: Iterator<Item = Item<'a>>>(
    from: impl FnOnce(Option<&str>) -> I,
    cursor: Option<&Json<'_>>,
    size: usize,
) -> Result<Page<'a>, Refusal> {
    let mut items = match cursor {
        None | Some(Json::Null) => from(None),
        Some(cursor) => {
            let unknown = || bad_params("unknown cursor");
            let cursor = cursor.text().ok_or_else(unknown)?;
            let last = URL_SAFE_NO_PAD.decode(cursor.as_bytes()).map_err(|_| unknown())?;
            let last = str::from_utf8(&last).map_err(|_| unknown())?;
            let mut items = from(Some(last));
            items.next().filter(|(name, _)| *name == last).ok_or_else(unknown)?;
            items
        }
    };
    let shown: Vec<Item<'_>> = items.by_ref().take(size).collect();
    let next = shown.last().filter(|_| items.next().is_some()).map(|(name, _)| URL_SAFE_NO_PAD.encode(name));
    Ok((shown.into_iter().map(|(_, text)| text).collect(), next))
}

/// Returns another server's definition under the name or the address that clients use here.
fn named(definition: &RawObject, member: &str, name: &str) -> serde_json::Result<Box<RawValue>> {
    let mut definition = definition.clone();
    definition.set(member, name)?;
    to_raw_value(&definition)
}

fn tool(spec: &ToolSpec) -> ToolWire<'_> {
    let ToolHints { read_only, destructive, idempotent, open_world, .. } = spec.hints;
    ToolWire {
        name: spec.name.as_str(),
        title: &spec.title,
        description: &spec.description,
        input_schema: spec.input.as_json(),
        output_schema: spec.output.as_ref().map(domain::Schema::as_json),
        annotations: AnnotationsWire {
            title: &spec.title,
            read_only_hint: read_only,
            destructive_hint: destructive,
            idempotent_hint: idempotent,
            open_world_hint: open_world,
        },
        icons: icons(&spec.icons),
    }
}

fn resource(spec: &ResourceSpec) -> ResourceWire<'_> {
    let (uri, uri_template) = match &spec.address {
        Address::Uri(uri) => (Some(uri.as_str()), None),
        Address::Template(template) => (None, Some(template.as_str())),
    };
    let mime_type = spec.mime_type.as_deref();
    let (name, title, description) = (&spec.name, &spec.title, &spec.description);
    let icons = icons(&spec.icons);
    ResourceWire { uri, uri_template, name, title, description, mime_type, icons }
}

fn prompt(spec: &PromptSpec) -> PromptWire<'_> {
    let arguments = spec.arguments.iter().map(|argument| ArgumentWire {
        name: &argument.name,
        description: &argument.description,
        required: argument.required,
    });
    PromptWire {
        name: &spec.name,
        title: &spec.title,
        description: &spec.description,
        arguments: arguments.collect(),
        icons: icons(&spec.icons),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_at_their_places() {
        let mut texts = Texts::default();
        for text in [json!({"a": "é"}), json!(1), json!("b")] {
            texts.push(&to_raw_value(&text).unwrap());
        }
        let found: Vec<Option<&str>> = (0..4).map(|place| texts.get(place)).collect();
        assert_eq!(found, [Some(r#"{"a":"é"}"#), Some("1"), Some(r#""b""#), None]);
        assert_eq!(Texts::default().get(0), None);
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let names = ["a", "b", "c", "d", "e"];
        let items: Vec<Item<'_>> = names.into_iter().zip(["0", "1", "2", "3", "4"]).collect();
        let from = |from: Option<&str>| {
            let index = from.map_or(Some(0), |from| names.iter().position(|name| *name == from));
            items[index.unwrap_or(items.len())..].iter().copied()
        };
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let given = cursor.map(|cursor: String| Json::Text(cursor.into()));
            let Ok((shown, next)) = page(from, given.as_ref(), 2) else { panic!("refused") };
            seen.extend(shown);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"]);
        for bad in [Json::Text("x".into()), Json::Other, Json::Text("".into()), Json::Text("Zg".into())] {
            assert!(page(from, Some(&bad), 2).is_err(), "{bad:?}");
        }
        assert!(page(from, Some(&Json::Null), 2).is_ok_and(|(shown, _)| shown.len() == 2));
    }

    #[test]
    fn a_page_looks_at_no_more_than_its_own_items_and_one_on_either_side() {
        let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let looked_at = Cell::new(0);
        let from = |from: Option<&str>| {
            let start = from.map_or(0, |from| from.parse().unwrap());
            let items = names[start..].iter().map(|name| (name.as_str(), "0"));
            items.inspect(|_| looked_at.set(looked_at.get() + 1))
        };
        for start in ["0", "500", "980"] {
            looked_at.set(0);
            let cursor = Json::Text(URL_SAFE_NO_PAD.encode(start).into());
            assert!(page(from, Some(&cursor), 10).is_ok_and(|(shown, _)| shown.len() == 10));
            assert_eq!(looked_at.get(), 12, "{start}");
        }
    }
}
