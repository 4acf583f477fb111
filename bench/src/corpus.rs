//! Records to measure with: three kinds, made from a seed, the same on every machine and in every release. `weblog` is
//! about 570 bytes a record (19 columns, one struct), `iot` 200 (12 columns), `click` 1,370 (structs, lists of structs
//! with lists). Each record ends with a newline, as producers that want lines send it.

use arrow_schema::SchemaRef;
use hydrant::config::parse_columns;
use hydrant::format::schema::{TableSchema, TimestampUnit};
use std::fmt::{Result, Write};

const SEED: u64 = 42;
/// 2026-03-01T00:00:00Z.
const FIRST_MS: u64 = 1_772_323_200_000;

/// Which records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Weblog,
    Iot,
    Click,
}

/// Records, one after the other.
pub struct Corpus {
    pub kind: Kind,
    data: Vec<u8>,
    /// Where each record ends, its newline included.
    ends: Vec<usize>,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Weblog => "weblog",
            Kind::Iot => "iot",
            Kind::Click => "click",
        }
    }

    /// The file that a stream's `format.parquet.schema` names.
    pub fn columns_yaml(self) -> &'static str {
        match self {
            Kind::Weblog => WEBLOG_COLUMNS,
            Kind::Iot => IOT_COLUMNS,
            Kind::Click => CLICK_COLUMNS,
        }
    }

    /// The same as the service reads it.
    pub fn table(self) -> std::result::Result<TableSchema, String> {
        let columns = self.columns()?;
        TableSchema::parse(columns.iter().map(|(name, of)| (&**name, &**of))).map_err(|e| e.to_string())
    }

    /// The same as Arrow has it.
    pub fn schema(self) -> std::result::Result<SchemaRef, String> {
        Ok(self.table()?.arrow(TimestampUnit::Micros))
    }

    /// Names and types.
    pub fn columns(self) -> std::result::Result<Vec<(String, String)>, String> {
        let columns = parse_columns(self.columns_yaml(), self.name()).map_err(|e| e.to_string())?;
        Ok(columns.into_iter().map(|c| (c.name, c.type_text)).collect())
    }
}

impl Corpus {
    /// At least `bytes` bytes of whole records.
    pub fn generate(kind: Kind, bytes: usize) -> Corpus {
        let mut maker = Maker { out: String::with_capacity(bytes + 8192), random: Random(SEED), clock_ms: FIRST_MS };
        let mut ends = Vec::new();
        while maker.out.len() < bytes {
            let made = match kind {
                Kind::Weblog => maker.weblog(),
                Kind::Iot => maker.iot(),
                Kind::Click => maker.click(),
            };
            made.expect("a string takes any text");
            ends.push(maker.out.len());
        }
        Corpus { kind, data: maker.out.into_bytes(), ends }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.data[start..end])
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((self.next() as u128 * n as u128) >> 64) as u64
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 to below 1, small ones more often.
    fn skewed(&mut self) -> f64 {
        self.unit() * self.unit()
    }

    fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A rank below `n`, roughly by Zipf's law.
    fn rank(&mut self, n: u64) -> u64 {
        let rank = (n as f64 + 1.0).powf(self.unit()) - 1.0;
        (rank as u64).min(n - 1)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rank(from.len() as u64) as usize]
    }

    /// Roughly normal around 0.
    fn normal(&mut self) -> f64 {
        (0..6).map(|_| self.unit()).sum::<f64>() - 3.0
    }
}

struct Maker {
    out: String,
    random: Random,
    clock_ms: u64,
}

impl Maker {
    fn time(&mut self, ms: u64) -> Result {
        let at = jiff::Timestamp::from_millisecond(ms as i64).expect("a time of this century");
        write!(self.out, "{at:.3}")
    }

    fn uuid(&mut self) -> Result {
        let (a, b) = (self.random.next(), self.random.next());
        let (one, two, three) = (a >> 32, (a >> 16) & 0xffff, a & 0xfff);
        write!(self.out, "{one:08x}-{two:04x}-4{three:03x}-a{:03x}-{:012x}", b >> 52, b & 0xffff_ffff_ffff)
    }

    /// `text` formatted, or `null` with probability `p`.
    fn null_or(&mut self, p: f64, write: impl FnOnce(&mut Self) -> Result) -> Result {
        if self.random.chance(p) { self.out.write_str("null") } else { write(self) }
    }

