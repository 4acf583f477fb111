//! What differs between two schemas, column by column and member by member.

use super::{ColumnType, NamedType, TableSchema};

/// A difference. Paths are those of members, such as `user.name`; of an array's elements `tags[]`, of a map's keys and values
/// `labels{key}` and `labels{value}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaChange {
    Added { path: String, of: String },
    Removed { path: String, of: String },
    Changed { path: String, from: String, to: String },
}

impl std::fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SchemaChange::Added { path, of } => write!(f, "+ {path}: {of}"),
            SchemaChange::Removed { path, of } => write!(f, "- {path}: {of}"),
            SchemaChange::Changed { path, from, to } => write!(f, "! {path}: {from} -> {to}"),
        }
    }
}

/// What has to be done to the first to get the second. The order of columns is none of it.
pub fn diff(before: &TableSchema, after: &TableSchema) -> Vec<SchemaChange> {
    let mut changes = Vec::new();
    members("", &before.columns, &after.columns, &mut changes);
    changes
}

fn members(above: &str, before: &[NamedType], after: &[NamedType], changes: &mut Vec<SchemaChange>) {
    let path = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    let find = |among: &[NamedType], name: &str| {
        among.iter().find(|member| member.name.to_lowercase() == name.to_lowercase()).cloned()
    };
    for member in before {
        match find(after, &member.name) {
            None => changes.push(SchemaChange::Removed { path: path(&member.name), of: member.of.to_string() }),
            Some(other) => {
                types(&path(&member.name), &member.of, &other.of, changes);
                let key = |member: &NamedType| member.key.clone().unwrap_or_else(|| member.name.clone());
                if key(member) != key(&other) {
                    let [from, to] = [key(member), key(&other)].map(|key| format!("key `{key}`"));
                    changes.push(SchemaChange::Changed { path: path(&member.name), from, to });
                }
            }
        }
    }
    for member in after.iter().filter(|member| find(before, &member.name).is_none()) {
        changes.push(SchemaChange::Added { path: path(&member.name), of: member.of.to_string() });
    }
}

fn types(path: &str, before: &ColumnType, after: &ColumnType, changes: &mut Vec<SchemaChange>) {
    match (before, after) {
        (a, b) if a == b => {}
        (ColumnType::Struct(before), ColumnType::Struct(after)) => members(path, before, after, changes),
        (ColumnType::Array(before), ColumnType::Array(after)) => types(&format!("{path}[]"), before, after, changes),
        (ColumnType::Map(key, value), ColumnType::Map(other_key, other_value)) => {
            types(&format!("{path}{{key}}"), key, other_key, changes);
            types(&format!("{path}{{value}}"), value, other_value, changes);
        }
        (from, to) => {
            let (path, from, to) = (path.to_owned(), from.to_string(), to.to_string());
            changes.push(SchemaChange::Changed { path, from, to });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_where_they_are() {
        let [before, after] = [
            "struct<id:int,user:struct<name:string,age:int>,tags:array<struct<k:string>>,gone:date,m:map<string,int>>",
            "struct<ID:bigint,tags:array<struct<k:string,v:string>>,user:struct<name:string>,m:map<string,double>,new:boolean>",
        ]
        .map(|text| super::super::source::read(text.as_bytes()).unwrap());
        let changes: Vec<String> = diff(&before, &after).iter().map(ToString::to_string).collect();
        let expected = [
            "! id: int -> bigint",
            "! id: key `id` -> key `ID`",
            "- user.age: int",
            "+ tags[].v: string",
            "- gone: date",
            "! m{value}: int -> double",
            "+ new: boolean",
        ];
        assert_eq!(changes, expected);
        assert_eq!(diff(&before, &before), []);
    }
}
