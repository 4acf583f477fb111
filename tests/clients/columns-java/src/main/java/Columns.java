import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.LongStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.orc.OrcFile;
import org.apache.orc.Reader;
import org.apache.orc.RecordReader;
import org.apache.orc.TypeDescription;
import org.apache.orc.storage.ql.exec.vector.BytesColumnVector;
import org.apache.orc.storage.ql.exec.vector.ColumnVector;
import org.apache.orc.storage.ql.exec.vector.DecimalColumnVector;
import org.apache.orc.storage.ql.exec.vector.DoubleColumnVector;
import org.apache.orc.storage.ql.exec.vector.ListColumnVector;
import org.apache.orc.storage.ql.exec.vector.LongColumnVector;
import org.apache.orc.storage.ql.exec.vector.MapColumnVector;
import org.apache.orc.storage.ql.exec.vector.StructColumnVector;
import org.apache.orc.storage.ql.exec.vector.TimestampColumnVector;
import org.apache.orc.storage.ql.exec.vector.VectorizedRowBatch;
import org.apache.orc.storage.ql.io.sarg.PredicateLeaf;
import org.apache.orc.storage.ql.io.sarg.SearchArgumentFactory;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.schema.GroupType;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.DateLogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.DecimalLogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.ListLogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.MapLogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.StringLogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.TimestampLogicalTypeAnnotation;
import org.apache.parquet.schema.PrimitiveType;
import org.apache.parquet.schema.Type;

/**
 * Prints the rows of ORC and Parquet files as lines of JSON, as Apache's own libraries read them.
 *
 * <p>Arguments: files, which are told apart by their ends, `.orc` and `.parquet`. In front of them, for ORC files:
 *
 * <ul>
 *   <li>`--seek` goes to single rows too, which have to be those read in sequence;
 *   <li>`--where COLUMN MIN MAX` reads once more and lets the library skip rows by the statistics of that column of
 *       integers, which must not lose one between the two, both of which belong to the range.
 * </ul>
 *
 * <p>Decimals, days and times are strings, the latter of UTC with nine digits; binary values are base64, maps arrays of
 * pairs. A number that JSON does not have is `NaN`, `Infinity` or `-Infinity`.
 */
public final class Columns {
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSSSSS");
    private static final PrintStream OUT = new PrintStream(
            new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false, StandardCharsets.UTF_8);

    private static boolean failed;

    public static void main(String[] arguments) throws IOException {
        // Hadoop warns that it has no library of machine code, which nobody needs here.
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        System.setProperty("org.slf4j.simpleLogger.log.org.apache.hadoop.util.NativeCodeLoader", "error");
        boolean seek = false;
        Where where = null;
        int at = 0;
        for (; at < arguments.length && arguments[at].startsWith("--"); at++) {
            if (arguments[at].equals("--seek")) {
                seek = true;
            } else if (arguments[at].equals("--where") && at + 3 < arguments.length) {
                where = new Where(
                        arguments[at + 1], Long.parseLong(arguments[at + 2]), Long.parseLong(arguments[at + 3]));
                at += 3;
            } else {
                throw new IllegalArgumentException(arguments[at]);
            }
        }
        for (String file : Arrays.asList(arguments).subList(at, arguments.length)) {
            if (file.endsWith(".orc")) {
                orc(file, seek, where);
            } else if (file.endsWith(".parquet")) {
                parquet(file);
            } else {
                throw new IllegalArgumentException(file);
            }
        }
        OUT.flush();
        System.exit(failed || OUT.checkError() ? 1 : 0);
    }

    /** A range of a column of integers. */
    private record Where(String column, long min, long max) {
        boolean has(Map<?, ?> row) {
            return row.get(column) instanceof Long value && min <= value && value <= max;
        }
    }

    private static void orc(String file, boolean seek, Where where) throws IOException {
        // Without these two, times depend on the time zone of the machine, and days before 1582 on the Julian calendar.
        var options = OrcFile.readerOptions(new Configuration()).useUTCTimestamp(true).convertToProlepticGregorian(true);
        try (Reader reader = OrcFile.createReader(new Path(file), options)) {
            List<Map<?, ?>> all = read(reader, reader.options());
            for (Map<?, ?> row : all) {
                OUT.println(json(row));
            }
            check(all.size() == reader.getNumberOfRows(), file + ": " + all.size() + " rows, not those of its footer");
            if (seek && !all.isEmpty()) {
                seek(file, reader, all);
            }
            if (where != null) {
                skip(file, reader, all, where);
            }
        }
    }

