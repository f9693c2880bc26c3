//! From sources to [`Settings`].

use domain::{Catalog, ToolCatalog};

use super::own;
use super::problem::Problems;
use super::reader::Reader;
use super::settings::context::{Completeness, Context};
use super::settings::{KEYS, Settings};
use super::sources::Sources;

impl Settings {
    /// Reads the sources. `catalog` has the tools that rules may name, and everything whose scopes may be named.
    ///
    /// # Errors
    /// [`Problems`], all of them.
    pub fn load(sources: Sources, catalog: &Catalog) -> Result<Self, Problems> {
        Self::load_with(sources, catalog, Completeness::Complete)
    }

    /// Reads the sources for a catalog that does not have everything that rules may name.
    ///
    /// # Errors
    /// [`Problems`], but not those of unknown names.
    pub fn load_partial(sources: Sources, catalog: &Catalog) -> Result<Self, Problems> {
        Self::load_with(sources, catalog, Completeness::Partial)
    }

    /// Reads the sources for a catalog whose tools come and go, but for those in `fixed`. Names that the catalog does not have
    /// are warned about; one that is a misspelling of a tool in `fixed` is a problem.
    ///
    /// # Errors
    /// [`Problems`], all of them.
    pub fn load_changing(sources: Sources, catalog: &Catalog, fixed: &ToolCatalog) -> Result<Self, Problems> {
        Self::load_with(sources, catalog, Completeness::Changing(fixed))
    }

    fn load_with(
        mut sources: Sources,
        catalog: &Catalog,
        completeness: Completeness<'_>,
    ) -> Result<Self, Problems> {
        let warnings = sources.take_warnings();
        let (sections, secrets) = (sources.sections.clone(), sources.secrets.clone());
        let misdeclared = own::misdeclared(KEYS, &sections, &secrets);
        if !misdeclared.is_empty() {
            return Err(Problems::new(misdeclared).with_warnings(warnings));
        }
        let environment = std::mem::take(&mut sources.environment);
        let context =
            Context { provider: sources.provider(), catalog, completeness, environment: &environment };
        let read = || {
            let whole: Vec<&str> = sections.iter().map(|section| section.name).chain(["tenant"]).collect();
            let mut reader = Reader::new(KEYS, sources.merge()?, &whole);
            reader.read_own(&sections, &secrets);
            Self::read(reader, context)
        };
        match read() {
            Ok(settings) => {
                let warnings = warnings.into_iter().chain(settings.warnings).collect();
                Ok(Self { warnings, ..settings })
            }
            Err(problems) => Err(problems.with_warnings(warnings)),
        }
    }
}
