//! What a connection string says about the examination of certificates: `sslrootcert`, and the `sslmode`s that need it.

use std::path::PathBuf;

use crate::Verify;

/// The words of a connection string that `tokio_postgres::Config` does not know: `sslrootcert=FILE`, `sslmode=verify-ca` and
/// `sslmode=verify-full`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TlsWords {
    /// `verify-ca` or `verify-full`.
    verify: Option<VerifyMode>,
    root: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VerifyMode {
    Authority,
    Full,
}

impl TlsWords {
    /// Takes these words out of a connection string of either form, and answers with what is left and with them.
    ///
    /// # Errors
    /// If the string is not of the form `key=value key=value …`, or its percent-encoding is wrong.
    pub fn split(conninfo: &str) -> Result<(String, TlsWords), String> {
        if conninfo.starts_with("postgres://") || conninfo.starts_with("postgresql://") {
            split_url(conninfo)
        } else {
            split_pairs(conninfo)
        }
    }

    /// Whether the words allow no plain connection.
    #[must_use]
    pub fn requires_tls(&self) -> bool {
        self.verify.is_some()
    }

    /// What is to be examined.
    ///
    /// # Errors
    /// If there is no `sslrootcert` to examine with.
    pub fn verify(&self) -> Result<Verify, String> {
        let root = self.root.as_ref().map(PathBuf::from);
        match (self.verify, root) {
            (None, None) => Ok(Verify::None),
            (None | Some(VerifyMode::Authority), Some(root)) => Ok(Verify::Authority(root)),
            (Some(VerifyMode::Full), Some(root)) => Ok(Verify::Full(root)),
            (Some(_), None) => Err("sslmode=verify-ca and verify-full need sslrootcert=FILE".to_owned()),
        }
    }

    /// Takes one word, or says that it is not one of these.
    fn take(&mut self, key: &str, value: &str) -> bool {
        match (key, value) {
            ("sslmode", "verify-ca") => self.verify = Some(VerifyMode::Authority),
            ("sslmode", "verify-full") => self.verify = Some(VerifyMode::Full),
            ("sslrootcert", path) => self.root = Some(path.to_owned()),
            _ => return false,
        }
        true
    }
}

fn split_url(url: &str) -> Result<(String, TlsWords), String> {
    let mut words = TlsWords::default();
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), words));
    };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !words.take(key, &percent_decode(value)?) {
            kept.push(pair);
        }
    }
    let rest = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    Ok((rest, words))
}

fn percent_decode(text: &str) -> Result<String, String> {
    let bad = || format!("bad percent-encoding in {text:?}");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
        // Two digits make at most 255.
        bytes.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// `key = value` with blanks around; a value is plain or in single quotes, and a backslash takes the meaning from what follows it.
fn split_pairs(text: &str) -> Result<(String, TlsWords), String> {
    let mut words = TlsWords::default();
    let mut kept = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            return Err(format!("expected {:?} to be followed by =", rest.trim_end()));
        };
        let value_text = after.trim_start();
        let (value, next) = read_value(value_text)?;
        if !words.take(key.trim_end(), &value) {
            kept.push_str(&rest[..rest.len() - next.len()]);
            kept.push(' ');
        }
        rest = next.trim_start();
    }
    Ok((kept, words))
}

/// The value at the beginning of `text`, and what follows it.
fn read_value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if c.is_whitespace() && !quoted => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted { Err("a quoted value has no end".to_owned()) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(conninfo: &str) -> (String, Verify) {
        let (rest, words) = TlsWords::split(conninfo).unwrap();
        (rest.trim_end().to_owned(), words.verify().unwrap())
    }

    #[test]
    fn takes_the_words_of_both_forms() {
        let root = || PathBuf::from("/etc/it's root.crt");
        let full = r"host=a sslmode = verify-full password='x y\' =z' sslrootcert='/etc/it\'s root.crt' user=u";
        assert_eq!(verify(full), (r"host=a password='x y\' =z' user=u".to_owned(), Verify::Full(root())));
        let url = "postgresql://u@a/?sslmode=verify-ca&sslrootcert=%2Fetc%2fit's%20root.crt&connect_timeout=3";
        assert_eq!(verify(url), ("postgresql://u@a/?connect_timeout=3".to_owned(), Verify::Authority(root())));
    }

    #[test]
    fn leaves_the_rest_alone() {
        for text in
            ["host=a sslmode=require", "", "postgres://a", "host = 'a b' port=1", "postgres://a?sslmode=disable"]
        {
            assert_eq!(verify(text), (text.to_owned(), Verify::None));
        }
        assert_eq!(verify("sslmode=require sslrootcert=r").1, Verify::Authority("r".into()));
    }

    #[test]
    fn refuses_what_is_incomplete() {
        for text in ["host", "host='a", "postgres://a?sslrootcert=%4", "postgres://a?sslrootcert=%zz"] {
            assert!(TlsWords::split(text).is_err(), "{text:?}");
        }
        assert!(TlsWords::split("sslmode=verify-full").unwrap().1.verify().is_err());
    }
}
