import com.alibaba.fastjson.JSON;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.protocol.route.QueueData;
import org.apache.rocketmq.common.protocol.route.TopicRouteData;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Drives the official Java client: `Interop produce|ask|pull NAMESRV TOPIC …`. One JSON line is its answer. */
public class Interop {
    static final long LONG_AGO = 0;
    static final long FAR_AHEAD = Long.MAX_VALUE;

    /** The client's threads keep a program alive, so it is halted, also when something goes wrong. */
    public static void main(String[] words) {
        int status = 1;
        try {
            System.out.println(JSON.toJSONString(run(words)));
            status = 0;
        } catch (Throwable error) {
            error.printStackTrace(System.out);
        }
        System.out.flush();
        Runtime.getRuntime().halt(status);
    }

    static Map<String, Object> run(String[] words) throws Exception {
        if (words[0].equals("produce")) {
            return produce(words[1], words[2]);
        } else if (words[0].equals("ask")) {
            return ask(words[1], words[2], words[3]);
        }
        return pull(words[1], words[2], words[3]);
    }

    static Message message(String topic, String tag, String keys, String body) {
        return new Message(topic, tag, keys, body.getBytes(StandardCharsets.UTF_8));
    }

    static Map<String, Object> told(SendResult result) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("status", result.getSendStatus().name());
        row.put("msgId", result.getMsgId());
        row.put("offsetMsgId", result.getOffsetMsgId());
        row.put("queueId", result.getMessageQueue().getQueueId());
        row.put("queueOffset", result.getQueueOffset());
        return row;
    }

    /** Every way of sending; the topic does not exist yet. */
    static Map<String, Object> produce(String namesrv, String topic) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("PG_java");
        producer.setNamesrvAddr(namesrv);
        producer.setClientIP("127.0.0.1");
        producer.start();
        Map<String, Object> answer = new LinkedHashMap<>();
        List<Object> single = new ArrayList<>();
        for (int number = 0; number < 5; number++) {
            single.add(told(producer.send(message(topic, "TagA", "key" + number + " all", "single " + number + " é 中"))));
        }
        StringBuilder large = new StringBuilder("large ");
        for (int number = 0; number < 10000; number++) {
            large.append('x');
        }
        single.add(told(producer.send(message(topic, "TagL", "large", large.toString()))));
        single.add(told(producer.send(message(topic, null, null, "bare"))));
        answer.put("single", single);
        Message withProperty = message(topic, "TagP", "", "property");
        withProperty.putUserProperty("colour", "blue");
        withProperty.setFlag(7);
        answer.put("property", told(producer.send(withProperty)));
        List<Message> batch = Arrays.asList(
            message(topic, "TagB", "b0", "batch 0"), message(topic, "TagB", "b1", "batch 1"),
            message(topic, "TagB", "b2", "batch 2"));
        answer.put("batch", told(producer.send(batch)));
        List<Object> asynchronous = new ArrayList<>();
        CountDownLatch done = new CountDownLatch(4);
        for (int number = 0; number < 4; number++) {
            producer.send(message(topic, "TagC", "", "asynchronous " + number), new SendCallback() {
                public void onSuccess(SendResult result) {
                    synchronized (asynchronous) {
                        asynchronous.add(told(result));
                    }
                    done.countDown();
                }

                public void onException(Throwable error) {
                    error.printStackTrace();
                    done.countDown();
                }
            });
        }
        done.await(20, TimeUnit.SECONDS);
        answer.put("asynchronous", asynchronous);
        for (int number = 0; number < 3; number++) {
            producer.sendOneway(message(topic, "TagO", "", "one-way " + number));
        }
        Thread.sleep(1000);
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        answer.put("queues", queues.size());
        MessageQueue chosen = queues.get(2);
        answer.put("chosen", told(producer.send(message(topic, "TagQ", "", "to queue 2"), chosen)));
        answer.put("refused", refusal(producer, topic));
        producer.shutdown();
        return answer;
    }

    /** What the broker says to a queue that the topic does not have. */
    static String refusal(DefaultMQProducer producer, String topic) throws Exception {
        try {
            producer.send(message(topic, "", "", "nowhere"), new MessageQueue(topic, "broker-a", 99));
            return "none";
        } catch (MQBrokerException error) {
            return "code " + error.getResponseCode();
        }
    }

    static Map<String, Object> row(MessageExt message) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("body", new String(message.getBody(), StandardCharsets.UTF_8));
        row.put("tags", message.getTags());
        row.put("keys", message.getKeys());
        row.put("queueId", message.getQueueId());
        row.put("queueOffset", message.getQueueOffset());
        row.put("storeTime", message.getStoreTimestamp());
        row.put("flag", message.getFlag());
        row.put("msgId", message.getMsgId());
        return row;
    }

    static List<Object> rows(List<MessageExt> messages) {
        List<Object> found = new ArrayList<>();
        for (MessageExt message : messages) {
            found.add(row(message));
        }
        return found;
    }

    /** The questions of the admin tool: by id, by key, by time, and about queues. */
    static Map<String, Object> ask(String namesrv, String topic, String offsetMsgId) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(namesrv);
        admin.start();
        Map<String, Object> answer = new LinkedHashMap<>();
        MessageExt seen = admin.viewMessage(topic, offsetMsgId);
        answer.put("viewMessage", row(seen));
        answer.put("viewMessage, unknown place", problem(() -> admin.viewMessage(offsetMsgId.substring(0, 16) + "000000000000FFFF")));
        answer.put("byUniqKey", row(admin.viewMessage(topic, seen.getProperty("UNIQ_KEY"))));
        QueryResult byKey = admin.queryMessage(topic, "key3", 32, LONG_AGO, FAR_AHEAD);
        answer.put("byKey", rows(byKey.getMessageList()));
        answer.put("byKeyOfFive", admin.queryMessage(topic, "all", 32, LONG_AGO, FAR_AHEAD).getMessageList().size());
        long at = seen.getStoreTimestamp(); // the index keeps whole seconds
        answer.put("byKeyAndTime", admin.queryMessage(topic, "key3", 32, at - 1000, at).getMessageList().size());
        answer.put("byKeyAndTime, before", problem(() -> admin.queryMessage(topic, "key3", 32, at - 9000, at - 5000)));
        answer.put("byKeyAndTime, after", problem(() -> admin.queryMessage(topic, "key3", 32, at + 1000, FAR_AHEAD)));
        answer.put("byKey, none", problem(() -> admin.queryMessage(topic, "nobody", 32, LONG_AGO, FAR_AHEAD)));
        TopicRouteData route = admin.examineTopicRouteInfo(topic);
        answer.put("readQueues", route.getQueueDatas().get(0).getReadQueueNums());
        Map<String, Object> queues = new LinkedHashMap<>();
        QueueData readable = route.getQueueDatas().get(0);
        for (int number = 0; number < readable.getReadQueueNums(); number++) {
            MessageQueue queue = new MessageQueue(topic, readable.getBrokerName(), number);
            Map<String, Object> numbers = new LinkedHashMap<>();
            numbers.put("min", admin.minOffset(queue));
            numbers.put("max", admin.maxOffset(queue));
            numbers.put("earliest", admin.earliestMsgStoreTime(queue));
            numbers.put("atItsTime", admin.searchOffset(queue, seen.getStoreTimestamp()));
            numbers.put("atTheEnd", admin.searchOffset(queue, FAR_AHEAD));
            numbers.put("atTheBeginning", admin.searchOffset(queue, LONG_AGO));
            queues.put(String.valueOf(queue.getQueueId()), numbers);
        }
        answer.put("queues", queues);
        String address = route.getBrokerDatas().get(0).getBrokerAddrs().get(MixAll.MASTER_ID);
        admin.createAndUpdateTopicConfig(address, new TopicConfig("MadeByAdmin", 3, 3, 6));
        Thread.sleep(200);
        answer.put("created", admin.examineTopicRouteInfo("MadeByAdmin").getQueueDatas().get(0).getWriteQueueNums());
        answer.put("topics", new TreeSet<>(admin.fetchAllTopicList().getTopicList()).contains("MadeByAdmin"));
        answer.put("unknown topic", problem(() -> admin.examineTopicRouteInfo("Nobody")));
        answer.put("all groups", admin.getAllSubscriptionGroup(address, 3000).getSubscriptionGroupTable().containsKey("TOOLS_CONSUMER"));
        return answer;
    }

    interface Attempt {
        Object run() throws Exception;
    }

    static String problem(Attempt attempt) {
        try {
            return String.valueOf(attempt.run());
        } catch (Exception error) {
            return error.getClass().getSimpleName();
        }
    }

    /** Everything of a topic by the pull consumer, and its committed offsets. */
    static Map<String, Object> pull(String namesrv, String topic, String expression) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("CG_java");
        consumer.setNamesrvAddr(namesrv);
        consumer.setClientIP("127.0.0.1");
        consumer.start();
        Map<String, Object> answer = new LinkedHashMap<>();
        List<MessageExt> found = new ArrayList<>();
        TreeSet<String> ends = new TreeSet<>();
        boolean kept = true;
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
            long next = 0;
            PullResult result = consumer.pull(queue, expression, next, 32);
            while (result.getPullStatus() != PullStatus.NO_NEW_MSG) {
                if (result.getMsgFoundList() != null) {
                    found.addAll(result.getMsgFoundList());
                }
                next = result.getNextBeginOffset();
                result = consumer.pull(queue, expression, next, 32);
            }
            ends.add(result.getPullStatus().name());
            ends.add(consumer.pull(queue, expression, next + 1000, 32).getPullStatus().name());
            consumer.updateConsumeOffset(queue, next);
            consumer.getOffsetStore().persist(queue);
            Thread.sleep(100);
            kept &= consumer.fetchConsumeOffset(queue, true) == next;
        }
        answer.put("messages", rows(found));
        answer.put("ends", ends);
        answer.put("kept", kept);
        consumer.shutdown();
        return answer;
    }
}
