//! Asking a running receiver to end.

use std::sync::Arc;
use tokio::sync::watch;

/// Ends what runs with it, promptly also while that waits for the network. Clones are the same handle.
///
/// A handle that was stopped stays so: everything started with it afterwards ends at once.
#[derive(Clone, Debug)]
pub struct StopHandle {
    stopped: Arc<watch::Sender<bool>>,
}

impl Default for StopHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl StopHandle {
    /// A handle that is not stopped.
    #[must_use]
    pub fn new() -> Self {
        StopHandle { stopped: Arc::new(watch::Sender::new(false)) }
    }

    /// Asks for the end. Returns at once; repeating it does nothing.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Whether [`StopHandle::stop`] was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Returns when [`StopHandle::stop`] was called.
    pub(crate) async fn stopped(&self) {
        // The sender lives in `self`, so the wait cannot end for want of one.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}
