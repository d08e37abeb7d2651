//! Users of the machine by their names.

use std::fs;

/// A local user's user id and group id, from `/etc/passwd`.
pub fn ids(name: &str) -> Result<(u32, u32), String> {
    let passwd = fs::read_to_string("/etc/passwd").map_err(|error| format!("cannot read /etc/passwd: {error}"))?;
    find(&passwd, name).ok_or_else(|| format!("redo.user = {name:?}: /etc/passwd has no such user"))
}

fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_belong_to_the_whole_name() {
        let passwd = "pg:x:1:2::/:\npg2:x:104:113:,,,:/var/lib:/bin/sh\nbroken:x:a:b::/:\n";
        assert_eq!(find(passwd, "pg"), Some((1, 2)));
        assert_eq!(find(passwd, "pg2"), Some((104, 113)));
        assert_eq!(find(passwd, "p"), None);
        assert_eq!(find(passwd, "broken"), None);
    }
}
