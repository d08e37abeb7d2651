//! What the tables of a cluster hold, for comparing one cluster with another.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::Cluster;

/// The logged tables of all databases with how many rows they have and a sum over the hashes of these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents(BTreeMap<String, String>);

impl Contents {
    /// Reads every table.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn of(cluster: &Cluster) -> Result<Contents> {
        let mut all = BTreeMap::new();
        let databases = cluster.psql("postgres", "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1")?;
        for database in databases.lines() {
            let mut client = cluster.connect(database)?;
            let tables = client.query(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
                 WHERE relkind IN ('r', 'm') AND relpersistence = 'p' \
                 AND nspname NOT IN ('pg_catalog', 'information_schema') AND relispopulated",
                &[],
            )?;
            for table in tables {
                let table: &str = table.get(0);
                let query =
                    format!("SELECT format('%s rows, %s', count(*), sum(hashtext(t::text)::bigint)) FROM {table} t");
                let row = client.query_one(&query, &[]).with_context(|| format!("{database}: {query}"))?;
                all.insert(format!("{database}: {table}"), row.get(0));
            }
        }
        Ok(Contents(all))
    }

    /// How many tables there are.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.0.len()
    }

    /// The tables in which another cluster differs, with what both hold.
    #[must_use]
    pub fn differences(&self, other: &Contents) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let different = names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name));
        different.map(|name| format!("{name}: {:?}, {:?}", self.0.get(name), other.0.get(name))).collect()
    }
}
