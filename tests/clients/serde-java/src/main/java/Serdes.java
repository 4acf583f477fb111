import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Properties;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hive.common.type.HiveBaseChar;
import org.apache.hadoop.hive.serde2.AbstractSerDe;
import org.apache.hadoop.hive.serde2.SerDeException;
import org.apache.hadoop.hive.serde2.objectinspector.PrimitiveObjectInspector;
import org.apache.hadoop.hive.serde2.objectinspector.StructObjectInspector;
import org.apache.hadoop.io.Text;

/**
 * Answers what JSON values become in columns of Hive, by OpenX's SerDe and by Hive's own.
 *
 * <p>A line of standard input is a question: the type of a column and a value, with a tab between them. It is printed with
 * two more columns, the answers of OpenX's and of Hive's. Texts are JSON of ASCII, binary values hexadecimal digits, and
 * everything else is as it prints itself; what cannot be read is `error`.
 *
 * <p>Run it with `-Dfile.encoding=UTF-8`: before Java 18, the bytes that Hive's makes of a text are those of the machine's
 * encoding otherwise.
 */
public final class Serdes {
    private static final Configuration CONFIGURATION = new Configuration();

    public static void main(String[] arguments) throws IOException, SerDeException {
        var questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            String[] question = line.split("\t", 2);
            String openx = answer(new org.openx.data.jsonserde.JsonSerDe(), question[0], question[1]);
            String hive = answer(new org.apache.hive.hcatalog.data.JsonSerDe(), question[0], question[1]);
            out.print(line + "\t" + openx + "\t" + hive + "\n");
        }
        System.exit(out.checkError() ? 1 : 0);
    }

    private static String answer(AbstractSerDe serde, String type, String json) throws SerDeException {
        Properties table = new Properties();
        table.setProperty("columns", "v");
        table.setProperty("columns.types", type);
        serde.initialize(CONFIGURATION, table);
        var rows = (StructObjectInspector) serde.getObjectInspector();
        var column = rows.getStructFieldRef("v");
        var values = (PrimitiveObjectInspector) column.getFieldObjectInspector();
        try {
            Object row = serde.deserialize(new Text("{\"v\":" + json + "}"));
            Object value = rows.getStructFieldData(row, column);
            // Hive asks no inspector about null, and those of OpenX's fail on it.
            return value == null ? "null" : printed(values.getPrimitiveJavaObject(value));
        } catch (SerDeException | RuntimeException refused) {
            return "error";
        }
    }

    private static String printed(Object value) {
        if (value instanceof byte[] bytes) {
            return "0x" + HexFormat.of().formatHex(bytes);
        }
        boolean text = value instanceof String || value instanceof HiveBaseChar;
        return text ? quoted(value.toString()) : String.valueOf(value);
    }

    private static String quoted(String text) {
        StringBuilder to = new StringBuilder("\"");
        for (char one : text.toCharArray()) {
            if (one == '"' || one == '\\') {
                to.append('\\').append(one);
            } else if (one < ' ' || one > '~') {
                to.append(String.format("\\u%04x", (int) one));
            } else {
                to.append(one);
            }
        }
        return to.append('"').toString();
    }
}
