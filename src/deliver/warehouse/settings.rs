//! Settings of the `redshift` and `postgres` destinations: one sink, two dialects.

mod name;
mod url;

pub use name::{TableName, quoted_name};
pub use url::Address;

use crate::config::destination_settings::{DeliverySettings, DestinationSettings};
use crate::config::format::Compress;
use crate::config::read;
use crate::config::rules::{Rules, below};
use crate::config::store::Store;
use crate::deliver::s3::settings::S3;
use crate::destination::DestinationKind;
use crate::destination::retry::{Patience, RetryPace};
use crate::units::{self, format_duration};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Longest names in characters: Redshift's, and PostgreSQL's, which cuts what is longer without a word.
const REDSHIFT_NAME_BYTES_MAX: usize = 127;
const POSTGRES_NAME_BYTES_MAX: usize = 63;
const RETRY_DURATION_MAX: Duration = Duration::from_secs(7200);
const RETRY_EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const CONCURRENCY: std::ops::RangeInclusive<u32> = 1..=64;

/// The keys that every warehouse has, around those that only one has.
macro_rules! warehouse {
    ($(#[$about:meta])* $kind:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $kind {
            /// `jdbc:redshift://HOST:PORT/DATABASE` or the same with `jdbc:postgresql`, `redshift`, `postgresql`,
            /// `postgres`; without user, password and options.
            pub url: String,
            /// `TABLE` or `SCHEMA.TABLE`, as the catalog has it. It must be there; it is never made.
            pub table: String,
            /// The columns that are loaded, in this order. All of them if empty.
            #[serde(default)]
            pub columns: Vec<String>,
            $($own)*
            pub username: String,
            #[serde(default, skip_serializing, deserialize_with = "read::secret_option")]
            #[schemars(with = "Option<String>")]
            pub password: Option<SecretString>,
            #[serde(default)]
            pub tls: WarehouseTls,
            /// Where objects are put before they are loaded, and stay.
            pub s3: Box<S3>,
            /// Which plans have been loaded: a table of ours in the same database, made if it is not there. A row may be
            /// deleted once its object is settled. In Redshift loads that share it wait for each other.
            #[serde(default = "claims_table")]
            pub claims_table: String,
            /// How long an object is tried again, from its first attempt, before it is given up on: 0s to 2h.
            #[serde(default = "retry_duration", with = "units::duration")]
            #[schemars(with = "units::duration::Text")]
            pub retry_duration: Duration,
            /// The pause between two attempts, 1s to 1h.
            #[serde(default = "retry_every", with = "units::duration")]
            #[schemars(with = "units::duration::Text")]
            pub retry_every: Duration,
            /// For one load, 1s to 24h.
            #[serde(default = "timeout", with = "units::duration")]
            #[schemars(with = "units::duration::Text")]
            pub timeout: Duration,
            /// Loads of this stream at once, 1 to 64.
            #[serde(default = "concurrency")]
            pub concurrency: u32,
        }

        impl DestinationSettings for $kind {
            fn kind(&self) -> DestinationKind {
                DestinationKind::$kind
            }

            fn store(&self) -> Option<Store<'_>> {
                Some(Store::S3(&self.s3))
            }

            fn ca(&mut self) -> Option<&mut PathBuf> {
                self.tls.ca.as_mut()
            }

            fn check(&mut self, rules: &mut Rules, compress: &Compress) {
                let key = self.kind().spec().key;
                for (own, message) in self.problems(*compress != Compress::None) {
                    rules.problem(&["destination", key, own], message);
                }
                if let Some(ca) = &mut self.tls.ca {
                    rules.checker.file(&below(rules.name, &["destination", key, "tls", "ca"]), ca);
                }
            }

            fn delivery(&self) -> DeliverySettings {
                let pace = RetryPace::Every(self.retry_every);
                let patience = Patience { duration: self.retry_duration, pace };
                // The next object is staged while the ones before it are loaded; the sink keeps the loads apart.
                DeliverySettings::of_receiver(self.concurrency as usize + 1, patience)
            }
        }

        impl $kind {
            /// What the sink works with; the error says what is wrong with the settings.
            pub fn target(&self) -> Result<Target, String> {
                Ok(Target {
                    address: Address::parse(&self.url)?,
                    table: TableName::parse(&self.table)?,
                    claims_table: TableName::parse(&self.claims_table)?,
                    columns: self.columns.clone(),
                    username: self.username.clone(),
                    password: self.password.clone(),
                    tls: self.tls.clone(),
                    timeout: self.timeout,
                    concurrency: self.concurrency,
                    bucket: self.s3.bucket.clone(),
                    dialect: self.dialect(),
                })
            }

            /// What it has in common with the other.
            fn in_common<'c>(&'c self, copy_options: &'c str) -> WarehouseSettings<'c> {
                WarehouseSettings {
                    copy_options,
                    url: &self.url,
                    table: &self.table,
                    columns: &self.columns,
                    username: &self.username,
                    concurrency: self.concurrency,
                    retry_duration: self.retry_duration,
                    retry_every: self.retry_every,
                    s3: &self.s3,
                    target: self.target(),
                }
            }

            fn shared_problems(&self, name_bytes_max: usize) -> Problems {
                let mut problems = Problems::default();
                problems.expect("url", Address::parse(&self.url).map(drop));
                problems.expect("table", TableName::parse(&self.table).and_then(|t| t.fits(name_bytes_max)));
                let claims = TableName::parse(&self.claims_table);
                problems.expect("claims_table", claims.and_then(|t| t.fits(name_bytes_max)));
                problems.expect("columns", name::columns(&self.columns, name_bytes_max));
                if self.username.is_empty() {
                    problems.add("username", "found an empty text, expected a user's name");
                }
                problems.time("retry_duration", self.retry_duration, Duration::ZERO..=RETRY_DURATION_MAX);
                problems.time("retry_every", self.retry_every, RETRY_EVERY);
                problems.time("timeout", self.timeout, TIMEOUT);
                if !CONCURRENCY.contains(&self.concurrency) {
                    let message = format!("found {}, expected a number from 1 to 64", self.concurrency);
                    problems.add("concurrency", message);
                }
                if self.tls.ca.is_some() && self.tls.mode != WarehouseTlsMode::Verify {
                    problems.add("tls", "found `ca` without `mode: verify`, which alone looks at certificates");
                }
                problems
            }
        }
    };
}