    fn geo(&mut self) -> Result {
        let (country, region, city, lat, lon) = PLACES[self.random.rank(12) as usize];
        write!(
            self.out,
            r#","geo":{{"country":"{country}","region":"{region}","city":"{city}","lat":{lat:.4},"lon":{lon:.4}}}"#
        )
    }

    fn weblog(&mut self) -> Result {
        self.clock_ms += self.random.below(6);
        self.out.write_str("{\"timestamp\":\"")?;
        self.time(self.clock_ms)?;
        self.out.write_str("\",\"request_id\":\"")?;
        self.uuid()?;
        let ip = self.random.rank(200_000);
        let (b, c, d) = ((ip * 7919) % 256, (ip * 104_729) % 256, ip % 254 + 1);
        write!(self.out, "\",\"client_ip\":\"{}.{b}.{c}.{d}\"", 20 + ip % 180)?;
        let method = ["GET", "GET", "GET", "POST", "PUT", "HEAD"][self.random.below(6) as usize];
        write!(self.out, ",\"method\":\"{method}\",\"path\":\"")?;
        let r = &mut self.random;
        match r.below(4) {
            0 => write!(self.out, "/api/v1/products/{}", r.rank(50_000))?,
            1 => write!(self.out, "/search?q=term{}&page={}", r.rank(20_000), r.rank(20))?,
            2 => write!(self.out, "/static/js/app.{:x}.js", r.rank(64))?,
            _ => write!(self.out, "/users/{}/orders", r.rank(100_000))?,
        }
        self.weblog_answer()?;
        self.geo()?;
        let edge = self.random.pick(&EDGES);
        let retries = if self.random.chance(0.97) { 0 } else { self.random.below(4) };
        writeln!(self.out, ",\"edge\":\"{edge}\",\"retries\":{retries}}}")
    }

    fn weblog_answer(&mut self) -> Result {
        let r = &mut self.random;
        let status = match r.below(100) {
            0..=86 => 200,
            87..=91 => 304,
            92..=95 => 404,
            96..=97 => 302,
            98 => 500,
            _ => 429,
        };
        let (protocol, seconds) = (if r.chance(0.7) { "2.0" } else { "1.1" }, 0.002 + r.skewed() * 0.8);
        write!(self.out, "\",\"protocol\":\"HTTP/{protocol}\",\"status\":{status}")?;
        let sent = 200 + r.rank(900_000);
        write!(self.out, ",\"bytes_sent\":{sent},\"request_time\":{seconds:.4},\"upstream_time\":")?;
        self.null_or(0.3, |m| write!(m.out, "{:.4}", seconds * 0.9))?;
        let host = self.random.pick(&["www", "api", "cdn", "shop"]);
        let agent = self.random.pick(&AGENTS);
        write!(self.out, ",\"host\":\"{host}.example.com\",\"user_agent\":\"{agent}\",\"referer\":")?;
        self.null_or(0.4, |m| {
            write!(m.out, "\"https://www.example.com/c/{}", m.random.rank(500))?;
            m.out.write_str(if m.random.chance(0.02) { "?q=\\\"caf\\u00e9\\\"\"" } else { "\"" })
        })?;
        let (tls, hit) = (self.random.chance(0.95), self.random.chance(0.6));
        write!(self.out, ",\"tls\":{tls},\"cache_hit\":{hit},\"user_id\":")?;
        self.null_or(0.5, |m| write!(m.out, "{}", 100_000 + m.random.rank(2_000_000)))
    }

    fn iot(&mut self) -> Result {
        self.clock_ms += self.random.below(3);
        let (now, r) = (self.clock_ms, &mut self.random);
        let device = r.below(5000);
        let sequence = now / 5000 % 1_000_000 + device;
        write!(self.out, "{{\"device_id\":\"dev-{device:06}\",\"ts\":{now},\"seq\":{sequence}")?;
        let (temperature, humidity, pressure) = (21.0 + r.normal() * 4.0, 45.0 + r.normal() * 8.0, r.normal() * 6.0);
        write!(self.out, ",\"temperature\":{temperature:.2},\"humidity\":{humidity:.1}")?;
        write!(self.out, ",\"pressure\":{:.2},\"battery\":{:.3}", 1013.0 + pressure, 3.3 + r.unit() * 0.9)?;
        let (rssi, minor, patch, ok) = (-40 - r.below(55) as i64, r.rank(6), r.rank(12), r.chance(0.99));
        write!(self.out, ",\"rssi\":{rssi},\"firmware\":\"1.{minor}.{patch}\",\"ok\":{ok},\"alarm\":")?;
        self.null_or(0.97, |m| write!(m.out, "\"E{:03}\"", m.random.rank(40)))?;
        writeln!(self.out, ",\"site\":\"plant-{:02}\"}}", device % 24)
    }

