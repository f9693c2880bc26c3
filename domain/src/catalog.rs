//! The tools on offer, in the order in which they were named.

use std::collections::HashMap;
use std::sync::Arc;

use crate::tool::{SpecError, Tool, ToolName, ToolSpec};

/// Tools in a stable order, found by name.
pub struct ToolCatalog {
    entries: Vec<CatalogEntry>,
    by_name: HashMap<ToolName, usize>,
}

/// A tool with what it said of itself.
pub(crate) struct CatalogEntry {
    pub(crate) spec: ToolSpec,
    pub(crate) tool: Arc<dyn Tool>,
}

/// Why a catalog can't be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A tool's own description is at fault.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Two tools have one name.
    #[error("two tools are named {0}")]
    Duplicate(ToolName),
}

impl ToolCatalog {
    /// Asks every tool for its spec.
    ///
    /// # Errors
    /// [`CatalogError`] for the first tool that can't be offered.
    pub fn new(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Result<Self, CatalogError> {
        let mut catalog = Self { entries: Vec::new(), by_name: HashMap::new() };
        for tool in tools {
            let spec = tool.spec()?;
            let index = catalog.entries.len();
            if catalog.by_name.insert(spec.name.clone(), index).is_some() {
                return Err(CatalogError::Duplicate(spec.name));
            }
            catalog.entries.push(CatalogEntry { spec, tool });
        }
        Ok(catalog)
    }

    /// The catalog without the tools for which `keep` says no.
    #[must_use]
    pub fn retain(self, keep: impl Fn(&ToolName) -> bool) -> Self {
        let entries: Vec<_> = self.entries.into_iter().filter(|entry| keep(&entry.spec.name)).collect();
        let by_name =
            entries.iter().enumerate().map(|(index, entry)| (entry.spec.name.clone(), index)).collect();
        Self { entries, by_name }
    }

    /// What every tool says of itself, in order.
    pub fn specs(&self) -> impl Iterator<Item = &ToolSpec> {
        self.entries.iter().map(|entry| &entry.spec)
    }

    /// What one tool says of itself.
    #[must_use]
    pub fn spec(&self, name: &ToolName) -> Option<&ToolSpec> {
        self.entry(name).map(|entry| &entry.spec)
    }

    pub(crate) fn entry(&self, name: &ToolName) -> Option<&CatalogEntry> {
        self.by_name.get(name).map(|&index| &self.entries[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{GetDatetime, Greet, Whoami};

    fn names(catalog: &ToolCatalog) -> Vec<&str> {
        catalog.specs().map(|spec| spec.name.as_str()).collect()
    }

    #[test]
    fn order_is_kept_and_duplicates_are_refused() {
        let catalog = ToolCatalog::new([Arc::new(Whoami) as Arc<dyn Tool>, Arc::new(Greet)]).unwrap();
        assert_eq!(names(&catalog), ["whoami", "greet"]);
        let twice = ToolCatalog::new([Arc::new(Greet) as Arc<dyn Tool>, Arc::new(Greet)]);
        assert_eq!(twice.err(), Some(CatalogError::Duplicate(ToolName::parse("greet").unwrap())));
    }

    #[test]
    fn what_is_not_retained_is_gone() {
        let tools: [Arc<dyn Tool>; 3] = [Arc::new(Greet), Arc::new(Whoami), Arc::new(GetDatetime)];
        let catalog = ToolCatalog::new(tools).unwrap().retain(|name| name.as_str() != "whoami");
        assert_eq!(names(&catalog), ["greet", "get_datetime"]);
        assert!(catalog.spec(&ToolName::parse("whoami").unwrap()).is_none());
        assert_eq!(catalog.spec(&ToolName::parse("get_datetime").unwrap()).unwrap().title, "Get DateTime");
    }
}
