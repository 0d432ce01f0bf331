//! W3C trace context: one trace across gRPC calls and through outbox rows.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header and metadata key.
pub const HEADER: &str = "traceparent";

/// The current span as a `traceparent`; `None` outside of any trace.
pub fn current() -> Option<String> {
    of(&Span::current())
}

/// A span as a `traceparent`; `None` when it belongs to no trace.
pub fn of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    let flags = span.trace_flags().to_u8() & TraceFlags::SAMPLED.to_u8();
    span.is_valid().then(|| format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()))
}

/// Makes a span the child of a `traceparent`. One that cannot be read is ignored, as the W3C recommendation wants; so is
/// one that comes after the span was entered.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(remote) = parse(traceparent) {
        let parent = opentelemetry::Context::new().with_remote_span_context(remote);
        // Fails only when no tracing of ours is installed, and then there is no trace to continue.
        let _ = span.set_parent(parent);
    }
}

fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    // Version ff is invalid; later versions may have further parts, version 00 has not.
    let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    if !known || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_trace_goes_on_across_a_boundary() {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let span = tracing::info_span!("call");
            set_parent(&span, parent);
            let here = span.in_scope(current).unwrap();
            assert_eq!(&here[..36], &parent[..36]);
            assert_ne!(here, parent);
            set_parent(&tracing::info_span!("other"), "nonsense");
        });
        assert_eq!(current(), None);
    }

    #[test]
    fn there_is_a_trace_even_when_none_is_recorded() {
        let sampler = opentelemetry_sdk::trace::Sampler::AlwaysOff;
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().with_sampler(sampler).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let outer = tracing::info_span!("outer");
            let first = outer.in_scope(current).unwrap();
            let second = outer.in_scope(|| tracing::info_span!("inner").in_scope(current)).unwrap();
            assert_eq!(&first[..36], &second[..36]);
            assert!(first.ends_with("-00"), "{first}");
        });
    }

    #[test]
    fn malformed_contexts_are_ignored() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-later").is_some());
    }
}