    fn click(&mut self) -> Result {
        self.clock_ms += self.random.below(10);
        self.out.write_str("{\"event_id\":\"")?;
        self.uuid()?;
        let event = self.random.pick(&["page_view", "click", "add_to_cart", "purchase", "scroll"]);
        write!(self.out, "\",\"event_type\":\"{event}\",\"event_time\":\"")?;
        self.time(self.clock_ms)?;
        self.out.write_str("\",\"received_time\":\"")?;
        let received = self.clock_ms + self.random.below(400);
        self.time(received)?;
        self.out.write_str("\"")?;
        self.click_session()?;
        self.click_page()?;
        self.geo()?;
        self.click_items()?;
        let (ads, analytics) = (self.random.chance(0.6), self.random.chance(0.9));
        write!(self.out, ",\"consent\":{{\"ads\":{ads},\"analytics\":{analytics}}},\"campaign\":")?;
        self.null_or(0.7, |m| {
            let name = m.random.rank(80);
            write!(m.out, "{{\"source\":\"news\",\"medium\":\"email\",\"name\":\"camp-{name}\"}}")
        })?;
        let (value, currency) = (self.random.unit() * 500.0, self.random.pick(&["USD", "EUR", "GBP"]));
        writeln!(self.out, ",\"value\":{value:.2},\"currency\":\"{currency}\"}}")
    }

    fn click_session(&mut self) -> Result {
        self.out.write_str(",\"session\":{\"id\":\"")?;
        self.uuid()?;
        let r = &mut self.random;
        let (sequence, started, new) = (r.rank(200), self.clock_ms - r.below(900_000), r.chance(0.2));
        write!(self.out, "\",\"sequence\":{sequence},\"started_ms\":{started},\"is_new\":{new}}},\"user\":{{\"id\":")?;
        self.null_or(0.3, |m| write!(m.out, "{}", m.random.rank(3_000_000)))?;
        self.out.write_str(",\"anonymous_id\":\"")?;
        self.uuid()?;
        self.out.write_str("\",\"segments\":[")?;
        for i in 0..self.random.below(5) {
            write!(self.out, "{}\"seg-{}\"", if i > 0 { "," } else { "" }, self.random.rank(60))?;
        }
        let r = &mut self.random;
        let (plan, age, value) = (r.pick(&["free", "pro", "team"]), r.below(2000), r.skewed() * 900.0);
        write!(self.out, "],\"traits\":{{\"plan\":\"{plan}\",\"age_days\":{age},\"ltv\":{value:.2}}}}}")
    }

    fn click_page(&mut self) -> Result {
        let r = &mut self.random;
        let (category, product, title) = (r.rank(200), r.rank(30_000), r.rank(30_000));
        write!(self.out, ",\"page\":{{\"url\":\"https://shop.example.com/c/{category}/p/{product}")?;
        self.out.write_str("?utm_source=news&utm_medium=email\"")?;
        write!(self.out, ",\"title\":\"Product {title} \u{2014} Example Shop\",\"referrer\":")?;
        self.null_or(0.5, |m| m.out.write_str("\"https://www.google.com/\""))?;
        let r = &mut self.random;
        write!(self.out, ",\"load_ms\":{},\"scroll_depth\":{:.3}}}", 80 + r.below(3000), r.unit())?;
        let (agent, system) = (r.pick(&AGENTS), r.pick(&["iOS", "Android", "Windows", "macOS", "Linux"]));
        write!(self.out, ",\"device\":{{\"ua\":\"{agent}\",\"os\":\"{system}\"")?;
        let (width, height, ratio) = (320 + r.below(1600), 480 + r.below(900), 1.0 + r.below(5) as f64 * 0.5);
        let touch = r.chance(0.6);
        write!(self.out, ",\"viewport\":[{width},{height}],\"dpr\":{ratio:.1},\"touch\":{touch}}}")
    }

