//! What the server cannot survive: a fault after which it must not trust its own memory of what is on disk.

use std::sync::{Arc, OnceLock};

use signal_hook::iterator::Handle;

/// Ends the server. Clones are the same.
#[derive(Clone)]
pub struct Fatal {
    fault: Arc<OnceLock<String>>,
    signals: Handle,
}

impl Fatal {
    /// Ends the wait for `signals`, and with it the server, when something is told.
    pub fn new(signals: Handle) -> Fatal {
        Fatal { fault: Arc::default(), signals }
    }

    /// The server ends in order, but as a failure. The first fault counts.
    pub fn tell(&self, fault: String) {
        // Whoever comes second finds the server ending.
        let _ = self.fault.set(fault);
        self.signals.close();
    }

    /// What was told.
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }
}
