//! The table that leases are in: made if it is not there, and not taken for one if it has another layout.

use super::leases::Leases;
use crate::error::{Error, Kind, Result};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use std::time::Duration;

/// A table is made in seconds.
const CREATE_TRIES: u32 = 60;
const CREATE_PAUSE: Duration = Duration::from_millis(500);

impl Leases {
    /// Makes the table if there is none. `Misconfigured`: there is one of another layout.
    pub async fn prepare(&self) -> Result<()> {
        for _ in 0..CREATE_TRIES {
            match self.status().await? {
                None => self.create().await?,
                Some(TableStatus::Creating) => {}
                Some(_) => return Ok(()),
            }
            tokio::time::sleep(CREATE_PAUSE).await;
        }
        Err(Error::new(Kind::Retry, format!("table `{}` is still being made", self.table)))
    }

    /// Whether the table is there. `Misconfigured`: there is one of another layout.
    pub async fn is_there(&self) -> Result<bool> {
        Ok(self.status().await?.is_some())
    }

    async fn status(&self) -> Result<Option<TableStatus>> {
        match self.client().describe_table().table_name(&self.table).send().await {
            Ok(answer) => {
                let none =
                    || Error::new(Kind::Retry, format!("DescribeTable of table `{}`: an empty answer", self.table));
                let table = answer.table.ok_or_else(none)?;
                self.check_layout(table.key_schema(), table.attribute_definitions())?;
                Ok(Some(table.table_status.unwrap_or(TableStatus::Active)))
            }
            Err(e) if e.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(None),
            Err(e) => Err(self.during("DescribeTable")(e)),
        }
    }

    fn check_layout(&self, keys: &[KeySchemaElement], attributes: &[AttributeDefinition]) -> Result<()> {
        let type_of = |name: &str| {
            attributes.iter().find(|a| a.attribute_name() == name).map_or("?", |a| a.attribute_type().as_str())
        };
        let found: Vec<String> = keys
            .iter()
            .map(|k| format!("`{}` ({}, {})", k.attribute_name(), k.key_type().as_str(), type_of(k.attribute_name())))
            .collect();
        if found == ["`leaseKey` (HASH, S)"] {
            return Ok(());
        }
        let found = found.join(" and ");
        let message = format!(
            "table `{}` is no lease table: found the key {found}, expected `leaseKey` (HASH, S); name another table",
            self.table
        );
        Err(Error::new(Kind::Misconfigured, message))
    }

    async fn create(&self) -> Result<()> {
        let invalid = |e: aws_sdk_dynamodb::error::BuildError| Error::new(Kind::Bug, e.to_string());
        let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash).build();
        let attribute =
            AttributeDefinition::builder().attribute_name("leaseKey").attribute_type(ScalarAttributeType::S).build();
        let request = self.client().create_table().table_name(&self.table).billing_mode(BillingMode::PayPerRequest);
        let made = request.key_schema(key.map_err(invalid)?).attribute_definitions(attribute.map_err(invalid)?).send();
        match made.await {
            // Somebody else makes it.
            Err(e) if e.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => Ok(()),
            Err(e) => Err(self.during("CreateTable")(e)),
            Ok(_) => Ok(()),
        }
    }
}