warehouse! {
    /// A table of Amazon Redshift, loaded by COPY from the objects in S3.
    Redshift {
        /// What follows in the COPY statement (Firehose: CopyOptions), such as `json 'auto' gzip`.
        #[serde(default)]
        pub copy_options: String,
        /// The role as which Redshift reads the bucket. Without it the one that is the cluster's default.
        #[serde(default)]
        pub role_arn: Option<String>,
    }
}

warehouse! {
    /// A table of PostgreSQL or of what speaks its protocol, loaded by COPY from the records that are put into S3.
    Postgres {
        /// What the records are.
        #[serde(default)]
        pub input: WarehouseInput,
    }
}

/// What the records of an object are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarehouseInput {
    /// One JSON object after the other. Its keys are the columns' names, exactly; others are left out.
    #[default]
    Json,
    /// Comma-separated values without a header, as PostgreSQL reads them.
    Csv,
}

/// How the connection is protected.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WarehouseTls {
    pub mode: WarehouseTlsMode,
    /// Who signed the server's certificate, or that certificate itself, a PEM file. Without it: whom this machine trusts.
    pub ca: Option<PathBuf>,
}

/// See [`WarehouseTls`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarehouseTlsMode {
    /// Encrypted, and the server's certificate is for its host and signed by somebody trusted.
    #[default]
    Verify,
    /// Encrypted, to whoever answers.
    Require,
    /// Not encrypted.
    Disable,
}

