//! The types of a file's columns.

use super::proto::{Type, TypeKind};
use crate::format::schema::ColumnType;

/// Appends the types of a column and of those inside it, in the order of their numbers.
pub(super) fn push_types(of: &ColumnType, types: &mut Vec<Type>) {
    let at = types.len();
    let mut own = Type::default();
    let inside: Vec<&ColumnType> = match of {
        ColumnType::Array(element) => vec![element],
        ColumnType::Map(key, value) => vec![key, value],
        ColumnType::Struct(members) => {
            own.field_names = members.iter().map(|member| member.name.clone()).collect();
            members.iter().map(|member| &member.of).collect()
        }
        _ => Vec::new(),
    };
    let kind = match of {
        ColumnType::TinyInt => TypeKind::Byte,
        ColumnType::SmallInt => TypeKind::Short,
        ColumnType::Int => TypeKind::Int,
        ColumnType::BigInt => TypeKind::Long,
        ColumnType::Float => TypeKind::Float,
        ColumnType::Double => TypeKind::Double,
        ColumnType::Boolean => TypeKind::Boolean,
        ColumnType::String => TypeKind::String,
        ColumnType::Char(length) => {
            own.maximum_length = Some(*length);
            TypeKind::Char
        }
        ColumnType::Varchar(length) => {
            own.maximum_length = Some(*length);
            TypeKind::Varchar
        }
        ColumnType::Binary => TypeKind::Binary,
        ColumnType::Date => TypeKind::Date,
        ColumnType::Timestamp(_) => TypeKind::Timestamp,
        ColumnType::Decimal { precision, scale } => {
            (own.precision, own.scale) = (Some((*precision).into()), Some((*scale).into()));
            TypeKind::Decimal
        }
        ColumnType::Array(_) => TypeKind::List,
        ColumnType::Map(..) => TypeKind::Map,
        ColumnType::Struct(_) => TypeKind::Struct,
    };
    own.kind = Some(kind as i32);
    types.push(own);
    for of in inside {
        let number = types.len() as u32;
        types[at].subtypes.push(number);
        push_types(of, types);
    }
}
