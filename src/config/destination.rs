//! Where the records of a stream go: one of the destinations.

use super::destination_settings::DestinationSettings;
use super::store::Store;
use crate::deliver::http::settings::Http;
use crate::deliver::local::settings::Local;
use crate::deliver::s3::settings::S3;
use crate::deliver::warehouse::settings::{Postgres, Redshift, WarehouseSettings};
use crate::destination::{DestinationKind, Payload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where records go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    S3(Box<S3>),
    Local(Local),
    Http(Box<Http>),
    Redshift(Box<Redshift>),
    Postgres(Box<Postgres>),
}

impl Destination {
    /// Its settings, whichever it is.
    pub fn settings(&self) -> &dyn DestinationSettings {
        match self {
            Destination::S3(s3) => s3.as_ref(),
            Destination::Local(local) => local,
            Destination::Http(http) => http.as_ref(),
            Destination::Redshift(redshift) => redshift.as_ref(),
            Destination::Postgres(postgres) => postgres.as_ref(),
        }
    }

    /// The same, for what a check settles.
    pub fn settings_mut(&mut self) -> &mut dyn DestinationSettings {
        match self {
            Destination::S3(s3) => s3.as_mut(),
            Destination::Local(local) => local,
            Destination::Http(http) => http.as_mut(),
            Destination::Redshift(redshift) => redshift.as_mut(),
            Destination::Postgres(postgres) => postgres.as_mut(),
        }
    }

    pub fn kind(&self) -> DestinationKind {
        self.settings().kind()
    }

    /// See [`DestinationSettings::store`].
    pub fn store(&self) -> Option<Store<'_>> {
        self.settings().store()
    }

    /// What a warehouse is set to; `None` if it is none.
    pub fn warehouse(&self) -> Option<WarehouseSettings<'_>> {
        match self {
            Destination::Redshift(redshift) => Some(redshift.settings()),
            Destination::Postgres(postgres) => Some(postgres.settings()),
            _ => None,
        }
    }

    /// The keys of its store in YAML.
    pub fn store_keys(&self) -> Vec<&'static str> {
        let spec = self.kind().spec();
        match spec.payload {
            Payload::Rows => vec!["destination", spec.key, "s3"],
            Payload::Objects | Payload::Records => vec!["destination", spec.key],
        }
    }
}
