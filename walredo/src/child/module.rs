//! The shared objects that `build.rs` made of `postgres/*.c`.

use pgdata::PgVersion;

use super::error::StartError;

/// One server module.
#[derive(Debug)]
pub(super) struct Module {
    /// The major version of the server that can load it.
    major: u32,
    /// The full version of the headers that it was compiled with.
    pub(super) built_for: &'static str,
    /// The shared object.
    pub(super) bytes: &'static [u8],
}

static MODULES: &[Module] = include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The module for a major version.
pub(super) fn module_for(version: PgVersion) -> Result<&'static Module, StartError> {
    MODULES.iter().find(|module| module.major == version.major()).ok_or_else(|| StartError::NoModule {
        version,
        built: match MODULES {
            [] => "none".to_owned(),
            some => some.iter().map(|module| module.major.to_string()).collect::<Vec<_>>().join(", "),
        },
    })
}
