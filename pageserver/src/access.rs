//! Who may connect, and over what: the parts of the configuration that say so.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use page_service::ServerTls;
use page_service::scram::{Users, Verifier};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cli::DEFAULT_ADDRESS;

/// The file in the data directory that holds the secret out of which the salts of unknown users are made.
const MOCK_KEY_FILE: &str = "unknown_users.key";

/// One of `[[users]]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The name to connect with.
    name: String,
    /// What `pageserver password` prints.
    verifier: Option<String>,
    /// Refused: known here so that the reason can be told, and the password is not repeated as part of an unknown setting.
    password: Option<IgnoredAny>,
}

/// The name alone: what else is in it is for nobody's eyes.
impl fmt::Debug for UserConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UserConfig").field(&self.name).finish()
    }
}

impl UserConfig {
    fn verifier(&self) -> Result<Verifier> {
        let how = format!("make one with: pageserver password {}", self.name);
        if self.password.is_some() {
            bail!("users: {:?} has a password: the configuration takes no passwords, only verifiers; {how}", self.name);
        }
        let Some(text) = &self.verifier else { bail!("users: {:?} has no verifier; {how}", self.name) };
        text.parse().with_context(|| format!("users: the verifier of {:?} is none; {how}", self.name))
    }
}

/// `[tls]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate, with the intermediate ones after it (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// Whether connections without TLS are refused.
    #[serde(default = "yes")]
    pub required: bool,
}

const fn yes() -> bool {
    true
}

impl TlsConfig {
    /// Files are named as seen from the configuration's directory.
    pub fn resolve(&mut self, directory: &Path) {
        self.certificate = directory.join(&self.certificate);
        self.key = directory.join(&self.key);
    }

    /// Reads the files.
    pub fn load(&self) -> Result<ServerTls> {
        ServerTls::from_files(&self.certificate, &self.key).context("tls")
    }
}

/// Finds mistakes, and refuses to be reached from elsewhere without passwords and TLS.
pub fn check(listen: SocketAddr, users: &[UserConfig], tls: Option<&TlsConfig>) -> Result<()> {
    let mut names = BTreeSet::new();
    for user in users {
        if user.name.is_empty() || user.name.contains('\0') {
            bail!("users: {:?} is no name of a user", user.name);
        }
        if !names.insert(&user.name) {
            bail!("users: {:?} is there twice", user.name);
        }
        user.verifier()?;
    }
    if listen.ip().is_loopback() {
        return Ok(());
    }
    let missing = match (users, tls) {
        ([], None) => "[[users]] and [tls]",
        ([], Some(_)) => "[[users]]",
        (_, None) => "[tls]",
        (_, Some(tls)) if !tls.required => "required = true in [tls]",
        _ => return Ok(()),
    };
    bail!(
        "listen = {listen} is not a loopback address: a server that others can reach wants passwords and TLS, and the configuration \
         lacks {missing}. See `pageserver password`, or listen on loopback (as in {DEFAULT_ADDRESS})"
    )
}

/// The users for the server; `None` lets everybody in.
pub fn users(users: &[UserConfig], data: &Path) -> Result<Option<Users>> {
    if users.is_empty() {
        return Ok(None);
    }
    let verifiers: Vec<_> =
        users.iter().map(|user| Ok((user.name.clone(), user.verifier()?))).collect::<Result<_>>()?;
    Ok(Some(Users::new(verifiers, &mock_key(data)?)))
}

/// A secret that is made once for each data directory.
fn mock_key(data: &Path) -> Result<[u8; 32]> {
    let path = data.join(MOCK_KEY_FILE);
    if let Some(key) = read_mock_key(&path)? {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| anyhow!("the operating system gives no random bytes: {error}"))?;
    let context = || format!("cannot write {}", path.display());
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).with_context(context)?;
    file.write_all(&key).and_then(|()| file.sync_all()).with_context(context)?;
    fs::rename(&new, &path).and_then(|()| File::open(data)?.sync_all()).with_context(context)?;
    Ok(key)
}

fn read_mock_key(path: &Path) -> Result<Option<[u8; 32]>> {
    match fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => Ok(Some(key)),
            Err(bytes) => {
                bail!("{} has {} bytes: expected 32. Remove it, and a new one is made", path.display(), bytes.len())
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// A verifier is no password, but passwords can be tried against it.
pub fn warn_of_readers(users: &[UserConfig], file: Option<&Path>) {
    let Some(file) = file.filter(|_| !users.is_empty()) else { return };
    if let Ok(metadata) = fs::metadata(file)
        && metadata.mode() & 0o004 != 0
    {
        tracing::warn!(file = %file.display(), "everybody on this machine can read the users' verifiers: run chmod 600 on it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserConfig {
        toml::from_str(text).expect("a user")
    }

    fn ali() -> UserConfig {
        user(&format!("name = 'ali'\nverifier = '{}'", Verifier::of_password("open sesame")))
    }

    #[test]
    fn beyond_loopback_everything_must_be_there() {
        let listen: SocketAddr = "0.0.0.0:6400".parse().expect("an address");
        let tls = |required| TlsConfig { certificate: "c".into(), key: "k".into(), required };
        let lacks = |users: &[UserConfig], tls: Option<&TlsConfig>, what: &str| {
            let error = check(listen, users, tls).expect_err(what).to_string();
            assert!(error.contains(&format!("lacks {what}")), "{error}");
        };
        lacks(&[], None, "[[users]] and [tls]");
        lacks(&[], Some(&tls(true)), "[[users]]");
        lacks(&[ali()], None, "[tls]");
        lacks(&[ali()], Some(&tls(false)), "required = true");
        check(listen, &[ali()], Some(&tls(true))).expect("allowed");
        check(DEFAULT_ADDRESS.parse().expect("an address"), &[], None).expect("allowed");
    }

    #[test]
    fn mistakes_are_told_without_secrets() {
        let listen = DEFAULT_ADDRESS.parse().expect("an address");
        for (users, part) in [
            (vec![user("name = 'ali'\npassword = 'open sesame'")], "takes no passwords"),
            (vec![user("name = 'ali'\nverifier = 'open sesame'")], "is none"),
            (vec![user("name = 'ali'")], "has no verifier"),
            (vec![user("name = ''")], "no name"),
            (vec![ali(), ali()], "twice"),
        ] {
            let error = format!("{:#}", check(listen, &users, None).expect_err(part));
            assert!(error.contains(part) && !error.contains("sesame"), "{error}");
            assert!(!format!("{users:?}").contains("SCRAM"));
        }
    }

    #[test]
    fn the_secret_is_made_once_and_private() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = mock_key(dir.path()).expect("made");
        assert_eq!(mock_key(dir.path()).expect("read"), first);
        let path = dir.path().join(MOCK_KEY_FILE);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        fs::write(&path, b"short").expect("write");
        assert!(mock_key(dir.path()).expect_err("refused").to_string().contains("5 bytes"));
    }
}
