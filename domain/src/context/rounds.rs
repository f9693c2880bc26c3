//! What [`Context::input`] remembers between the rounds of a call, in the call's state.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest::{self, SHA256};
use serde_json::{Map, Value};

use super::Context;
use crate::input::InputRequest;

/// What [`Context::input`] remembers between the rounds of a call: which request was made last, and the responses to those
/// before, by the digests of their requests. Whatever else a client sends is dropped.
pub(super) struct EarlierRounds<'a> {
    pub(super) rounds: usize,
    /// The digest of the request that was made last, and the response to it.
    last: Option<(&'a str, &'a Value)>,
    responses: Option<&'a Map<String, Value>>,
}

impl<'a> EarlierRounds<'a> {
    const ROUNDS: &'static str = "rounds";
    const NAME: &'static str = "name";
    const DIGEST: &'static str = "digest";
    const RESPONSES: &'static str = "inputResponses";

    pub(super) fn of(context: &'a Context<'_>) -> Self {
        let member = |name| context.request_state.and_then(|state| state.get(name));
        let text = |name| member(name).and_then(Value::as_str);
        let last = text(Self::DIGEST)
            .and_then(|digest| Some((digest, context.input_responses.raw(text(Self::NAME)?)?)));
        let rounds = member(Self::ROUNDS).and_then(Value::as_u64).and_then(|rounds| rounds.try_into().ok());
        let responses = member(Self::RESPONSES).and_then(Value::as_object);
        Self { rounds: rounds.unwrap_or(0), last, responses }
    }

    /// Returns the response to the request of this digest.
    pub(super) fn response(&self, digest: &str) -> Option<&'a Value> {
        let last = self.last.filter(|(last, _)| *last == digest).map(|(_, response)| response);
        last.or_else(|| self.responses?.get(digest))
    }

    /// Returns the state of the next round, in which this request is made.
    pub(super) fn and_asked(&self, name: &str, digest: String) -> Value {
        let earlier =
            self.responses.into_iter().flatten().map(|(digest, response)| (digest.as_str(), response));
        let responses: Map<String, Value> = earlier
            .chain(self.last)
            .filter(|(answered, _)| *answered != digest)
            .map(|(answered, response)| (answered.to_owned(), response.clone()))
            .collect();
        Value::Object(Map::from_iter([
            (Self::ROUNDS.to_owned(), (self.rounds + 1).into()),
            (Self::NAME.to_owned(), name.into()),
            (Self::DIGEST.to_owned(), digest.into()),
            (Self::RESPONSES.to_owned(), responses.into()),
        ]))
    }
}

impl InputRequest {
    /// Returns a digest of the request under this name.
    pub(super) fn digest(&self, name: &str) -> String {
        struct Digest(digest::Context);
        impl fmt::Write for Digest {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.update(text.as_bytes());
                Ok(())
            }
        }
        let mut digest = Digest(digest::Context::new(&SHA256));
        // Neither this nor the write below can fail. `Debug` quotes every text, so no two requests are written alike.
        let _ = write!(digest, "{:?}", (name, self));
        let mut hex = String::new();
        for byte in digest.0.finish().as_ref() {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}
