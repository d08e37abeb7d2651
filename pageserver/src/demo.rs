//! `demo`: runs the program `pageserver-demo`.

use anyhow::Result;

use crate::cli::DemoArgs;
use crate::companion;

/// Becomes the demo.
pub fn run(args: &DemoArgs) -> Result<()> {
    let mut arguments = Vec::new();
    if let Some(bin) = &args.pg_bin {
        arguments.extend(["--pg-bin".into(), bin.into()]);
    }
    if args.keep {
        arguments.push("--keep".into());
    }
    companion::run("pageserver-demo", &arguments)
}
