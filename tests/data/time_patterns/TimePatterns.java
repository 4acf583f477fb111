// Writes the golden file for src/partition/time_pattern.rs: what Java 17 makes of each pattern.
//
//   java TimePatterns.java > golden.tsv        (Java 17, single-file source run, no arguments)
//
// A line is `pattern TAB zone TAB epoch_ms TAB result`; a pattern that Java refuses has the result `!error` (once).
// Every pattern meets every instant, the zones taking turns; the FULL ones meet every instant in every zone.
// Left out because we do not follow Java there: zone names in words (`zzzz`, `v`, `vvvv`), `z` before 1970 and where
// Java invents a name that the time zone database does not have (Australia/Lord_Howe), and years above 9999.

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Locale;

public class TimePatterns {
    static final String[] ZONES = {
        "UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Calcutta"
    };

    static final String[] INSTANTS = {
        // an ordinary day, the epoch and its neighbours
        "2026-07-13T14:05:09.007Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.001Z",
        // every hour-like boundary: midnight, noon, one second around them
        "2024-03-05T00:00:00Z", "2024-03-05T12:00:00Z", "2024-03-05T11:59:59.999Z", "2024-03-05T23:59:59.999Z",
        "2024-03-05T13:00:00.120Z", "2024-03-05T01:02:03.045Z",
        // year boundaries, where the week-based year differs; every weekday for 1 January
        "2018-12-30T12:00:00Z", "2018-12-31T23:59:59Z", "2019-01-01T00:00:00Z", "2020-12-26T12:00:00Z",
        "2020-12-27T12:00:00Z", "2021-01-01T00:00:00Z", "2021-01-03T00:00:00Z", "2022-01-01T00:00:00Z",
        "2022-12-31T23:59:59Z", "2023-01-01T00:00:00Z", "2024-12-28T12:00:00Z", "2024-12-29T12:00:00Z",
        "2024-12-31T23:59:59.999Z", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-12-27T12:00:00Z",
        "2016-12-31T12:00:00Z", "2011-12-31T12:00:00Z", "2000-01-01T00:00:00Z", "1999-12-31T23:59:59Z",
        // leap days and the century rule
        "2024-02-28T12:00:00Z", "2024-02-29T12:00:00Z", "2024-03-01T00:00:00Z", "2000-02-29T23:59:59Z",
        "1900-02-28T23:59:59Z", "2100-03-01T00:00:00Z", "2023-12-31T12:00:00Z", "2024-12-30T12:00:00Z",
        // clock changes: New York forward and back in 2024, Lord Howe (half an hour) back and forward
        "2024-03-10T06:59:59.999Z", "2024-03-10T07:00:00Z", "2024-11-03T05:30:00Z", "2024-11-03T06:30:00Z",
        "2024-04-06T14:59:59Z", "2024-04-06T15:00:00Z", "2024-10-05T15:29:59Z", "2024-10-05T15:30:00Z",
        // offsets with seconds (local mean time), India's war time, Kolkata before it was +05:30
        "1800-06-15T10:20:30Z", "1883-11-18T16:59:59Z", "1883-11-18T17:00:00Z", "1905-12-31T12:00:00Z",
        "1943-06-01T00:00:00Z",
        // small, zero, negative and large years
        "0999-05-06T07:08:09Z", "0099-12-31T23:00:00Z", "0001-01-01T00:00:00Z", "0000-12-31T12:00:00Z",
        "0000-02-29T00:00:00Z", "-0001-06-30T12:34:56.789Z", "-0044-03-15T09:00:00Z", "-9998-01-03T00:00:00Z",
        "9999-12-30T12:00:00Z", "9999-12-25T12:00:00Z", "5000-08-09T10:11:12.013Z"
    };

    static final String[] FULL = { "uuuu-MM-dd'T'HH:mm:ss.SSSXXXXX VV e W w YYYY" };