    private static List<Map<?, ?>> read(Reader reader, Reader.Options options) throws IOException {
        List<Map<?, ?>> all = new ArrayList<>();
        VectorizedRowBatch batch = reader.getSchema().createRowBatch();
        try (RecordReader rows = reader.rows(options)) {
            while (rows.nextBatch(batch)) {
                for (int row = 0; row < batch.size; row++) {
                    all.add(row(reader.getSchema(), batch.cols, row));
                }
            }
        }
        return all;
    }

    private static void seek(String file, Reader reader, List<Map<?, ?>> all) throws IOException {
        long last = all.size() - 1;
        LongStream some = LongStream.of(0, 1, 9999, 10000, 10001, 19999, 20000, last).filter(row -> row <= last);
        LongStream random = new Random(1).longs(50, 0, all.size());
        VectorizedRowBatch batch = reader.getSchema().createRowBatch();
        try (RecordReader rows = reader.rows()) {
            for (long row : LongStream.concat(some, random).toArray()) {
                rows.seekToRow(row);
                String wanted = json(all.get((int) row));
                String found = rows.nextBatch(batch) ? json(row(reader.getSchema(), batch.cols, 0)) : "nothing";
                check(found.equals(wanted), file + ": row " + row + " is " + wanted + ", and " + found + " by seekToRow");
            }
        }
    }

    private static void skip(String file, Reader reader, List<Map<?, ?>> all, Where where) throws IOException {
        var between = SearchArgumentFactory.newBuilder()
                .between(where.column, PredicateLeaf.Type.LONG, where.min, where.max)
                .build();
        var found = read(reader, reader.options().searchArgument(between, new String[] {where.column}));
        var wanted = all.stream().filter(where::has).map(Columns::json).toList();
        System.err.println(file + ": " + found.size() + " of " + all.size() + " rows read, " + wanted.size() + " match");
        check(
                found.stream().filter(where::has).map(Columns::json).toList().equals(wanted),
                file + ": not all rows that match are among those read");
    }

    private static void check(boolean fine, String otherwise) {
        if (!fine) {
            System.err.println(otherwise);
            failed = true;
        }
    }

    private static Map<?, ?> row(TypeDescription struct, ColumnVector[] columns, int row) {
        Map<String, Object> values = new LinkedHashMap<>();
        for (int i = 0; i < columns.length; i++) {
            values.put(struct.getFieldNames().get(i), value(struct.getChildren().get(i), columns[i], row));
        }
        return values;
    }

    private static Object value(TypeDescription type, ColumnVector column, int row) {
        int at = column.isRepeating ? 0 : row;
        if (!column.noNulls && column.isNull[at]) {
            return null;
        }
        return switch (type.getCategory()) {
            case BOOLEAN -> ((LongColumnVector) column).vector[at] != 0;
            case BYTE, SHORT, INT, LONG -> ((LongColumnVector) column).vector[at];
            case DATE -> LocalDate.ofEpochDay(((LongColumnVector) column).vector[at]).toString();
            case FLOAT -> (float) ((DoubleColumnVector) column).vector[at];
            case DOUBLE -> ((DoubleColumnVector) column).vector[at];
            case STRING, CHAR, VARCHAR -> ((BytesColumnVector) column).toString(at);
            case BINARY -> {
                BytesColumnVector bytes = (BytesColumnVector) column;
                int start = bytes.start[at];
                yield base64(Arrays.copyOfRange(bytes.vector[at], start, start + bytes.length[at]));
            }
            case TIMESTAMP, TIMESTAMP_INSTANT -> {
                TimestampColumnVector times = (TimestampColumnVector) column;
                yield time(Math.floorDiv(times.time[at], 1000L), times.nanos[at]);
            }
            case DECIMAL -> ((DecimalColumnVector) column)
                    .vector[at].getHiveDecimal().bigDecimalValue().setScale(type.getScale()).toPlainString();
            case LIST -> {
                ListColumnVector lists = (ListColumnVector) column;
                List<Object> values = new ArrayList<>();
                for (long i = lists.offsets[at]; i < lists.offsets[at] + lists.lengths[at]; i++) {
                    values.add(value(type.getChildren().get(0), lists.child, (int) i));
                }
                yield values;
            }
            case MAP -> {
                MapColumnVector maps = (MapColumnVector) column;
                List<Object> pairs = new ArrayList<>();
                for (long i = maps.offsets[at]; i < maps.offsets[at] + maps.lengths[at]; i++) {
                    pairs.add(Arrays.asList(
                            value(type.getChildren().get(0), maps.keys, (int) i),
                            value(type.getChildren().get(1), maps.values, (int) i)));
                }
                yield pairs;
            }
            case STRUCT -> row(type, ((StructColumnVector) column).fields, at);
            default -> throw new IllegalArgumentException(type.toString());
        };
    }

