//! Logs on standard error, and traces over OTLP where the feature `otlp` is built in.

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for a reader at a terminal.
    Text,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(format!("{other:?} is neither json nor text")),
        }
    }
}

/// Where traces are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(pub String);

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not valid.
    #[error("--log-level {filter:?} is not a log filter such as \"info\" or \"info,tenantry=debug\": {source}")]
    Filter {
        /// The given filter.
        filter: String,
        /// The cause.
        source: tracing_subscriber::filter::ParseError,
    },
    /// This process has another log subscriber already.
    #[error("failed to install the log subscriber: {0}")]
    Install(#[from] tracing_subscriber::util::TryInitError),
    /// The exporter could not be built.
    #[error("failed to set up traces to --otlp-endpoint: {0}")]
    Otlp(String),
    /// This build cannot send traces.
    #[error("--otlp-endpoint is set, but this binary was built without the feature otlp")]
    OtlpNotBuilt,
}

/// Sends the remaining traces when it is shut down; keep it until the process ends.
#[must_use]
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    provider: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Installs the process's subscriber; call it once, inside the tokio runtime.
pub fn init(format: LogFormat, filter: &str, otlp: Option<&OtlpEndpoint>) -> Result<Telemetry, TelemetryError> {
    let filter = parse_filter(filter)?;
    let registry = tracing_subscriber::registry().with(log_layer(format, std::io::stderr).with_filter(filter));
    #[cfg(feature = "otlp")]
    {
        let provider = otlp.map(otlp::provider).transpose()?;
        registry.with(provider.as_ref().map(otlp::layer)).try_init()?;
        Ok(Telemetry { provider })
    }
    #[cfg(not(feature = "otlp"))]
    {
        if otlp.is_some() {
            return Err(TelemetryError::OtlpNotBuilt);
        }
        registry.try_init()?;
        Ok(Telemetry {})
    }
}

impl Telemetry {
    /// Sends the remaining traces. Blocks for at most a few seconds: call it outside async code or at the very end.
    pub fn shutdown(self) {
        #[cfg(feature = "otlp")]
        if let Some(Err(error)) = self.provider.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "failed to send the last traces");
        }
    }
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TelemetryError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

fn log_layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    match format {
        // Fields of the spans around an event, such as the reconcile's id, belong to its line; the event's own are flat.
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(true)
            .with_writer(writer)
            .boxed(),
        LogFormat::Text => {
            use std::io::IsTerminal;
            fmt::layer()
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(writer)
                .boxed()
        }
    }
}

#[cfg(feature = "otlp")]
mod otlp {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::Subscriber;
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::{Layer, registry::LookupSpan};

    use super::{OtlpEndpoint, TelemetryError};

    pub(super) fn provider(endpoint: &OtlpEndpoint) -> Result<SdkTracerProvider, TelemetryError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&endpoint.0)
            .build()
            .map_err(|error| TelemetryError::Otlp(error.to_string()))?;
        let resource = Resource::builder()
            .with_service_name("tenantry")
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ))
            .build();
        Ok(SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build())
    }

    /// Spans of the operator and of its API requests. Spans of the exporter's own HTTP/2 are left out: each export
    /// would create new ones.
    pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let targets = Targets::new()
            .with_target("tenantry", LevelFilter::DEBUG)
            .with_target("kube", LevelFilter::DEBUG);
        let targets = targets.with_target("kube_client", LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("tenantry"))
            .with_filter(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = log_layer(format, move || writer.clone()).with_filter(parse_filter(filter).expect("parses"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = captured.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_json_line_has_its_own_fields_and_those_of_its_spans() {
        let text = logged(LogFormat::Json, "info", || {
            let _span = tracing::info_span!("reconcile", reconcile_id = "7f").entered();
            tracing::info!(tenant = "acme", "tenant ready");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("one JSON object");
        assert_eq!(line["message"], "tenant ready");
        assert_eq!(line["tenant"], "acme");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["spans"][0]["reconcile_id"], "7f");
    }

    #[test]
    fn the_text_format_is_not_json() {
        let text = logged(LogFormat::Text, "info", || {
            tracing::info!(tenant = "acme", "tenant ready");
        });
        assert!(text.contains("tenant ready") && !text.starts_with('{'), "{text}");
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        let text = logged(LogFormat::Text, "warn", || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        });
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
    }

    #[test]
    fn a_malformed_filter_is_refused_with_an_example() {
        let error = parse_filter("tenantry=loud").expect_err("no such level");
        assert!(error.to_string().contains("such as"), "{error}");
    }
}
