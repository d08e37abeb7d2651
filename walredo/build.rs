//! Compiles the redo module (`postgres/*.c`) for every PostgreSQL whose server headers are found, and writes the list of the
//! shared objects that the crate embeds. With no headers the list is empty; starting a redo process then says what to install.
//!
//! Where headers are looked for, first come first taken for each major version:
//! - `PAGESERVER_PG_INCLUDE_15` (`_16`, `_17`, `_18`): a server include directory, the one that holds `postgres.h`;
//! - `PAGESERVER_PG_CONFIGS`: `pg_config` programs, separated by `:`;
//! - `/usr/lib/postgresql/*/bin/pg_config`;
//! - `pg_config` in `PATH`.
//!
//! The compiler is `$CC`, else `cc`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The major versions that the module is written for.
const MAJORS: std::ops::RangeInclusive<u32> = 15..=18;
/// Where Debian puts each major version.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";
/// PostgreSQL's own code needs the second line; the first is to keep ours clean.
const FLAGS: [&str; 10] = [
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Wno-sign-compare",
    "-fno-strict-aliasing",
    "-fwrapv",
    "-fPIC",
    "-shared",
];

/// Headers of one server.
struct Server {
    include: PathBuf,
    version: String,
}

fn main() {
    watch_environment();
    let sources = sources();
    let mut servers = BTreeMap::new();
    for include in asked_for() {
        let (major, server) = inspect(&include).unwrap_or_else(|why| panic!("{}: {why}", include.display()));
        servers.entry(major).or_insert(server);
    }
    for include in found() {
        if let Ok((major, server)) = inspect(&include) {
            servers.entry(major).or_insert(server);
        }
    }
    if servers.is_empty() {
        println!(
            "cargo::warning=no PostgreSQL server headers found: redo processes will not start (on Debian: apt install postgresql-server-dev-15)"
        );
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut list = String::from("&[\n");
    for (major, server) in &servers {
        println!("cargo::rerun-if-changed={}", server.include.join("pg_config.h").display());
        let object = out.join(format!("walredo_{major}.so"));
        compile(&sources, server, &object);
        let entry = (server.version.as_str(), object.to_str().expect("OUT_DIR is UTF-8"));
        writeln!(list, "Module {{ major: {major}, built_for: {:?}, bytes: include_bytes!({:?}) }},", entry.0, entry.1)
            .expect("writing to a String");
    }
    list.push_str("]\n");
    fs::write(out.join("modules.rs"), list).expect("write modules.rs");
}

fn watch_environment() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=postgres");
    println!("cargo::rerun-if-changed={DEBIAN_ROOT}");
    for name in ["PAGESERVER_PG_CONFIGS", "CC", "PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for major in MAJORS {
        println!("cargo::rerun-if-env-changed=PAGESERVER_PG_INCLUDE_{major}");
    }
}

fn sources() -> Vec<PathBuf> {
    let mut sources: Vec<_> = fs::read_dir("postgres")
        .expect("read postgres/")
        .map(|entry| entry.expect("read postgres/").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    sources
}

/// Include directories that the environment names. A mistake in one of them fails the build.
fn asked_for() -> Vec<PathBuf> {
    let mut includes: Vec<_> = MAJORS
        .filter_map(|major| env::var_os(format!("PAGESERVER_PG_INCLUDE_{major}")))
        .filter(|include| !include.is_empty())
        .map(PathBuf::from)
        .collect();
    if let Some(list) = env::var_os("PAGESERVER_PG_CONFIGS") {
        for pg_config in env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()) {
            println!("cargo::rerun-if-changed={}", pg_config.display());
            let include = include_of(&pg_config);
            includes
                .push(include.unwrap_or_else(|why| panic!("PAGESERVER_PG_CONFIGS: {}: {why}", pg_config.display())));
        }
    }
    includes
}

/// Include directories of the servers installed in the usual places.
fn found() -> Vec<PathBuf> {
    let mut programs: Vec<PathBuf> = fs::read_dir(DEBIAN_ROOT)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/pg_config")))
        .filter(|path| path.exists())
        .collect();
    programs.sort();
    programs.push(PathBuf::from("pg_config"));
    programs.iter().filter_map(|program| include_of(program).ok()).collect()
}

fn include_of(pg_config: &Path) -> Result<PathBuf, String> {
    let output = Command::new(pg_config)
        .arg("--includedir-server")
        .output()
        .map_err(|error| format!("could not run it: {error}"))?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !path.is_empty() { Ok(path.into()) } else { Err("it names no server headers".into()) }
}

/// Asks the preprocessor, because `pg_config.h` may be a switch between several files.
fn inspect(include: &Path) -> Result<(u32, Server), String> {
    if !include.join("postgres.h").exists() {
        return Err("no postgres.h there: install the server development package".into());
    }
    let output = Command::new(compiler())
        .args(["-E", "-dM", "-x", "c", "-include", "pg_config.h", "-I"])
        .arg(include)
        .arg("/dev/null")
        .output()
        .map_err(|error| format!("could not run {:?}: {error}", compiler()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let macros = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |name: &str| {
        let prefix = format!("#define {name} ");
        macros.lines().find_map(|line| line.strip_prefix(&prefix)).map(|value| value.trim_matches('"').to_owned())
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<u32>().ok());
    let major = number("PG_VERSION_NUM").ok_or("pg_config.h does not define PG_VERSION_NUM")? / 10_000;
    if !MAJORS.contains(&major) {
        return Err(format!("PostgreSQL {major} is not supported (15 to 18 are)"));
    }
    if number("BLCKSZ") != Some(8192) {
        return Err("its blocks are not of 8192 bytes".into());
    }
    let version = value("PG_VERSION").unwrap_or_else(|| major.to_string());
    Ok((major, Server { include: include.to_owned(), version }))
}

fn compile(sources: &[PathBuf], server: &Server, object: &Path) {
    let mut command = Command::new(compiler());
    command.args(FLAGS).arg("-D_GNU_SOURCE").arg("-isystem").arg(&server.include).args(sources).arg("-o").arg(object);
    let output = command.output().unwrap_or_else(|error| panic!("could not run {:?}: {error}", compiler()));
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{messages}");
    for line in messages.lines() {
        println!("cargo::warning={line}");
    }
}

fn compiler() -> OsString {
    env::var_os("CC").unwrap_or_else(|| "cc".into())
}
