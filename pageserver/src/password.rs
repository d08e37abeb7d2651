//! `password`: makes the line of the configuration that lets a user in.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context, Result, bail};
use page_service::scram::Verifier;
use serde::Serialize;

use crate::cli::PasswordArgs;
use crate::remote::print;

/// A piece of the configuration file.
#[derive(Serialize)]
struct Piece<'a> {
    users: [User<'a>; 1],
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    verifier: String,
}

/// Asks for the password at the terminal, twice, or takes the first line of standard input; and prints the user with the verifier.
pub fn run(args: &PasswordArgs) -> Result<()> {
    if args.name.is_empty() || args.name.contains('\0') {
        bail!("{:?} is no name of a user", args.name);
    }
    print(&piece(&args.name, &read_new(&args.name)?)?)
}

fn piece(name: &str, password: &str) -> Result<String> {
    if password.is_empty() {
        bail!("an empty password is none");
    }
    if password.contains('\0') {
        bail!("a password cannot have a zero byte in it");
    }
    let verifier = Verifier::of_password(password).to_string();
    toml::to_string(&Piece { users: [User { name, verifier }] }).context("cannot write TOML")
}

fn read_new(name: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        return read_line();
    }
    let Some(first) = ask(&format!("New password for {name}: "))? else { bail!("there is no terminal to ask at") };
    let again = ask("The same again: ")?;
    if again.as_deref() != Some(&first) {
        bail!("the two are not the same: nothing has been made");
    }
    Ok(first)
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read the password from standard input")?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Asks at the terminal without showing what is typed; nothing, if there is no terminal.
pub fn ask(prompt: &str) -> Result<Option<String>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    rpassword::prompt_password(prompt).map(Some).context("cannot read a password from the terminal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_a_piece_of_the_configuration() {
        let text = piece("a \"b\"", "open sesame").expect("made");
        assert!(text.starts_with("[[users]]\nname = "), "{text}");
        let parsed: toml::Table = toml::from_str(&text).expect("TOML");
        let user = &parsed["users"][0];
        assert_eq!(user["name"].as_str(), Some("a \"b\""));
        assert!(user["verifier"].as_str().is_some_and(|verifier| verifier.parse::<Verifier>().is_ok()));
        assert!(piece("a", "").is_err());
    }
}
