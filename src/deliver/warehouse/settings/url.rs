//! The addresses of databases, as JDBC and others write them.

/// Where a database listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub database: String,
}

const REDSHIFT_PORT: u16 = 5439;
const POSTGRES_PORT: u16 = 5432;

impl Address {
    /// Reads `jdbc:redshift://HOST:PORT/DATABASE` and its kin. The error never shows what may be a password.
    pub fn parse(url: &str) -> Result<Address, String> {
        let expected = "expected such as `jdbc:redshift://HOST:5439/DATABASE` or `postgresql://HOST/DATABASE`";
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("found no `://`, {expected}"))?;
        let default_port = match scheme.strip_prefix("jdbc:").unwrap_or(scheme) {
            "redshift" => REDSHIFT_PORT,
            "postgresql" | "postgres" => POSTGRES_PORT,
            _ => return Err(format!("found `{scheme}://`, {expected}")),
        };
        if rest.contains('@') {
            return Err("found an `@`, expected user and password in `username` and `password`".to_owned());
        }
        if rest.contains(['?', ';', '#']) {
            return Err("found options behind the database, expected none: encryption is set in `tls`".to_owned());
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        if database.is_empty() || database.contains('/') {
            return Err(format!("found no database, {expected}"));
        }
        let (host, port) = host_and_port(authority).ok_or_else(|| format!("found no host, {expected}"))?;
        let port = match port {
            None => default_port,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("found the port `{port}`, expected a number from 1 to 65535"))?,
        };
        Ok(Address { host: host.to_owned(), port, database: database.to_owned() })
    }
}

/// IPv6 addresses stand in brackets.
fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
        return (!host.is_empty()).then_some((host, port));
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    (!host.is_empty() && !host.contains(char::is_whitespace)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read() {
        for (url, host, port, database) in [
            (
                "jdbc:redshift://c.x.us-east-1.redshift.amazonaws.com:5439/dev",
                "c.x.us-east-1.redshift.amazonaws.com",
                5439,
                "dev",
            ),
            ("jdbc:redshift://h/d", "h", 5439, "d"),
            ("redshift://h:1/d", "h", 1, "d"),
            ("jdbc:postgresql://h/d", "h", 5432, "d"),
            ("postgres://127.0.0.1:7/d", "127.0.0.1", 7, "d"),
            ("postgresql://[::1]:7/d", "::1", 7, "d"),
            ("postgresql://[::1]/d", "::1", 5432, "d"),
        ] {
            let expected = Address { host: host.into(), port, database: database.into() };
            assert_eq!(Address::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_a_password() {
        for url in [
            "",
            "h/d",
            "mysql://h/d",
            "jdbc:redshift:iam://h/d",
            "postgres://u:secret@h/d",
            "postgres://h/d?password=secret",
            "postgres://h",
            "postgres://h/",
            "postgres:///d",
            "postgres://h:x/d",
            "postgres://h:0/d",
            "postgres://h:65536/d",
            "postgres://[::1/d",
            "postgres://h/d/e",
        ] {
            let message = Address::parse(url).expect_err(url);
            assert!(message.contains("expected") && !message.contains("secret"), "{url}: {message}");
        }
    }
}