    fn click_items(&mut self) -> Result {
        self.out.write_str(",\"items\":[")?;
        for i in 0..1 + self.random.below(5) {
            let r = &mut self.random;
            let comma = if i > 0 { "," } else { "" };
            let (sku, name) = (r.rank(30_000), r.rank(30_000));
            write!(self.out, "{comma}{{\"sku\":\"SKU-{sku:06}\",\"name\":\"Item number {name}\"")?;
            write!(self.out, ",\"price\":{:.2},\"qty\":{}", 1.0 + r.skewed() * 400.0, 1 + r.rank(4))?;
            write!(self.out, ",\"tags\":[\"t{}\",\"t{}\"]", r.rank(40), r.rank(40))?;
            if r.chance(0.3) {
                write!(self.out, ",\"discount\":{:.2}", r.unit())?;
            }
            self.out.write_str("}")?;
        }
        self.out.write_str("],\"experiments\":[")?;
        for i in 0..2 + self.random.below(4) {
            let comma = if i > 0 { "," } else { "" };
            let (name, variant) = (self.random.rank(30), ["control", "a", "b"][self.random.below(3) as usize]);
            write!(self.out, "{comma}{{\"name\":\"exp_{name}\",\"variant\":\"{variant}\"}}")?;
        }
        self.out.write_str("]")
    }
}

const PLACES: [(&str, &str, &str, f64, f64); 12] = [
    ("US", "CA", "San Francisco", 37.7749, -122.4194),
    ("US", "NY", "New York", 40.7128, -74.006),
    ("DE", "BE", "Berlin", 52.52, 13.405),
    ("FR", "IDF", "Paris", 48.8566, 2.3522),
    ("BR", "SP", "S\u{e3}o Paulo", -23.5505, -46.6333),
    ("JP", "13", "Tokyo", 35.6762, 139.6503),
    ("GB", "ENG", "London", 51.5074, -0.1278),
    ("IN", "MH", "Mumbai", 19.076, 72.8777),
    ("AU", "NSW", "Sydney", -33.8688, 151.2093),
    ("CH", "ZH", "Z\u{fc}rich", 47.3769, 8.5417),
    ("CA", "ON", "Toronto", 43.6532, -79.3832),
    ("SG", "01", "Singapore", 1.3521, 103.8198),
];

const AGENTS: [&str; 10] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "curl/8.5.0",
    "okhttp/4.12.0",
    "python-requests/2.31.0",
    "Go-http-client/2.0",
    "ELB-HealthChecker/2.0",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/124.0.0.0 Mobile Safari/537.36",
];

const EDGES: [&str; 8] = ["SFO5-C1", "IAD89-P2", "FRA56-C2", "CDG50-P1", "GRU3-C1", "NRT57-P3", "LHR61-C2", "SYD62-P1"];

const WEBLOG_COLUMNS: &str = "columns: { timestamp: timestamp, request_id: string, client_ip: string, method: string, \
path: string, protocol: string, status: int, bytes_sent: bigint, request_time: double, upstream_time: double, \
host: string, user_agent: string, referer: string, tls: boolean, cache_hit: boolean, user_id: bigint, \
geo: 'struct<country:string,region:string,city:string,lat:double,lon:double>', edge: string, retries: int }\n";

const IOT_COLUMNS: &str = "columns: { device_id: string, ts: bigint, seq: bigint, temperature: double, \
humidity: double, pressure: double, battery: double, rssi: int, firmware: string, ok: boolean, alarm: string, \
site: string }\n";

const CLICK_COLUMNS: &str = "columns: { event_id: string, event_type: string, event_time: timestamp, \
received_time: timestamp, session: 'struct<id:string,sequence:bigint,started_ms:bigint,is_new:boolean>', \
user: 'struct<id:bigint,anonymous_id:string,segments:array<string>,traits:struct<plan:string,age_days:int,ltv:double>>', \
page: 'struct<url:string,title:string,referrer:string,load_ms:int,scroll_depth:double>', \
device: 'struct<ua:string,os:string,viewport:array<int>,dpr:double,touch:boolean>', \
geo: 'struct<country:string,region:string,city:string,lat:double,lon:double>', \
items: 'array<struct<sku:string,name:string,price:double,qty:int,tags:array<string>,discount:double>>', \
experiments: 'array<struct<name:string,variant:string>>', consent: 'struct<ads:boolean,analytics:boolean>', \
campaign: 'struct<source:string,medium:string,name:string>', value: double, currency: string }\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_fits_its_columns_and_comes_again() {
        for kind in [Kind::Weblog, Kind::Iot, Kind::Click] {
            let corpus = Corpus::generate(kind, 200_000);
            assert_eq!(corpus.bytes(), Corpus::generate(kind, 200_000).bytes());
            let batches = arrow_json::ReaderBuilder::new(kind.schema().unwrap()).with_strict_mode(true);
            let rows: usize = batches.build(corpus.bytes()).unwrap().map(|b| b.unwrap().num_rows()).sum();
            assert_eq!(rows, corpus.len(), "{}", kind.name());
        }
    }
}
