//! JSON arrays as PostgreSQL writes arrays: `{1,"two",NULL}`.

use serde_json::value::RawValue;

/// Deeper than PostgreSQL's arrays go (6); what lies below has no meaning to it.
const DEPTH_MAX: usize = 16;

/// The array; with `json` its elements are JSON, arrays among them.
pub(super) fn literal(array: &[u8], json: bool) -> Result<String, String> {
    let array = std::str::from_utf8(array).map_err(|e| e.to_string())?;
    let mut out = String::with_capacity(array.len());
    write(array, json, DEPTH_MAX, &mut out)?;
    Ok(out)
}

fn write(array: &str, json: bool, depth: usize, out: &mut String) -> Result<(), String> {
    if depth == 0 {
        return Err(format!("found arrays in arrays more than {DEPTH_MAX} deep"));
    }
    let elements: Vec<&RawValue> = serde_json::from_str(array).map_err(|e| e.to_string())?;
    out.push('{');
    for (i, element) in elements.iter().map(|element| element.get()).enumerate() {
        if i > 0 {
            out.push(',');
        }
        match element.as_bytes()[0] {
            b'n' => out.push_str("NULL"),
            _ if json => quoted(element, out),
            b'[' => write(element, json, depth - 1, out)?,
            b'"' => quoted(&characters(element)?, out),
            b'{' => quoted(element, out),
            _ => out.push_str(element),
        }
    }
    out.push('}');
    Ok(())
}

fn characters(string: &str) -> Result<String, String> {
    let characters: String = serde_json::from_str(string).map_err(|_| "found half a character".to_owned())?;
    match characters.contains('\0') {
        true => Err("found the character NUL, which the database cannot keep".to_owned()),
        false => Ok(characters),
    }
}

/// An element in quotes is never taken for NULL or the array's own signs.
fn quoted(element: &str, out: &mut String) {
    out.push('"');
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}
