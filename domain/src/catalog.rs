//! The tools, resources, prompts and methods of a server, in the order in which they were registered.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use crate::method::{Method, MethodSpec, MethodSpecError};
use crate::prompt::{Prompt, PromptSpec};
use crate::resource::{Address, Resource, ResourceSpec, ResourceSpecError};
use crate::scope::{InvalidScope, ScopeSet};
use crate::tool::{DynTool, SpecError, ToolName, ToolSpec};

/// Everything that a server has for its clients.
#[derive(Default)]
pub struct Catalog {
    /// The tools.
    pub tools: ToolCatalog,
    /// The resources.
    pub resources: ResourceCatalog,
    /// The prompts.
    pub prompts: PromptCatalog,
    /// The methods of the server's own.
    pub methods: MethodCatalog,
}

impl Catalog {
    /// Returns every scope that something in the catalog asks for: the tools' first, by `rule`, then the resources', the
    /// prompts' and the methods'.
    pub fn asked_scopes<'a>(&'a self, rule: impl Fn(&'a ToolSpec) -> &'a ScopeSet) -> ScopeSet {
        let tools = self.tools.specs().map(rule);
        let resources = self.resources.specs().map(|spec| &spec.scopes);
        let prompts = self.prompts.specs().map(|spec| &spec.scopes);
        let methods = self.methods.specs().map(|spec| &spec.scopes);
        tools.chain(resources).chain(prompts).chain(methods).flat_map(ScopeSet::iter).cloned().collect()
    }
}

/// Tools in a stable order, found by name.
#[derive(Default)]
pub struct ToolCatalog {
    entries: Vec<CatalogTool>,
    by_name: HashMap<ToolName, usize>,
}

/// A tool of a catalog, with its spec.
pub struct CatalogTool {
    pub(crate) spec: ToolSpec,
    pub(crate) tool: Arc<dyn DynTool>,
    /// Its place in the order.
    pub(crate) index: usize,
}

impl CatalogTool {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &ToolName {
        &self.spec.name
    }
}

/// Resources in a stable order, found by URI.
#[derive(Default)]
pub struct ResourceCatalog {
    entries: Vec<(ResourceSpec, Arc<dyn Resource>)>,
    /// By URI and by template.
    by_address: HashMap<String, usize>,
    /// The places of templates, by the text that they begin with.
    templates: HashMap<String, Vec<usize>>,
    /// How long these texts are: few lengths, however many templates there are.
    lengths: BTreeSet<usize>,
}

/// Prompts in a stable order, found by name.
#[derive(Default)]
pub struct PromptCatalog {
    entries: Vec<(PromptSpec, Arc<dyn Prompt>)>,
    by_name: HashMap<String, usize>,
}

/// Methods of the server's own, found by name.
#[derive(Default)]
pub struct MethodCatalog {
    entries: Vec<(MethodSpec, Arc<dyn Method>)>,
}

