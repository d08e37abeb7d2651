//! The major versions of PostgreSQL whose formats this project knows.

use std::fmt;

/// A major version of PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PgVersion {
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18.
    V18,
}

/// A format number that belongs to no version known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownVersion {
    /// `xlp_magic` of a WAL page.
    #[error("WAL page magic {0:#06X} belongs to no supported PostgreSQL version (15 to 18 are)")]
    PageMagic(u16),
    /// `pg_control_version` and `catalog_version_no` of a control file.
    #[error(
        "pg_control version {control} with catalog version {catalog} belongs to no supported PostgreSQL version (15 to 18 are)"
    )]
    Control {
        /// `pg_control_version`.
        control: u32,
        /// `catalog_version_no`.
        catalog: u32,
    },
    /// A major version number, as in a `PG_VERSION` file.
    #[error("PostgreSQL {0} is not supported (15 to 18 are)")]
    Major(u32),
}

impl PgVersion {
    /// Every known version, oldest first.
    pub const ALL: [PgVersion; 4] = [PgVersion::V15, PgVersion::V16, PgVersion::V17, PgVersion::V18];

    /// The major version number, 15 to 18.
    #[must_use]
    pub const fn major(self) -> u32 {
        match self {
            PgVersion::V15 => 15,
            PgVersion::V16 => 16,
            PgVersion::V17 => 17,
            PgVersion::V18 => 18,
        }
    }

    /// `XLOG_PAGE_MAGIC` of `access/xlog_internal.h`.
    #[must_use]
    pub const fn page_magic(self) -> u16 {
        match self {
            PgVersion::V15 => 0xD110,
            PgVersion::V16 => 0xD113,
            PgVersion::V17 => 0xD116,
            PgVersion::V18 => 0xD118,
        }
    }

    /// `PG_CONTROL_VERSION` of `catalog/pg_control.h`. 15 and 16 share one: the catalog version tells them apart.
    #[must_use]
    pub const fn control_version(self) -> u32 {
        match self {
            PgVersion::V15 | PgVersion::V16 => 1300,
            PgVersion::V17 => 1700,
            PgVersion::V18 => 1800,
        }
    }

    /// `CATALOG_VERSION_NO` of `catalog/catversion.h`, fixed for the whole life of a released major version.
    #[must_use]
    pub const fn catalog_version(self) -> u32 {
        match self {
            PgVersion::V15 => 202_209_061,
            PgVersion::V16 => 202_307_071,
            PgVersion::V17 => 202_406_281,
            PgVersion::V18 => 202_506_291,
        }
    }

    /// The version that writes WAL pages with this magic number.
    ///
    /// # Errors
    /// [`UnknownVersion::PageMagic`] for every other number.
    pub fn from_page_magic(magic: u16) -> Result<Self, UnknownVersion> {
        Self::ALL.into_iter().find(|v| v.page_magic() == magic).ok_or(UnknownVersion::PageMagic(magic))
    }

    /// The version whose control file carries these two numbers.
    ///
    /// # Errors
    /// [`UnknownVersion::Control`] if they are not a released version's.
    pub fn from_control(control: u32, catalog: u32) -> Result<Self, UnknownVersion> {
        Self::ALL
            .into_iter()
            .find(|v| v.control_version() == control && v.catalog_version() == catalog)
            .ok_or(UnknownVersion::Control { control, catalog })
    }

    /// The version with this major number.
    ///
    /// # Errors
    /// [`UnknownVersion::Major`] if it is not supported.
    pub fn from_major(major: u32) -> Result<Self, UnknownVersion> {
        Self::ALL.into_iter().find(|v| v.major() == major).ok_or(UnknownVersion::Major(major))
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.major())
    }
}
