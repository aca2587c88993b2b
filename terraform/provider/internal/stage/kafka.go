package stage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka is a broker, alone.
type Kafka struct {
	Bootstrap string
	folder    string
	process   *process
	client    *kgo.Client
}

// As quick as Kafka can be about groups and ending.
const properties = `process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.quorum.voters=1@127.0.0.1:%[2]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%[3]s
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
`

// StartKafka starts a broker, and waits until it answers.
func StartKafka() (*Kafka, error) {
	folder, err := os.MkdirTemp("", "fnbridge-terraform-kafka-")
	if err != nil {
		return nil, err
	}
	port, controller := freePort(), freePort()
	config := filepath.Join(folder, "server.properties")
	written := fmt.Sprintf(properties, port, controller, filepath.Join(folder, "data"))
	if err := os.WriteFile(config, []byte(written), 0o600); err != nil {
		return nil, err
	}
	format := java("128m", "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", config)
	if output, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("Kafka's storage could not be formatted: %w: %s", err, output)
	}
	kafka := &Kafka{Bootstrap: fmt.Sprintf("127.0.0.1:%d", port), folder: folder}
	kafka.process, err = start(java("512m", "kafka.Kafka", config), filepath.Join(folder, "broker.log"))
	if err != nil {
		return nil, err
	}
	kafka.client, err = kgo.NewClient(kgo.SeedBrokers(kafka.Bootstrap))
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end) && !kafka.process.hasEnded(); time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err = kafka.client.Ping(ctx)
		cancel()
		if err == nil {
			return kafka, nil
		}
	}
	said := kafka.process.said()
	kafka.Stop()
	return nil, fmt.Errorf("Kafka has ended, or did not answer within 90 s: %w: %s", err, said[max(0, len(said)-2000):])
}

func java(heap, class string, arguments ...string) *exec.Cmd {
	classpath := filepath.Join(os.Getenv(kafkaVariable), "*")
	line := append([]string{"-Xmx" + heap, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, class}, arguments...)
	return exec.Command("java", line...)
}

// Stop ends the broker and takes its files away.
func (k *Kafka) Stop() {
	if k.client != nil {
		k.client.Close()
	}
	k.process.kill()
	_ = os.RemoveAll(k.folder)
}

// Topics creates topics of one partition.
func (k *Kafka) Topics(t testing.TB, names ...string) {
	t.Helper()
	created, err := kadm.NewClient(k.client).CreateTopics(context.Background(), 1, 1, nil, names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range created.Sorted() {
		if topic.Err != nil {
			t.Fatal(topic.Topic, topic.Err)
		}
	}
}

// Produce writes values to a topic.
func (k *Kafka) Produce(t testing.TB, topic string, values ...string) {
	t.Helper()
	for _, value := range values {
		record := &kgo.Record{Topic: topic, Value: []byte(value)}
		if err := k.client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// Await waits until so many values stand in a topic, and gives them.
func (k *Kafka) Await(t testing.TB, topic string, count int) []string {
	t.Helper()
	start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
	reader, err := kgo.NewClient(kgo.SeedBrokers(k.Bootstrap), kgo.ConsumePartitions(start))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var values []string
	for len(values) < count {
		reader.PollFetches(ctx).EachRecord(func(record *kgo.Record) { values = append(values, string(record.Value)) })
		if ctx.Err() != nil {
			t.Fatalf("found %d records in %s within 60 s, expected %d: %s", len(values), topic, count, strings.Join(values, " "))
		}
	}
	return values
}

// Groups are the consumer groups that there are.
func (k *Kafka) Groups(t testing.TB) []string {
	t.Helper()
	listed, err := kadm.NewClient(k.client).ListGroups(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return listed.Groups()
}