/// Why a catalog can't be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A tool's spec is invalid.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A resource's spec is invalid.
    #[error(transparent)]
    Resource(#[from] ResourceSpecError),
    /// A prompt's spec is invalid.
    #[error(transparent)]
    Prompt(#[from] InvalidScope),
    /// A method's spec is invalid.
    #[error(transparent)]
    Method(#[from] MethodSpecError),
    /// Two tools have one name.
    #[error("two tools are named {0}")]
    Duplicate(ToolName),
    /// Two resources have one URI or template.
    #[error("two resources are at {0:?}")]
    DuplicateResource(String),
    /// Two prompts have one name.
    #[error("two prompts are named {0:?}")]
    DuplicatePrompt(String),
    /// Two methods have one name.
    #[error("two methods are named {0:?}")]
    DuplicateMethod(String),
}

impl ToolCatalog {
    /// Creates a catalog; asks every tool for its spec.
    ///
    /// # Errors
    /// [`CatalogError`] for the first tool that can't be offered.
    pub fn new(tools: impl IntoIterator<Item = Arc<dyn DynTool>>) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        for tool in tools {
            catalog.add(tool)?;
        }
        Ok(catalog)
    }

    /// Adds a tool behind the others.
    ///
    /// # Errors
    /// [`CatalogError`]; the catalog is as it was.
    pub fn add(&mut self, tool: Arc<dyn DynTool>) -> Result<(), CatalogError> {
        let spec = tool.spec()?;
        if self.by_name.contains_key(&spec.name) {
            return Err(CatalogError::Duplicate(spec.name));
        }
        let index = self.entries.len();
        self.by_name.insert(spec.name.clone(), index);
        self.entries.push(CatalogTool { spec, tool, index });
        Ok(())
    }

    /// Returns the catalog with only the tools for which `keep` returns true.
    #[must_use]
    pub fn retain(self, keep: impl Fn(&ToolName) -> bool) -> Self {
        let kept = self.entries.into_iter().filter(|entry| keep(entry.name())).enumerate();
        let entries: Vec<_> = kept.map(|(index, entry)| CatalogTool { index, ..entry }).collect();
        let by_name = entries.iter().map(|entry| (entry.name().clone(), entry.index)).collect();
        Self { entries, by_name }
    }

    /// Returns the spec of every tool, in order.
    pub fn specs(&self) -> impl Iterator<Item = &ToolSpec> {
        self.entries.iter().map(|entry| &entry.spec)
    }

    /// Returns the tools from this one on, in order, the others unseen: none if there is no such tool, all without a name.
    pub(crate) fn iter_from(&self, name: Option<&str>) -> impl Iterator<Item = &CatalogTool> + use<'_> {
        beginning(&self.entries, &self.by_name, name).map(|(_, tool)| tool)
    }

    /// Returns the spec of one tool.
    #[must_use]
    pub fn spec(&self, name: &str) -> Option<&ToolSpec> {
        self.named(name).map(|tool| &tool.spec)
    }

    /// Returns one tool.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&CatalogTool> {
        self.by_name.get(name).map(|&index| &self.entries[index])
    }
}

impl ResourceCatalog {
    /// Creates a catalog; asks every resource for its spec.
    ///
    /// # Errors
    /// [`CatalogError`] for the first resource that can't be registered.
    pub fn new(resources: impl IntoIterator<Item = Arc<dyn Resource>>) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        for resource in resources {
            catalog.add(resource)?;
        }
        Ok(catalog)
    }

    /// Adds a resource behind the others.
    ///
    /// # Errors
    /// [`CatalogError`]; the catalog is as it was.
    pub fn add(&mut self, resource: Arc<dyn Resource>) -> Result<(), CatalogError> {
        let spec = resource.spec()?;
        let (index, address) = (self.entries.len(), spec.address.as_str());
        if self.by_address.contains_key(address) {
            return Err(CatalogError::DuplicateResource(address.to_owned()));
        }
        self.by_address.insert(address.to_owned(), index);
        if let Address::Template(template) = &spec.address {
            let beginning = template.beginning();
            self.lengths.insert(beginning.len());
            self.templates.entry(beginning.to_owned()).or_default().push(index);
        }
        self.entries.push((spec, resource));
        Ok(())
    }

    /// Returns the spec of every resource, in order.
    pub fn specs(&self) -> impl Iterator<Item = &ResourceSpec> {
        self.entries.iter().map(|(spec, _)| spec)
    }

    /// Returns the specs from the one with this URI or template on, as [`ToolCatalog::iter_from`] does.
    pub(crate) fn specs_from(
        &self,
        address: Option<&str>,
    ) -> impl Iterator<Item = (usize, &ResourceSpec)> + use<'_> {
        beginning(&self.entries, &self.by_address, address).map(|(place, (spec, _))| (place, spec))
    }

    /// Returns the URI or the template of what is at this URI.
    #[must_use]
    pub fn address_of(&self, uri: &str) -> Option<&Address> {
        self.at(uri).map(|(spec, _)| &spec.address)
    }

    /// Returns the resource at exactly this URI, or else that of the first template that it fits.
    pub(crate) fn at(&self, uri: &str) -> Option<&(ResourceSpec, Arc<dyn Resource>)> {
        let is_exact = |(spec, _): &&(ResourceSpec, _)| matches!(&spec.address, Address::Uri(_));
        self.with_address(uri).filter(is_exact).or_else(|| self.entries.get(self.template_for(uri)?))
    }

    /// Returns the place of the first template that a URI fits. Others than those that begin as it does are not looked at.
    fn template_for(&self, uri: &str) -> Option<usize> {
        let fits = |place: &&usize| match &self.entries[**place].0.address {
            Address::Template(template) => template.variables(uri).is_some(),
            Address::Uri(_) => false,
        };
        let beginnings = self.lengths.iter().filter_map(|length| uri.get(..*length));
        let found = beginnings.filter_map(|beginning| self.templates.get(beginning)?.iter().find(fits));
        found.min().copied()
    }

    /// Returns the resource with exactly this template.
    pub(crate) fn with_template(&self, template: &str) -> Option<&(ResourceSpec, Arc<dyn Resource>)> {
        self.with_address(template).filter(|(spec, _)| matches!(&spec.address, Address::Template(_)))
    }

    fn with_address(&self, address: &str) -> Option<&(ResourceSpec, Arc<dyn Resource>)> {
        self.by_address.get(address).map(|&index| &self.entries[index])
    }
}

