//! Which redo engine a timeline gets.

use std::sync::Arc;

use pgdata::PgVersion;
use walredo::Redo;

/// Makes redo engines. A timeline asks for one when it is opened; timelines of the same kind may share one.
pub trait Engines: Send + Sync {
    /// An engine for the WAL of a cluster.
    ///
    /// `control_file` is the cluster's `pg_control` as it was in the base backup (8192 bytes): whether it has checksums and
    /// whether it logs hint bits decides what redo leaves on a page.
    ///
    /// # Errors
    /// If there can be no engine: then the timeline cannot be opened.
    fn engine(
        &self,
        version: PgVersion,
        control_file: &[u8],
    ) -> Result<Arc<dyn Redo>, Box<dyn std::error::Error + Send + Sync>>;
}
