//! [`TraceContext`]: the W3C's Trace Context, levels 1 and 2, as a value.

use std::fmt;
use std::sync::Arc;

/// The id of a trace; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($id:ident, $bytes:literal) => {
        impl $id {
            /// Creates the id of these bytes; `None` for zeros, which stand for none.
            #[must_use]
            pub fn new(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// Returns the bytes.
            #[must_use]
            pub const fn bytes(self) -> [u8; $bytes] {
                self.0
            }

            fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $bytes];
                for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    *byte = octet(digits)?;
                }
                Self::new(bytes)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

/// A place in a trace: that of a span, as it is handed on from program to program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
    state: Option<Arc<str>>,
}

const SAMPLED: u8 = 0x01;
/// Level 2: the trace id's last seven bytes are random.
const RANDOM: u8 = 0x02;

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// The maximum length of a `tracestate`: what the specification asks to pass on at least.
const MAX_STATE: usize = 512;
/// The maximum number of its members, and the lengths of their keys and values.
const MAX_MEMBERS: usize = 32;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

impl TraceContext {
    /// Creates the context of a new trace's first span, whose trace id is random.
    #[must_use]
    pub const fn new(trace_id: TraceId, span_id: SpanId, is_sampled: bool) -> Self {
        let sampled = if is_sampled { SAMPLED } else { 0 };
        Self { trace_id, span_id, flags: RANDOM | sampled, state: None }
    }

    /// Reads a `traceparent` and the `tracestate` that came with it. A malformed `traceparent` is none; a malformed or long
    /// `tracestate` is left out, as the specification has it.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut context = parse_parent(traceparent)?;
        context.state = tracestate.filter(|state| is_state(state)).map(Arc::from);
        Some(context)
    }

    /// Returns the context of another span of the same trace.
    #[must_use]
    pub fn with_span(&self, span_id: SpanId) -> Self {
        Self { span_id, ..self.clone() }
    }

    /// Returns the context with another decision on whether it is recorded.
    #[must_use]
    pub fn sampled(self, is_sampled: bool) -> Self {
        let sampled = if is_sampled { SAMPLED } else { 0 };
        Self { flags: self.flags & !SAMPLED | sampled, ..self }
    }

    /// Returns the trace.
    #[must_use]
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Returns the span.
    #[must_use]
    pub const fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Returns the flags: whether it is recorded (1), and whether the trace id is random (2).
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Returns whether whoever handed it on says that it is recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the `traceparent` that hands it on, as a header field or a member of `_meta`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags)
    }

    /// Returns the `tracestate` that goes with it, if there is one.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// Reads a `traceparent` (level 2, section 3.2): of a later version no more than this one knows.
fn parse_parent(text: &str) -> Option<TraceContext> {
    if !text.is_ascii() || text.len() < LENGTH {
        return None;
    }
    let (known, rest) = text.split_at(LENGTH);
    let mut fields = known.split('-');
    let mut field = |length| fields.next().filter(|field| field.len() == length);
    let (version, trace_id, span_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let is_well_ended = match octet(version.as_bytes())? {
        0xff => false,
        0 => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let flags = octet(flags.as_bytes())? & (SAMPLED | RANDOM);
    let context = TraceContext {
        trace_id: TraceId::parse(trace_id)?,
        span_id: SpanId::parse(span_id)?,
        flags,
        state: None,
    };
    is_well_ended.then_some(context)
}

/// Reads two lower-case hexadecimal digits.
fn octet(digits: &[u8]) -> Option<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let [high, low] = digits else { return None };
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// Whether a text is a `tracestate` (level 2, section 3.3) that can be passed on.
fn is_state(text: &str) -> bool {
    if text.len() > MAX_STATE || text.trim().is_empty() {
        return false;
    }
    let mut keys = Vec::new();
    for member in
        text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty())
    {
        let Some((key, value)) = member.split_once('=') else { return false };
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MAX_MEMBERS {
            return false;
        }
        keys.push(key);
    }
    !keys.is_empty()
}

fn is_key(key: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let begins = key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    begins && key.len() <= MAX_KEY && key.bytes().all(is_letter)
}

fn is_value(value: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=MAX_VALUE).contains(&value.len()) && value.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_specifications_example_is_read_and_written_as_it_was() {
        let context = TraceContext::parse(PARENT, Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled());
        assert_eq!(context.traceparent(), PARENT);
        assert_eq!(context.tracestate(), Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
        assert!(!context.clone().sampled(false).is_sampled());
        assert!(context.sampled(false).traceparent().ends_with("-00"));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for good in [
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-ever",
            "fe-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        ] {
            let context = TraceContext::parse(good, None).unwrap();
            assert_eq!(context.traceparent(), PARENT, "{good}");
        }
        let random = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe", None);
        assert!(random.unwrap().traceparent().ends_with("-02"));
    }

    #[test]
    fn what_is_malformed_is_no_context() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01extra",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b\u{e9}-01",
        ] {
            assert_eq!(TraceContext::parse(bad, None), None, "{bad:?}");
        }
    }

    #[test]
    fn a_state_is_passed_on_or_left_out_as_a_whole() {
        let state = |text: &str| {
            let context = TraceContext::parse(PARENT, Some(text)).unwrap();
            context.tracestate().map(str::to_owned)
        };
        let members = |count| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        for good in ["a=b", "a=b,c=d", "a=b , c=d", "a=b,,c=d", "0tenant@vendor=x y", "a=!~ z", &members(32)]
        {
            assert_eq!(state(good).as_deref(), Some(good), "{good}");
        }
        let long = format!("a={}", "x".repeat(510));
        for bad in [
            "",
            " ",
            ",",
            "a",
            "a=",
            "=b",
            "A=b",
            "a=b=c",
            "a=b,a=c",
            "a=\u{e9}",
            "a=b\n",
            "a b=c",
            &members(33),
            &long,
        ] {
            assert_eq!(state(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_context_that_reads_back_as_itself_or_none(parent: String, state: String) {
            if let Some(context) = TraceContext::parse(&parent, Some(&state)) {
                let again = TraceContext::parse(&context.traceparent(), context.tracestate());
                prop_assert_eq!(again, Some(context));
            }
        }

        #[test]
        fn every_well_formed_parent_is_read(trace: [u8; 16], span: [u8; 8], flags: u8) {
            let (trace_id, span_id) = (u128::from_be_bytes(trace), u64::from_be_bytes(span));
            let context = TraceContext::parse(&format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}"), None);
            let ids = context.as_ref().map(|context| (context.trace_id(), context.span_id()));
            prop_assert_eq!(ids, TraceId::new(trace).zip(SpanId::new(span)));
            prop_assert!(context.is_none_or(|context| context.is_sampled() == (flags & 1 == 1)));
        }

        #[test]
        fn a_byte_that_differs_is_read_or_refused_and_never_taken_for_another(at in 0..LENGTH, byte in 0_u8..128) {
            let mut text = PARENT.as_bytes().to_vec();
            text[at] = byte;
            let text = String::from_utf8(text).unwrap();
            if let Some(context) = TraceContext::parse(&text, None) {
                // The version and the flags that are not known are not handed on.
                prop_assert_eq!(&context.traceparent()[3..53], &text[3..53]);
            }
        }
    }
}