impl PromptCatalog {
    /// Creates a catalog; asks every prompt for its spec.
    ///
    /// # Errors
    /// [`CatalogError`] for the first prompt that can't be registered.
    pub fn new(prompts: impl IntoIterator<Item = Arc<dyn Prompt>>) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        for prompt in prompts {
            catalog.add(prompt)?;
        }
        Ok(catalog)
    }

    /// Adds a prompt behind the others.
    ///
    /// # Errors
    /// [`CatalogError`]; the catalog is as it was.
    pub fn add(&mut self, prompt: Arc<dyn Prompt>) -> Result<(), CatalogError> {
        let spec = prompt.spec()?;
        if self.by_name.contains_key(&spec.name) {
            return Err(CatalogError::DuplicatePrompt(spec.name));
        }
        self.by_name.insert(spec.name.clone(), self.entries.len());
        self.entries.push((spec, prompt));
        Ok(())
    }

    /// Returns the spec of every prompt, in order.
    pub fn specs(&self) -> impl Iterator<Item = &PromptSpec> {
        self.entries.iter().map(|(spec, _)| spec)
    }

    /// Returns the specs from this prompt on, as [`ToolCatalog::iter_from`] does.
    pub(crate) fn specs_from(
        &self,
        name: Option<&str>,
    ) -> impl Iterator<Item = (usize, &PromptSpec)> + use<'_> {
        beginning(&self.entries, &self.by_name, name).map(|(place, (spec, _))| (place, spec))
    }

    pub(crate) fn named(&self, name: &str) -> Option<&(PromptSpec, Arc<dyn Prompt>)> {
        self.by_name.get(name).map(|&index| &self.entries[index])
    }
}

impl MethodCatalog {
    /// Creates a catalog; asks every method for its spec.
    ///
    /// # Errors
    /// [`CatalogError`] for the first method that can't be registered.
    pub fn new(methods: impl IntoIterator<Item = Arc<dyn Method>>) -> Result<Self, CatalogError> {
        let mut entries: Vec<(MethodSpec, Arc<dyn Method>)> = Vec::new();
        for method in methods {
            let spec = method.spec()?;
            if entries.iter().any(|(other, _)| other.name() == spec.name()) {
                return Err(CatalogError::DuplicateMethod(spec.name().to_owned()));
            }
            entries.push((spec, method));
        }
        Ok(Self { entries })
    }

