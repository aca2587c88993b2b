// Package stage has the real parts that acceptance tests run on: a Kafka, workers, functions, Terraform. A part that can't be had
// fails the test.
package stage

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Variables that say where parts are; `./run tests terraform` sets them.
const (
	binaryVariable    = "FNBRIDGE_TEST_BINARY"
	kafkaVariable     = "FNBRIDGE_TEST_KAFKA_LIBS"
	terraformVariable = "TF_ACC_TERRAFORM_PATH"
)

// Missing says what the suite has not set.
func Missing() error {
	for _, name := range []string{binaryVariable, kafkaVariable, terraformVariable, "TF_ACC"} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set; `./run tests terraform` sets it", name)
		}
	}
	return nil
}

// Fnbridge is the binary.
func Fnbridge() string { return os.Getenv(binaryVariable) }

// Await asks until it is so, for as long as a busy machine may take.
func Await(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatalf("waited 60 s for %s", what)
}

// process is a child that ends with this one.
type process struct {
	command *exec.Cmd
	log     string
	ended   chan struct{}
}

func start(command *exec.Cmd, log string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, err
	}
	started := &process{command: command, log: log, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(started.ended)
	}()
	return started, nil
}

func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) said() string {
	content, _ := os.ReadFile(p.log)
	return string(content)
}

func freePort() int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// Repository is the root of the project's files.
func Repository() string {
	folder, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for folder != "/" {
		if _, err := os.Stat(filepath.Join(folder, "terraform", "provider", "go.mod")); err == nil {
			return folder
		}
		folder = filepath.Dir(folder)
	}
	panic("found no terraform/provider above the test")
}
