//! Queries, and the two ways of paging: `page` and `per_page`, and `from` and `take`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::Answer;
use super::error::ApiError;

const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: usize = 100;
/// The maximum number of a page, so that no sum overflows.
const MAX_NUMBER: usize = 1_000_000;
/// What a cursor has before the number of entities that it is after.
const CURSOR: &str = "after:";

/// The parameters of a query. Unknown ones are ignored.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// How a list can be paged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paging {
    Pages,
    PagesOrCheckpoints,
    /// The first page comes without a parameter, too.
    Checkpoints,
}

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// Returns a parameter that may occur once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(ApiError::invalid_query(name, "Expected one value")),
        }
    }

    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.one(name)? {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::invalid_query(name, "Expected type boolean")),
        }
    }

    /// Answers with the page of `items` that the query asks for.
    pub(super) fn answer(&self, items: Vec<Value>, key: &str, paging: Paging) -> Result<Answer, ApiError> {
        let by_checkpoint = self.one("from")?.is_some() || self.one("take")?.is_some();
        match paging {
            Paging::Pages if by_checkpoint => {
                Err(ApiError::invalid_query("take", "This list has no checkpoints, only pages"))
            }
            Paging::Checkpoints => self.checkpoint(items, key),
            Paging::PagesOrCheckpoints if by_checkpoint => self.checkpoint(items, key),
            Paging::Pages | Paging::PagesOrCheckpoints => self.page(items, key),
        }
    }

    fn page(&self, items: Vec<Value>, key: &str) -> Result<Answer, ApiError> {
        let page = self.number("page", 0, MAX_NUMBER)?;
        let limit = self.number("per_page", DEFAULT_PAGE, MAX_PAGE)?;
        let (start, total) = (page * limit, items.len());
        let items: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
        if self.flag("include_totals")? != Some(true) {
            return Ok(Answer::ok(&items));
        }
        Ok(Answer::ok(&json!({"start": start, "limit": limit, "total": total, key: items})))
    }

    fn checkpoint(&self, items: Vec<Value>, key: &str) -> Result<Answer, ApiError> {
        let start = self.one("from")?.map_or(Ok(0), |cursor| {
            position(cursor).ok_or_else(|| ApiError::invalid_query("from", "Not a cursor of this list"))
        })?;
        let limit = self.number("take", DEFAULT_PAGE, MAX_PAGE)?.max(1);
        let end = start + limit;
        let has_more = end < items.len();
        let items: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
        let mut answer = json!({key: items});
        if has_more {
            answer["next"] = URL_SAFE_NO_PAD.encode(format!("{CURSOR}{end}")).into();
        }
        Ok(Answer::ok(&answer))
    }

    fn number(&self, name: &str, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.one(name)? else {
            return Ok(default);
        };
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match number {
            None => Err(ApiError::invalid_query(name, "Expected type integer")),
            Some(number) if number > max => {
                Err(ApiError::invalid_query(name, format!("Value {number} is greater than maximum {max}")))
            }
            Some(number) => Ok(number),
        }
    }
}

fn position(cursor: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(CURSOR)?.parse().ok().filter(|position| *position <= MAX_NUMBER)
}
