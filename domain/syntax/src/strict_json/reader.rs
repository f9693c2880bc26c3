//! One pass over a text: every value is scanned, counted, and kept as its reader wants it.

use serde_json::{Map, Value};

use super::counts::Counts;
use super::fault::Fault;
use super::names::Names;
use super::scanner::{Scanner, Text};
use super::{Json, Members, Nothing, Unread};

/// Reads the values of a text. It recurses no deeper than `max_depth`.
#[derive(Debug)]
pub(super) struct Reader<'de> {
    scanner: Scanner<'de>,
    max_depth: usize,
    /// The number of arrays and objects that are open.
    depth: usize,
    pub(super) counts: Counts,
}

/// A value that is no string, array or object.
enum Scalar<'de> {
    Null,
    Bool(bool),
    Number(&'de str),
}

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de str, max_depth: usize, counts: Counts) -> Self {
        Self { scanner: Scanner::new(text), max_depth, depth: 0, counts }
    }

    /// Reads the only value of the text as [`Reader::read`] does.
    pub(super) fn read_to_end<M: Members<'de>>(&mut self) -> Result<Json<'de, M>, Fault> {
        let json = self.read()?;
        self.scanner.end()?;
        Ok(json)
    }

    /// Returns how far the text is read, in bytes.
    pub(super) fn position(&self) -> usize {
        self.scanner.position()
    }

    /// Reads a value, and returns a string, or what `M` takes of an object.
    #[inline]
    pub(super) fn read<M: Members<'de>>(&mut self) -> Result<Json<'de, M>, Fault> {
        let mut taken = M::default();
        // In its place: it may be large.
        Ok(match self.read_into(&mut taken)? {
            Json::Object(()) => Json::Object(taken),
            Json::Null => Json::Null,
            Json::Text(text) => Json::Text(text),
            Json::Other => Json::Other,
        })
    }

    fn read_into<M: Members<'de>>(&mut self, taken: &mut M) -> Result<Json<'de, ()>, Fault> {
        match self.scanner.token() {
            Some(b'"') => self.text().map(|text| Json::Text(text.read())),
            Some(b'{') => self.members(taken).map(Json::Object),
            Some(b'[') => self.items().map(|()| Json::Other),
            _ => self.scalar().map(|scalar| match scalar {
                Scalar::Null => Json::Null,
                Scalar::Bool(_) | Scalar::Number(_) => Json::Other,
            }),
        }
    }

    /// Reads a value and drops it.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        match self.scanner.token() {
            Some(b'"') => self.text().map(drop),
            Some(b'{') => self.members(&mut Nothing),
            Some(b'[') => self.items(),
            _ => self.scalar().map(drop),
        }
    }

    /// Reads a value, and returns its text.
    pub(super) fn raw(&mut self) -> Result<&'de str, Fault> {
        self.scanner.token();
        let start = self.scanner.position();
        self.skip()?;
        Ok(self.scanner.since(start))
    }

    /// Reads a value, and returns all of it.
    pub(super) fn tree(&mut self) -> Result<Value, Fault> {
        Ok(match self.scanner.token() {
            Some(b'"') => self.text()?.read().into(),
            Some(b'{') => {
                self.enter_object()?;
                let mut members = Map::new();
                while self.has_member(members.len())? {
                    let name = self.scanner.string()?.read();
                    self.counts.name(&name, members.len())?;
                    self.scanner.expect(b':')?;
                    if members.insert(name.into_owned(), self.tree()?).is_some() {
                        return Err(Fault::DUPLICATE);
                    }
                }
                Value::Object(members)
            }
            Some(b'[') => {
                self.enter_array()?;
                let mut items = Vec::new();
                while self.has_item(items.is_empty())? {
                    items.push(self.tree()?);
                }
                Value::Array(items)
            }
            _ => match self.scalar()? {
                Scalar::Null => Value::Null,
                Scalar::Bool(value) => value.into(),
                Scalar::Number(number) => {
                    Value::Number(serde_json::from_str(number).map_err(|_| Fault::SYNTAX)?)
                }
            },
        })
    }

    #[inline]
    fn text(&mut self) -> Result<Text<'de>, Fault> {
        let text = self.scanner.string()?;
        self.counts.text(text.len())?;
        Ok(text)
    }

    fn scalar(&mut self) -> Result<Scalar<'de>, Fault> {
        let scalar = match self.scanner.token() {
            Some(b'n') => self.scanner.literal("null").map(|()| Scalar::Null)?,
            Some(b't') => self.scanner.literal("true").map(|()| Scalar::Bool(true))?,
            Some(b'f') => self.scanner.literal("false").map(|()| Scalar::Bool(false))?,
            _ => Scalar::Number(self.scanner.number()?),
        };
        self.counts.value()?;
        Ok(scalar)
    }

    #[inline]
    fn enter_object(&mut self) -> Result<(), Fault> {
        self.enter(b'{')?;
        self.counts.value()
    }

    fn enter_array(&mut self) -> Result<(), Fault> {
        self.enter(b'[')?;
        self.counts.array()
    }

    #[inline]
    fn enter(&mut self, bracket: u8) -> Result<(), Fault> {
        self.scanner.expect(bracket)?;
        if self.depth >= self.max_depth {
            return Err(Fault::DEPTH);
        }
        self.depth += 1;
        Ok(())
    }

    fn items(&mut self) -> Result<(), Fault> {
        self.enter_array()?;
        let mut is_first = true;
        while self.has_item(is_first)? {
            is_first = false;
            self.skip()?;
        }
        Ok(())
    }

    fn members<M: Members<'de>>(&mut self, taken: &mut M) -> Result<(), Fault> {
        self.enter_object()?;
        let mut names = Names::default();
        let mut count = 0;
        while self.has_member(count)? {
            let name = self.scanner.string()?;
            if let Some(name) = name.plain() {
                self.counts.name(name, count)?;
                self.member(name, names.add(name), taken)?;
            } else {
                let name = name.unescaped();
                self.counts.name(&name, count)?;
                self.member(&name, names.add_to_many(name.clone().into()), taken)?;
            }
            count += 1;
        }
        Ok(())
    }

    #[inline]
    fn member<M: Members<'de>>(&mut self, name: &str, is_new: bool, taken: &mut M) -> Result<(), Fault> {
        if !is_new {
            return Err(Fault::DUPLICATE);
        }
        self.scanner.expect(b':')?;
        taken.take(name, Unread(self))
    }

    fn has_item(&mut self, is_first: bool) -> Result<bool, Fault> {
        let has_item = self.scanner.has_next(b']', is_first)?;
        self.depth -= usize::from(!has_item);
        Ok(has_item)
    }

    #[inline]
    fn has_member(&mut self, count: usize) -> Result<bool, Fault> {
        let has_member = self.scanner.has_next(b'}', count == 0)?;
        self.depth -= usize::from(!has_member);
        Ok(has_member)
    }
}
