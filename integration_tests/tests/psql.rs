//! The commands work from `psql`.

use std::process::{Command, Output};

use anyhow::{Result, ensure};
use integration_tests::{ClusterOptions, Lab, in_scratch};

/// Runs `psql -c` against the pageserver.
fn psql(lab: &Lab, command: &str) -> Result<Output> {
    let address = lab.pageserver.address()?;
    let mut psql: Command = lab.primary.install().command("psql");
    psql.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p"]).arg(address.port().to_string());
    Ok(psql.args(["-U", "anyone", "-d", "any", "-c", command]).output()?)
}

#[test]
fn commands_work_from_psql() {
    in_scratch("psql", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        lab.attach()?;
        let status = psql(&lab, "status")?;
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        ensure!(status.status.success() && text.contains("main"), "status answers {text:?}");

        let lsn = lab.primary.current_lsn()?;
        let page = psql(&lab, &format!("page main 1663/5/1259 main 0 --at {lsn}"))?;
        let text = String::from_utf8_lossy(&page.stdout).into_owned();
        ensure!(page.status.success() && text.trim().len() > 2 * 8192, "page answers {} bytes", text.len());

        let unknown = psql(&lab, "frobnicate")?;
        let text = String::from_utf8_lossy(&unknown.stderr).into_owned();
        ensure!(!unknown.status.success(), "an unknown command succeeds");
        ensure!(
            text.contains("frobnicate") && text.contains("status"),
            "the error names neither it nor the known ones: {text}"
        );
        Ok(())
    });
}
