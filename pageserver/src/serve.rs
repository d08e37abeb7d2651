//! `serve`: the running server, from its lock to its last word.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use page_service::Server;
use repository::{Options, Repository};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::access::TlsConfig;
use crate::backend::Pageserver;
use crate::cli::ServeArgs;
use crate::config::Config;
use crate::engines::ConfiguredEngines;
use crate::fatal::Fatal;
use crate::http;
use crate::lock::DirectoryLock;
use crate::metrics::Metrics;
use crate::monitor::{Monitor, MonitorSite};
use crate::{access, cleanup, limits, logging};

/// Runs until SIGTERM or SIGINT, or until something makes it impossible to go on: that is an error.
pub fn run(args: &ServeArgs) -> Result<()> {
    let config = Config::load(args)?;
    logging::start(config.log_format);
    // Before anything is started, so that no signal is missed.
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot handle signals")?;
    repository::make_dir(&args.data)?;
    let _lock = DirectoryLock::take(&args.data)?;

    limits::raise_descriptor_limit();
    access::warn_of_readers(&config.users, config.file.as_deref());
    let metrics = Metrics::new(args.data.clone());
    let mut service = page_service::Config {
        max_connections: config.max_connections,
        users: access::users(&config.users, &args.data)?,
        tls: config.tls.as_ref().map(TlsConfig::load).transpose()?,
        require_tls: config.tls.as_ref().is_some_and(|tls| tls.required),
        observer: Arc::clone(&metrics.port) as Arc<dyn page_service::Observer>,
        ..page_service::Config::default()
    };
    config.limits.apply(&mut service);
    let server = Server::bind(config.listen, service).with_context(|| format!("cannot listen on {}", config.listen))?;

    // From now on there is somebody to ask, however long it takes to open what is there.
    let monitor = Monitor::new(Arc::clone(&metrics), config.max_connections);
    let _http = config.metrics.listen.map(|address| serve_metrics(address, &monitor)).transpose()?;

    let engines = ConfiguredEngines::new(config.redo.clone(), Arc::clone(&metrics));
    let options = Options {
        window_bytes: (config.wal_window_mib as usize) << 20,
        page_bytes: (config.page_cache_mib as usize) << 20,
        image_percent: config.image_percent,
    };
    let repository = Repository::open(&args.data, Box::new(engines.clone()), options)
        .with_context(|| format!("cannot open data directory {}", args.data.display()))?;
    cleanup::unfinished_attaches(&repository, &config.receiver);
    let fatal = Fatal::new(signals.handle());
    let pageserver = Arc::new(Pageserver::new(config, repository, engines, metrics, fatal.clone()));
    pageserver.follow_all();

    let handle = server.serve(pageserver.clone()).context("cannot start the listener's thread")?;
    monitor.serves(Arc::clone(&pageserver));
    let address = handle.local_addr();
    tracing::info!(%address, "ready");
    announce(&format!("listening on {address}"))?;

    let signal = signals.forever().next();
    tracing::info!(?signal, "stopping");
    pageserver.stop();
    handle.shutdown();
    if let Some(fault) = fatal.fault() {
        bail!(
            "stopped, because {fault}; start it again: it goes on from what is on disk, and asks the primary for the rest"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// Starts the HTTP port.
fn serve_metrics(address: SocketAddr, monitor: &Arc<Monitor>) -> Result<http::ServerHandle> {
    let context = || format!("cannot listen on {address} (metrics.listen)");
    let server = http::Server::bind(address).with_context(context)?;
    let handle = server.serve(Arc::new(MonitorSite::new(Arc::clone(monitor)))).with_context(context)?;
    announce(&format!("metrics on http://{}/metrics", handle.local_addr()))?;
    Ok(handle)
}

/// Tells on standard output where clients can connect now: for whoever started the server and waits for it.
fn announce(what: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{what}").and_then(|()| stdout.flush()).context("cannot write to standard output")
}
