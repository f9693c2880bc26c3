//! The member names of an object that is being read.

use std::borrow::Cow;
use std::collections::HashSet;

/// Few names are compared one by one and many are hashed, so that no text takes quadratic time.
#[derive(Default)]
pub(super) struct Names<'de> {
    /// The first names, as far as they are written without escapes.
    few: [Option<&'de str>; Names::FEW],
    few_count: usize,
    /// All others.
    many: Option<HashSet<Cow<'de, str>>>,
}

impl<'de> Names<'de> {
    const FEW: usize = 16;

    /// Adds a name that is written without escapes; `false` if it is there already.
    pub(super) fn add(&mut self, name: &'de str) -> bool {
        if self.many.is_some() {
            return self.add_to_many(name.into());
        }
        if self.is_among_few(name) {
            return false;
        }
        match self.few.get_mut(self.few_count) {
            Some(free) => {
                *free = Some(name);
                self.few_count += 1;
                true
            }
            None => self.add_to_many(name.into()),
        }
    }

    /// Adds any name; `false` if it is there already.
    #[cold]
    pub(super) fn add_to_many(&mut self, name: Cow<'de, str>) -> bool {
        !self.is_among_few(&name) && self.many.get_or_insert_default().insert(name)
    }

    fn is_among_few(&self, name: &str) -> bool {
        self.few.iter().take(self.few_count).any(|few| *few == Some(name))
    }
}
