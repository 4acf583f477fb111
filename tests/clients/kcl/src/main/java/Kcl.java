import java.io.FileOutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Date;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.core.SdkSystemSetting;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.KinesisClientLibException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * An application of the Kinesis Client Library: reads the stream `s` with the lease table `leases`, writes each record as a
 * line, takes a checkpoint behind the last one of each answer, and ends when its input does.
 *
 * <p>Arguments: the endpoints of Kinesis and DynamoDB, the file, and how many records it takes at most (-1: all).
 */
public final class Kcl {
    private static long left;
    private static FileOutputStream out;

    public static void main(String[] arguments) throws Exception {
        out = new FileOutputStream(arguments[2], true);
        left = Long.parseLong(arguments[3]);
        System.setProperty(SdkSystemSetting.CBOR_ENABLED.property(), "false");
        KinesisAsyncClient kinesis = at(KinesisAsyncClient.builder(), arguments[0]).httpClientBuilder(http()).build();
        DynamoDbAsyncClient dynamodb = at(DynamoDbAsyncClient.builder(), arguments[1]).httpClientBuilder(http()).build();
        CloudWatchAsyncClient unused = at(CloudWatchAsyncClient.builder(), arguments[0]).httpClientBuilder(http()).build();
        InitialPositionInStreamExtended start =
                InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        String worker = "kcl-" + ProcessHandle.current().pid();
        ConfigsBuilder configs = new ConfigsBuilder(
                new SingleStreamTracker("s", start), "leases", kinesis, dynamodb, unused, worker, Processor::new);
        var retrieval = configs.retrievalConfig()
                .retrievalSpecificConfig(new PollingConfig("s", kinesis).idleTimeBetweenReadsInMillis(250));
        var leases = configs.leaseManagementConfig().failoverTimeMillis(2000).shardSyncIntervalMillis(1000);
        leases.leasesRecoveryAuditorExecutionFrequencyMillis(2000);
        var coordinator = configs.coordinatorConfig().parentShardPollIntervalMillis(500);
        coordinator.shardConsumerDispatchPollIntervalMillis(200);
        Scheduler scheduler = new Scheduler(
                configs.checkpointConfig(),
                coordinator,
                leases,
                configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
                configs.processorConfig(),
                retrieval);
        Thread thread = new Thread(scheduler);
        thread.setDaemon(true);
        thread.start();
        // Whoever started it closes this, or ends.
        while (System.in.read() >= 0) {}
        try {
            boolean ended = scheduler.startGracefulShutdown().get(15, TimeUnit.SECONDS);
            System.err.println(new Date() + " shut down gracefully: " + ended);
        } catch (TimeoutException e) {
            // KCL 2 waits for ever where it has just read a shard to its end. What was written has its checkpoint.
            System.err.println(new Date() + " does not shut down gracefully");
            scheduler.shutdown();
        }
        Runtime.getRuntime().halt(0);
    }

    private static <B extends AwsClientBuilder<B, C>, C> B at(B builder, String endpoint) {
        return builder.endpointOverride(URI.create(endpoint))
                .region(Region.US_EAST_1)
                .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("a", "b")));
    }

    private static NettyNioAsyncHttpClient.Builder http() {
        return NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1);
    }

    /** Whether one more record may be taken; it is written then. */
    private static synchronized boolean write(KinesisClientRecord record) {
        if (left == 0) {
            return false;
        }
        left--;
        try {
            byte[] data = new byte[record.data().remaining()];
            record.data().get(data);
            out.write((new String(data, StandardCharsets.UTF_8) + "\n").getBytes(StandardCharsets.UTF_8));
            return true;
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private static final class Processor implements ShardRecordProcessor {
        private KinesisClientRecord last;

        @Override
        public void initialize(InitializationInput input) {
            System.err.println(new Date() + " reads " + input.shardId() + " from " + input.extendedSequenceNumber());
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            System.err.println(new Date() + " got " + input.records().size() + " records");
            KinesisClientRecord before = last;
            for (KinesisClientRecord record : input.records()) {
                if (!write(record)) {
                    break;
                }
                last = record;
            }
            if (last != before) {
                checkpoint(input.checkpointer());
            }
        }

        private void checkpoint(RecordProcessorCheckpointer checkpointer) {
            try {
                if (last != null) {
                    checkpointer.checkpoint(last.sequenceNumber(), last.subSequenceNumber());
                }
            } catch (KinesisClientLibException e) {
                System.err.println(new Date() + " no checkpoint: " + e);
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {}

        @Override
        public void shardEnded(ShardEndedInput input) {
            try {
                input.checkpointer().checkpoint();
            } catch (KinesisClientLibException e) {
                System.err.println(new Date() + " no checkpoint at the end: " + e);
            }
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            checkpoint(input.checkpointer());
        }
    }
}