    /// Returns the spec of every method, in order.
    pub fn specs(&self) -> impl Iterator<Item = &MethodSpec> {
        self.entries.iter().map(|(spec, _)| spec)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&(MethodSpec, Arc<dyn Method>)> {
        self.entries.iter().find(|(spec, _)| spec.name() == name)
    }
}

/// Returns the entries from the named one on, with their places: none if there is no such entry, all without a name.
fn beginning<'a, K, E>(
    entries: &'a [E],
    indices: &HashMap<K, usize>,
    name: Option<&str>,
) -> impl Iterator<Item = (usize, &'a E)> + use<'a, K, E>
where
    K: Borrow<str> + Eq + Hash,
{
    let first = name.map_or(Some(0), |name| indices.get(name).copied());
    entries.iter().enumerate().skip(first.unwrap_or(entries.len()))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::resource::{ReadCall, ReadError, ReadResourceResult};
    use crate::tools::{GetDatetime, Greet, Whoami};

    fn names(catalog: &ToolCatalog) -> Vec<&str> {
        catalog.specs().map(|spec| spec.name.as_str()).collect()
    }

    #[test]
    fn order_is_kept_and_duplicates_are_refused() {
        let catalog = ToolCatalog::new([Arc::new(Whoami) as Arc<dyn DynTool>, Arc::new(Greet)]).unwrap();
        assert_eq!(names(&catalog), ["whoami", "greet"]);
        let twice = ToolCatalog::new([Arc::new(Greet) as Arc<dyn DynTool>, Arc::new(Greet)]);
        assert_eq!(twice.err(), Some(CatalogError::Duplicate(ToolName::parse("greet").unwrap())));
    }

    #[test]
    fn a_part_begins_with_what_is_named_and_an_unknown_name_has_none() {
        let tools: [Arc<dyn DynTool>; 3] = [Arc::new(Greet), Arc::new(Whoami), Arc::new(GetDatetime)];
        let catalog = ToolCatalog::new(tools).unwrap();
        let from = |name| catalog.iter_from(name).map(|tool| tool.name().as_str()).collect::<Vec<_>>();
        assert_eq!(from(None), ["greet", "whoami", "get_datetime"]);
        assert_eq!(from(Some("whoami")), ["whoami", "get_datetime"]);
        assert_eq!(from(Some("whoam")), [""; 0]);
    }

    struct Pages(&'static str);

    #[async_trait]
    impl Resource for Pages {
        fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
            if self.0.contains('{') {
                ResourceSpec::template(self.0, "pages", "Pages", "Some pages.")
            } else {
                Ok(ResourceSpec::at(self.0, "page", "Page", "A page."))
            }
        }

        async fn read(&self, _: ReadCall<'_>) -> ReadResourceResult {
            Err(ReadError::NotFound)
        }
    }

    #[test]
    fn a_uri_is_at_itself_or_else_at_the_first_template_that_it_fits_however_that_begins() {
        let addresses =
            ["a:x/{b}", "a:{b}", "a:x/{b}/c", "a:x/1", "a:x{b}/2", "ä:{b}", "{b}:é", "a:x/{b}c", "{b}"];
        let pages = addresses.map(|address| Arc::new(Pages(address)) as Arc<dyn Resource>);
        let catalog = ResourceCatalog::new(pages).unwrap();
        for (uri, expected) in [
            ("a:x/1", Some("a:x/1")),
            ("a:x/2", Some("a:x/{b}")),
            ("a:x/2c", Some("a:x/{b}")),
            ("a:x/2/c", Some("a:x/{b}/c")),
            ("a:xy/2", Some("a:x{b}/2")),
            ("a:x", Some("a:{b}")),
            ("a:é", Some("a:{b}")),
            ("ä:1", Some("ä:{b}")),
            ("ä", Some("{b}")),
            ("b:é", Some("{b}:é")),
            ("b", Some("{b}")),
            ("b/c", None),
            ("", None),
        ] {
            assert_eq!(catalog.address_of(uri).map(Address::as_str), expected, "{uri}");
        }
    }

    #[test]
    fn what_is_not_retained_is_gone() {
        let tools: [Arc<dyn DynTool>; 3] = [Arc::new(Greet), Arc::new(Whoami), Arc::new(GetDatetime)];
        let catalog = ToolCatalog::new(tools).unwrap().retain(|name| name.as_str() != "whoami");
        assert_eq!(names(&catalog), ["greet", "get_datetime"]);
        assert!(catalog.spec("whoami").is_none());
        assert_eq!(catalog.spec("get_datetime").unwrap().title, "Get DateTime");
    }
}
