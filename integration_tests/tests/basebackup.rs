//! A base backup by the command line: stock PostgreSQL starts from it, finds what was there at the LSN, and its indexes whole.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, ClusterOptions, Lab, TIMELINE, in_scratch, run};

#[test]
fn a_clone_of_a_past_moment_starts_and_is_whole() {
    in_scratch("basebackup", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default().with_checksums())?;
        lab.primary.psql("postgres", "CREATE EXTENSION amcheck; CREATE TABLE t (id int PRIMARY KEY, n int)")?;
        lab.attach()?;
        lab.primary.psql("postgres", "INSERT INTO t SELECT i, 1 FROM generate_series(1, 5000) i")?;
        let past = lab.primary.current_lsn()?;
        lab.primary.psql("postgres", "DELETE FROM t WHERE id > 10; UPDATE t SET n = 2; VACUUM t")?;
        let now = lab.primary.current_lsn()?;

        for (name, options, counts) in [
            ("past", vec!["--at".to_owned(), past.to_string()], "5000|5000"),
            ("now", vec!["--at".to_owned(), now.to_string(), "--gzip".to_owned()], "10|20"),
        ] {
            let target = dir.join(name);
            let target = target.to_str().context("a strange path")?;
            let mut arguments = vec!["basebackup", TIMELINE, "-D", target];
            arguments.extend(options.iter().map(String::as_str));
            lab.pageserver.cli(&arguments)?;
            verify(&lab.primary, Path::new(target), counts).with_context(|| format!("the clone of {name}"))?;
        }
        let taken =
            lab.pageserver.try_cli(&["basebackup", TIMELINE, "-D", dir.join("now").to_str().context("path")?])?;
        let said = String::from_utf8_lossy(&taken.stderr).into_owned();
        ensure!(!taken.status.success() && said.contains("not empty"), "a directory in use was taken: {said}");
        Ok(())
    });
}

/// Starts the clone, counts, writes, checks it, stops it, and checks its pages' checksums.
fn verify(primary: &Cluster, data: &Path, counts: &str) -> Result<()> {
    let install = primary.install();
    let options = format!("-c listen_addresses= -c port=1 -c unix_socket_directories='{}'", data.display());
    let ctl = |words: &[&str]| run(install.command("pg_ctl").arg("-D").arg(data).arg("-w").args(words));
    let log = data.join("log");
    ctl(&["start", "-o", &options, "-l", log.to_str().context("a strange path")?])?;
    let client = |program: &str| {
        let mut command = install.command(program);
        command.arg("-h").arg(data).args(["-p", "1", "-U", "postgres"]);
        command
    };
    let psql = |sql: &str| -> Result<String> {
        let output = run(client("psql").args(["-XAtq", "-d", "postgres", "-c", sql]))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let found = psql("SELECT count(*), sum(n) FROM t")?;
    ensure!(found == counts, "it has {found}, expected {counts}");
    run(client("pg_amcheck").args(["--all", "--heapallindexed", "--rootdescend"]))?;
    psql("INSERT INTO t SELECT i, 0 FROM generate_series(100001, 103000) i; CREATE TABLE u AS SELECT * FROM t")?;
    ctl(&["restart", "-o", &options, "-l", log.to_str().context("a strange path")?])?;
    run(client("pg_amcheck").args(["--all", "--heapallindexed", "--rootdescend"]))?;
    ctl(&["stop", "-m", "fast"])?;
    run(install.command("pg_checksums").arg("--check").arg("-D").arg(data))?;
    Ok(())
}