/// The settings of a warehouse of either dialect.
pub struct WarehouseSettings<'c> {
    pub url: &'c str,
    pub table: &'c str,
    pub columns: &'c [String],
    /// Empty where there is no COPY with options.
    pub copy_options: &'c str,
    pub username: &'c str,
    pub concurrency: u32,
    pub retry_duration: Duration,
    pub retry_every: Duration,
    pub s3: &'c S3,
    /// What the sink works with, or what is wrong with it.
    pub target: Result<Target, String>,
}

/// A warehouse of either dialect, its texts taken apart.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: Address,
    pub table: TableName,
    pub claims_table: TableName,
    pub columns: Vec<String>,
    pub username: String,
    pub password: Option<SecretString>,
    pub tls: WarehouseTls,
    pub timeout: Duration,
    /// Loads at once.
    pub concurrency: u32,
    /// Where objects are staged.
    pub bucket: String,
    pub dialect: Dialect,
}

/// What a warehouse understands.
#[derive(Clone, Debug)]
pub enum Dialect {
    Redshift { copy_options: String, role_arn: Option<String> },
    Postgres { input: WarehouseInput },
}

impl Redshift {
    pub fn settings(&self) -> WarehouseSettings<'_> {
        self.in_common(&self.copy_options)
    }

    fn dialect(&self) -> Dialect {
        Dialect::Redshift { copy_options: self.copy_options.clone(), role_arn: self.role_arn.clone() }
    }

    /// What is wrong, each with its key below `redshift`; `gzip`: objects are compressed.
    pub fn problems(&self, gzip: bool) -> Vec<(&'static str, String)> {
        let mut problems = self.shared_problems(REDSHIFT_NAME_BYTES_MAX);
        problems.expect("copy_options", copy_options(&self.copy_options, gzip));
        if self.role_arn.as_ref().is_some_and(|arn| !arn.starts_with("arn:")) {
            problems.add("role_arn", "expected a role's ARN such as `arn:aws:iam::123456789012:role/copy`");
        }
        problems.0
    }
}

impl Postgres {
    pub fn settings(&self) -> WarehouseSettings<'_> {
        self.in_common("")
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres { input: self.input }
    }

    /// What is wrong, each with its key below `postgres`; whether objects are compressed does not matter.
    pub fn problems(&self, _gzip: bool) -> Vec<(&'static str, String)> {
        self.shared_problems(POSTGRES_NAME_BYTES_MAX).0
    }
}

/// The statement around these options is ours, and says where the objects are and how they are read.
fn copy_options(options: &str, gzip: bool) -> Result<(), String> {
    let words = words(options).ok_or("found a quote without its end, expected each text in two `'`")?;
    let has = |wanted: &str| words.iter().any(|word| word.eq_ignore_ascii_case(wanted));
    if words.iter().any(|word| word.contains(';')) {
        return Err("found `;`, expected options of one COPY statement".to_owned());
    }
    if let Some(ours) = ["MANIFEST", "CREDENTIALS", "IAM_ROLE", "FROM"].into_iter().find(|word| has(word)) {
        return Err(format!("found `{ours}`, expected it to be left to Hydrant"));
    }
    // What they leave out would count as delivered.
    if let Some(silent) = ["MAXERROR", "NOLOAD"].into_iter().find(|word| has(word)) {
        return Err(format!(
            "found `{silent}`, with which Redshift leaves records out without a word; expected none: records that it does \
             not take are given up on alone, and the others are loaded"
        ));
    }
    match (gzip, has("gzip")) {
        (true, false) => Err("found no `GZIP`, expected it with `compress: gzip`".to_owned()),
        (false, true) => Err("found `GZIP`, expected `compress: gzip` with it".to_owned()),
        _ => Ok(()),
    }
}

