//! Log lines: on standard error, chosen by `RUST_LOG`, as text or JSON.

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Starts logging for the whole process.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
