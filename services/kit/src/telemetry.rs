//! Logs to standard output, as text or as one JSON object a line.

use tracing_subscriber::EnvFilter;

use crate::config::{LogArguments, LogFormat};

/// The logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("LOG is not a valid filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A subscriber is already there.
    #[error("logging was set up twice")]
    Twice,
}

/// Sets up logging for the whole process. Call it once, first thing.
pub fn init(arguments: &LogArguments) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&arguments.log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stdout);
    let outcome = match arguments.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        // The list of spans carries request_id and trace_id on every line, however deep the innermost span is.
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(true)
            .try_init(),
    };
    outcome.map_err(|_| TelemetryError::Twice)
}