    private static void parquet(String file) throws IOException {
        try (ParquetReader<Group> rows = ParquetReader.builder(new GroupReadSupport(), new Path(file)).build()) {
            for (Group row = rows.read(); row != null; row = rows.read()) {
                OUT.println(json(struct(row)));
            }
        }
    }

    private static Map<?, ?> struct(Group group) {
        Map<String, Object> values = new LinkedHashMap<>();
        for (Type field : group.getType().getFields()) {
            values.put(field.getName(), value(group, field));
        }
        return values;
    }

    private static Object value(Group group, Type field) {
        String name = field.getName();
        if (group.getFieldRepetitionCount(name) == 0) {
            return null;
        }
        if (field.isPrimitive()) {
            return primitive(group, field.asPrimitiveType());
        }
        Group inner = group.getGroup(name, 0);
        LogicalTypeAnnotation kind = field.getLogicalTypeAnnotation();
        boolean list = kind instanceof ListLogicalTypeAnnotation;
        if (!list && !(kind instanceof MapLogicalTypeAnnotation)) {
            return struct(inner);
        }
        GroupType entry = field.asGroupType().getType(0).asGroupType();
        List<Object> values = new ArrayList<>();
        for (int i = 0; i < inner.getFieldRepetitionCount(0); i++) {
            Group one = inner.getGroup(0, i);
            Object first = value(one, entry.getType(0));
            values.add(list ? first : Arrays.asList(first, value(one, entry.getType(1))));
        }
        return values;
    }

    private static Object primitive(Group group, PrimitiveType type) {
        String name = type.getName();
        LogicalTypeAnnotation kind = type.getLogicalTypeAnnotation();
        return switch (type.getPrimitiveTypeName()) {
            case BOOLEAN -> group.getBoolean(name, 0);
            case FLOAT -> group.getFloat(name, 0);
            case DOUBLE -> group.getDouble(name, 0);
            case INT32 -> integer(group.getInteger(name, 0), kind);
            case INT64 -> integer(group.getLong(name, 0), kind);
            case BINARY, FIXED_LEN_BYTE_ARRAY -> {
                byte[] bytes = group.getBinary(name, 0).getBytes();
                if (kind instanceof DecimalLogicalTypeAnnotation decimal) {
                    yield new BigDecimal(new BigInteger(bytes), decimal.getScale()).toPlainString();
                }
                boolean text = kind instanceof StringLogicalTypeAnnotation;
                yield text ? new String(bytes, StandardCharsets.UTF_8) : base64(bytes);
            }
            default -> throw new IllegalArgumentException(type.toString());
        };
    }

    private static Object integer(long value, LogicalTypeAnnotation kind) {
        if (kind instanceof DateLogicalTypeAnnotation) {
            return LocalDate.ofEpochDay(value).toString();
        }
        if (kind instanceof DecimalLogicalTypeAnnotation decimal) {
            return BigDecimal.valueOf(value, decimal.getScale()).toPlainString();
        }
        if (kind instanceof TimestampLogicalTypeAnnotation timestamp) {
            long units = switch (timestamp.getUnit()) {
                case MILLIS -> 1_000L;
                case MICROS -> 1_000_000L;
                case NANOS -> 1_000_000_000L;
            };
            return time(Math.floorDiv(value, units), Math.floorMod(value, units) * (1_000_000_000 / units));
        }
        return value;
    }

    private static String time(long seconds, long nanos) {
        return LocalDateTime.ofEpochSecond(seconds, (int) nanos, ZoneOffset.UTC).format(TIME);
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    private static String json(Object value) {
        StringBuilder text = new StringBuilder();
        json(value, text);
        return text.toString();
    }

    private static void json(Object value, StringBuilder to) {
        if (value instanceof String text) {
            quoted(text, to);
        } else if (value instanceof List<?> list) {
            String between = "[";
            for (Object one : list) {
                to.append(between);
                json(one, to);
                between = ", ";
            }
            to.append(list.isEmpty() ? "[]" : "]");
        } else if (value instanceof Map<?, ?> struct) {
            String between = "{";
            for (var field : struct.entrySet()) {
                to.append(between);
                quoted((String) field.getKey(), to);
                to.append(": ");
                json(field.getValue(), to);
                between = ", ";
            }
            to.append(struct.isEmpty() ? "{}" : "}");
        } else {
            to.append(value);
        }
    }

    private static void quoted(String text, StringBuilder to) {
        to.append('"');
        for (char one : text.toCharArray()) {
            if (one == '"' || one == '\\') {
                to.append('\\').append(one);
            } else if (one < ' ') {
                to.append(String.format("\\u%04x", (int) one));
            } else {
                to.append(one);
            }
        }
        to.append('"');
    }
}