/// The words outside texts; none if a text has no end.
fn words(options: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = options.split('\'').collect();
    let outside = parts.iter().step_by(2).flat_map(|part| part.split_whitespace());
    (parts.len() % 2 == 1).then(|| outside.collect())
}

#[derive(Default)]
struct Problems(Vec<(&'static str, String)>);

impl Problems {
    fn add(&mut self, key: &'static str, message: impl Into<String>) {
        self.0.push((key, message.into()));
    }

    fn expect(&mut self, key: &'static str, outcome: Result<(), String>) {
        if let Err(message) = outcome {
            self.add(key, message);
        }
    }

    fn time(&mut self, key: &'static str, found: Duration, range: std::ops::RangeInclusive<Duration>) {
        if !range.contains(&found) {
            let [found, min, max] = [found, *range.start(), *range.end()].map(format_duration);
            self.add(key, format!("found {found}, expected a time from {min} to {max}"));
        }
    }
}

fn claims_table() -> String {
    "hydrant_loads".to_owned()
}

fn retry_duration() -> Duration {
    Duration::from_secs(3600)
}

fn retry_every() -> Duration {
    Duration::from_secs(300)
}

fn timeout() -> Duration {
    Duration::from_secs(3600)
}

fn concurrency() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(yaml: &str) -> Postgres {
        let text = format!("url: postgres://h/d\ntable: t\nusername: u\ns3: {{ bucket: b }}\n{yaml}");
        serde_saphyr::from_str(&text).expect("the settings can be read")
    }

    fn redshift(copy_options: &str) -> Redshift {
        let text = "url: jdbc:redshift://h/d\ntable: t\nusername: u\ns3: { bucket: b }";
        let read: Redshift = serde_saphyr::from_str(text).expect("the settings can be read");
        Redshift { copy_options: copy_options.to_owned(), ..read }
    }

    #[test]
    fn defaults_have_no_problems() {
        assert_eq!(postgres("").problems(false), []);
        assert_eq!(redshift("").problems(false), []);
        let target = postgres("columns: [a]\ntimeout: 5s").target().expect("it is complete");
        assert_eq!((target.address.port, target.timeout), (5432, Duration::from_secs(5)));
        assert_eq!(redshift("").target().expect("it is complete").address.port, 5439);
    }

    #[test]
    fn every_problem_is_found_with_its_key() {
        let wrong = Postgres {
            url: "mysql://h/d".into(),
            table: String::new(),
            columns: vec!["a".into(), "a".into()],
            username: String::new(),
            claims_table: "a.b.c".into(),
            retry_duration: Duration::from_secs(7201),
            retry_every: Duration::ZERO,
            timeout: Duration::ZERO,
            concurrency: 0,
            tls: WarehouseTls { mode: WarehouseTlsMode::Require, ca: Some("ca.pem".into()) },
            ..postgres("")
        };
        let keys: Vec<&str> = wrong.problems(false).into_iter().map(|(key, _)| key).collect();
        let expected = [
            "url",
            "table",
            "claims_table",
            "columns",
            "username",
            "retry_duration",
            "retry_every",
            "timeout",
            "concurrency",
            "tls",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn copy_options_fit_the_compression_and_leave_the_statement_to_us() {
        for (options, gzip, sound) in [
            ("json 'auto'", false, true),
            ("json 'auto' GZIP", true, true),
            ("json 'auto' gzip", false, false),
            ("json 'gzip'", true, false),
            ("delimiter ';'", false, true),
            ("json 'auto'; drop table t", false, false),
            ("json 'auto", false, false),
            ("manifest", false, false),
            ("credentials 'x'", false, false),
            ("json 'auto' maxerror 10", false, false),
            ("json 'auto' NOLOAD", false, false),
        ] {
            assert_eq!(redshift(options).problems(gzip).is_empty(), sound, "{options} {gzip}");
        }
    }
}
