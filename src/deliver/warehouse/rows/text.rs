//! COPY's text format: fields end with a tab, lines with a line feed, and a backslash introduces what else would do so.

/// NULL; the same characters as a string begin with two backslashes.
pub(super) const NULL: &[u8] = b"\\N";

/// Writes text that may hold anything but NUL.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'\\' | b'\n' | b'\r' | b'\t')) {
        out.extend_from_slice(&rest[..at]);
        escape_byte(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        other => other,
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// Writes the characters of a JSON string, which stands in its quotes and is known to be one.
pub(super) fn string(quoted: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = &quoted[1..quoted.len() - 1];
    // Between JSON's escapes nothing stands that COPY would have escaped.
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let letter = rest[at + 1];
        rest = &rest[at + 2..];
        match letter {
            b'n' | b'r' | b't' | b'\\' => out.extend_from_slice(&[b'\\', letter]),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => character(&mut rest, out)?,
            same => out.push(same),
        }
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Writes the character behind `\u`.
fn character(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let high = unit(rest);
    let code = match high {
        0xD800..=0xDBFF if rest.starts_with(b"\\u") => {
            *rest = &rest[2..];
            match unit(rest) {
                low @ 0xDC00..=0xDFFF => 0x1_0000 + ((high - 0xD800) << 10 | (low - 0xDC00)),
                _ => high,
            }
        }
        _ => high,
    };
    let c = char::from_u32(code).ok_or_else(|| format!("found half a character, `\\u{high:04x}`"))?;
    match c {
        '\0' => return Err("found the character NUL, which the database cannot keep".to_owned()),
        '\\' | '\n' | '\r' | '\t' => escape_byte(c as u8, out),
        _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    Ok(())
}

/// Takes four hexadecimal digits.
fn unit(rest: &mut &[u8]) -> u32 {
    let (digits, behind) = rest.split_at(4);
    *rest = behind;
    digits.iter().fold(0, |code, digit| code << 4 | char::from(*digit).to_digit(16).unwrap_or_default())
}
