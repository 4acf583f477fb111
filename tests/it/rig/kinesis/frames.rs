//! The framing of event streams (`application/vnd.amazon.eventstream`): lengths, a checksum of them, headers, payload, a
//! checksum of all. Source: "Amazon event stream specification" of Smithy.

/// Bytes of the two lengths and their checksum.
const PRELUDE: usize = 12;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Names and values; those of other types than string are left out, as Kinesis has none.
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first message of `buffer`, taken off it; `None` until it is whole. Panics if its checksums are wrong.
    pub fn take(buffer: &mut Vec<u8>) -> Option<Frame> {
        let number = |at: usize| Some(u32::from_be_bytes(buffer.get(at..at + 4)?.try_into().unwrap()) as usize);
        let (length, headers_length) = (number(0)?, number(4)?);
        if buffer.len() < length {
            return None;
        }
        assert_eq!(number(8)?, checksum(&buffer[..8]) as usize, "the prelude's checksum");
        assert_eq!(number(length - 4)?, checksum(&buffer[..length - 4]) as usize, "the message's checksum");
        let mut rest = &buffer[PRELUDE..PRELUDE + headers_length];
        let mut headers = Vec::new();
        while let [name_length, after @ ..] = rest {
            let (name, after) = after.split_at(usize::from(*name_length));
            assert_eq!(after[0], STRING, "headers are strings");
            let value_length = usize::from(u16::from_be_bytes([after[1], after[2]]));
            let (value, after) = after[3..].split_at(value_length);
            headers.push([name, value].map(|text| String::from_utf8(text.to_vec()).expect("headers are UTF-8")).into());
            rest = after;
        }
        let payload = buffer[PRELUDE + headers_length..length - 4].to_vec();
        buffer.drain(..length);
        Some(Frame { headers, payload })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            headers.push(u8::try_from(name.len()).expect("names are short"));
            headers.extend(name.bytes());
            headers.push(STRING);
            headers.extend(u16::try_from(value.len()).expect("values are short").to_be_bytes());
            headers.extend(value.bytes());
        }
        let length = PRELUDE + headers.len() + self.payload.len() + 4;
        let lengths = [length, headers.len()].map(|n| u32::try_from(n).expect("messages are short").to_be_bytes());
        let mut out = lengths.concat();
        out.extend(checksum(&out).to_be_bytes());
        out.extend(headers);
        out.extend(&self.payload);
        out.extend(checksum(&out).to_be_bytes());
        out
    }
}

const STRING: u8 = 7;

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