    static final String[] PATTERNS = {
        "y", "yy", "yyy", "yyyy", "yyyyy", "u", "uu", "uuu", "uuuu", "uuuuuuu", "Y", "YY", "YYY", "YYYY", "YYYYYY",
        "M MM", "MMM MMMM MMMMM", "L LL", "LLL LLLL LLLLL", "d dd", "D", "DD DDD", "H HH", "h hh", "k kk", "K KK",
        "m mm", "s ss", "S", "SS", "SSS", "SSSSSS", "SSSSSSSSS", "n", "nnnnnnnnnnnn", "N", "NNNNNNNNNNNNNNNNNN", "A",
        "AAAAAAAAAA", "a", "B BBBB BBBBB", "E", "EE EEE EEEE EEEEE", "e", "ee", "eee eeee eeeee", "c", "ccc cccc ccccc",
        "w", "ww", "W", "F", "g", "ggggggggg", "Q QQ", "QQQ QQQQ QQQQQ", "q qq", "qqq qqqq qqqqq", "G", "GGG GGGG GGGGG",
        "VV", "O", "OOOO", "X", "XX", "XXX XXXX XXXXX", "x", "xx", "xxx xxxx xxxxx", "Z", "ZZZ", "ZZZZ", "ZZZZZ",
        "yyyy/MM/dd/HH/", "YYYY/MM/dd/HH", "'year='yyyy'/month='MM'/day='dd", "'it''s' '' ''''yyyy", "''''''",
        "[yyyy][-MM[-dd]]", "[[yyyy", "ppppH", "ppMppdppppppppppppppppN", "\u00e9 yyyy\u5e74MM\u6708", "yyyy!\"$%&()*+,-./:;<=>?@\\^_`|~",
        ""
    };

    static final String[] ZONE_TEXT = { "z zz zzz" };

    static final String[] REFUSED = {
        "MMMMMM", "LLLLLL", "EEEEEE", "eeeeee", "cc", "cccccc", "QQQQQQ", "qqqqqq", "GGGGGG", "ddd", "HHH", "hhh", "kkk",
        "KKK", "mmm", "sss", "DDDD", "SSSSSSSSSS", "aa", "FF", "WW", "www", "V", "VVV", "zzzzz", "OO", "OOO", "OOOOO",
        "ZZZZZZ", "XXXXXX", "xxxxxx", "BB", "BBB", "BBBBBB", "yyyyyyyyyyyyyyyyyyyy", "uuuuuuuuuuuuuuuuuuuu",
        "nnnnnnnnnnnnnnnnnnnn", "NNNNNNNNNNNNNNNNNNNN", "AAAAAAAAAAAAAAAAAAAA", "gggggggggggggggggggg", "b", "C", "f",
        "I", "i", "J", "j", "l", "o", "P", "R", "r", "T", "t", "U", "p", "pp", "pp-", "pp'x'", "p[H]", "yyyy-MM-ddTHH",
        "{", "}", "#", "yyyy{MM}", "'", "yyyy'", "''' ", "yyyy]", "[yyyy]]", "]", "vv", "vvv", "vvvvv"
    };

    static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    static void line(String pattern, String zone, String instant) {
        Instant at = Instant.parse(instant);
        DateTimeFormatter formatter = DateTimeFormatter.ofPattern(pattern, Locale.ROOT);
        String result = formatter.format(ZonedDateTime.ofInstant(at, ZoneId.of(zone)));
        OUT.print(pattern + "\t" + zone + "\t" + at.toEpochMilli() + "\t" + result + "\n");
    }

    public static void main(String[] arguments) {
        for (String pattern : FULL) {
            for (String zone : ZONES) {
                for (String instant : INSTANTS) {
                    line(pattern, zone, instant);
                }
            }
        }
        for (int p = 0; p < PATTERNS.length; p++) {
            for (int i = 0; i < INSTANTS.length; i++) {
                line(PATTERNS[p], ZONES[(p + i) % ZONES.length], INSTANTS[i]);
            }
        }
        for (String pattern : ZONE_TEXT) {
            for (String zone : ZONES) {
                for (String instant : INSTANTS) {
                    if (!zone.equals("Australia/Lord_Howe") && Instant.parse(instant).toEpochMilli() >= 0) {
                        line(pattern, zone, instant);
                    }
                }
            }
        }
        for (String pattern : REFUSED) {
            try {
                DateTimeFormatter.ofPattern(pattern, Locale.ROOT);
                throw new IllegalStateException("java accepts " + pattern);
            } catch (IllegalArgumentException refused) {
                OUT.print(pattern + "\tUTC\t0\t!error\n");
            }
        }
        OUT.flush();
    }
}
