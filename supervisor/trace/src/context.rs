//! The trace that a call belongs to, as it travels in `traceparent` (W3C Trace Context, level 1, §3.2).

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// Header with the position of a call in its trace: version, trace, parent, flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Header for what other tracing systems add; passed on as it came.
const TRACESTATE: &str = "tracestate";
/// Flag: somebody records this trace.
const SAMPLED: u8 = 1;

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace: u128,
    /// The span; never 0.
    pub span: u64,
    /// Whether this trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The place that a caller names; several `traceparent` or one that is not to be understood count as none.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let first = given.next().filter(|_| given.next().is_none())?;
        Self::parse(first.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex(version, 2)?;
        // Later versions may add parts behind these four, version 0 may not; ff is no version.
        let whole = version != 0 || parts.next().is_none();
        let context = Self {
            trace: hex(trace, 32)?,
            span: u64::try_from(hex(span, 16)?).ok()?,
            sampled: hex(flags, 2)? & u128::from(SAMPLED) != 0,
        };
        (whole && version != 0xff && context.trace != 0 && context.span != 0).then_some(context)
    }

    /// A new span: in the caller's trace, or in one of its own, which is recorded.
    pub fn child_of(parent: Option<Self>) -> Self {
        let random = Uuid::new_v4().as_u128();
        // Which bits of a UUID are fixed differs between its halves, so each of these is random.
        let folded = |random: u128| (random ^ (random >> 64)) as u64;
        Self {
            trace: parent.map_or_else(|| Uuid::new_v4().as_u128(), |parent| parent.trace),
            span: folded(random).max(1),
            sampled: parent.is_none_or(|parent| parent.sampled),
        }
    }

    /// Header value of this context.
    pub fn header(&self) -> HeaderValue {
        let text = format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        );
        HeaderValue::from_str(&text).expect("hexadecimal digits and dashes")
    }
}

/// Trace state of the caller, for the span's record.
pub fn trace_state(headers: &HeaderMap) -> String {
    let all: Vec<_> = headers
        .get_all(TRACESTATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    all.join(",")
}

/// A number of exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let good = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    good.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_place_in_a_trace_is_read_as_the_standard_says() {
        let place = |sampled| {
            Some(TraceContext {
                trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
                span: 0x00f0_67aa_0ba9_02b7,
                sampled,
            })
        };
        let zeros = "0".repeat(32);
        for (text, expected) in [
            (format!("00-{TRACE}-{SPAN}-01"), place(true)),
            (format!("00-{TRACE}-{SPAN}-00"), place(false)),
            (format!("00-{TRACE}-{SPAN}-03"), place(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what-comes-later"), place(true)),
            (format!("00-{TRACE}-{SPAN}-01-x"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{zeros}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{}-01", &zeros[..16]), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{}-{SPAN}-01", &TRACE[1..]), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (String::new(), None),
        ] {
            assert_eq!(TraceContext::parse(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_child_is_in_its_parents_trace_and_as_recorded_as_that() {
        let parent = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-00")).expect("a good one");
        let child = TraceContext::child_of(Some(parent));
        assert_eq!((child.trace, child.sampled), (parent.trace, false));
        assert_ne!(child.span, parent.span);
        let text = child.header();
        assert_eq!(TraceContext::parse(text.to_str().expect("text")), Some(child));
        let alone = TraceContext::child_of(None);
        assert!(alone.sampled);
        assert_ne!(alone.trace, TraceContext::child_of(None).trace);
    }
}
