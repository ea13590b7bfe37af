// Takes the place of test_server.go in k8s.io/apiserver/pkg/storage/etcd3/testserver: the apiserver's own
// storage tests then run against the program that $ETCD_COMMAND names, a process a test, where they would
// otherwise embed an etcd. What the tests set of embed's configuration becomes flags.
package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

// NewTestConfig returns what RunEtcd makes flags of.
func NewTestConfig(t testing.TB) *embed.Config {
	return newConfig()
}

func newConfig() *embed.Config {
	cfg := embed.NewConfig()
	cfg.UnsafeNoFsync = true
	return cfg
}

// server is a started process; its output is told when a test with it fails.
type server struct {
	process  *exec.Cmd
	folder   string
	endpoint string
	output   *bytes.Buffer
	err      error
}

func (s server) stop() {
	s.process.Process.Kill()
	s.process.Wait()
	os.RemoveAll(s.folder)
}

type request struct {
	config *embed.Config
	answer chan server
}

var (
	once     sync.Once
	requests = make(chan request)
	spares   = make(chan server)
)

// launch starts all servers, and always one ahead of the tests that want no configuration of their own. It keeps its
// thread: a child is sent its Pdeathsig when the thread that started it ends.
func launch() {
	runtime.LockOSThread()
	spare := start(newConfig())
	for {
		select {
		case spares <- spare:
			spare = start(newConfig())
		case request := <-requests:
			request.answer <- start(request.config)
		}
	}
}

// take returns a server of this configuration, or a default one.
func take(cfg *embed.Config) server {
	once.Do(func() { go launch() })
	if cfg == nil {
		return <-spares
	}
	answer := make(chan server)
	requests <- request{cfg, answer}
	return <-answer
}

func freePorts() (client, peer string, err error) {
	var ports [2]string
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer listener.Close()
		_, ports[i], _ = net.SplitHostPort(listener.Addr().String())
	}
	return ports[0], ports[1], nil
}

func flagsOf(cfg *embed.Config, folder, client, peer string) []string {
	clientURL, peerURL := "http://127.0.0.1:"+client, "http://127.0.0.1:"+peer
	return []string{
		"--data-dir=" + filepath.Join(folder, "data"),
		"--listen-client-urls=" + clientURL,
		"--advertise-client-urls=" + clientURL,
		"--listen-peer-urls=" + peerURL,
		"--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=default=" + peerURL,
		fmt.Sprintf("--unsafe-no-fsync=%t", cfg.UnsafeNoFsync),
		"--watch-progress-notify-interval=" + cfg.WatchProgressNotifyInterval.String(),
		"--log-level=error",
	}
}

func start(cfg *embed.Config) server {
	command := strings.Fields(os.Getenv("ETCD_COMMAND"))
	if len(command) == 0 {
		return server{err: errors.New("ETCD_COMMAND names no server")}
	}
	client, peer, err := freePorts()
	if err != nil {
		return server{err: err}
	}
	folder, err := os.MkdirTemp("", "server-")
	if err != nil {
		return server{err: err}
	}
	output := &bytes.Buffer{}
	process := exec.Command(command[0], append(command[1:], flagsOf(cfg, folder, client, peer)...)...)
	process.Stdout, process.Stderr = output, output
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return server{process, folder, "127.0.0.1:" + client, output, process.Start()}
}

// RunEtcd starts a server with the given configuration, or a default one, and returns a client of it.
func RunEtcd(t testing.TB, cfg *embed.Config) *kubernetes.Client {
	t.Helper()
	server := take(cfg)
	if server.err != nil {
		t.Fatal(server.err)
	}
	t.Cleanup(func() {
		server.stop()
		if t.Failed() {
			t.Logf("the server's output:\n%s", server.output.String())
		}
	})
	client, err := kubernetes.New(clientv3.Config{
		Endpoints:   []string{server.endpoint},
		DialTimeout: 30 * time.Second,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		// The member answers only once the cluster has a version.
		if _, err = client.Client.Get(ctx, "health"); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("%s does not serve: %v", server.endpoint, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	kubernetesRecorder := storagetesting.NewKubernetesRecorder(client.Kubernetes)
	client.KV = storagetesting.NewKVRecorder(client.KV, kubernetesRecorder)
	client.Kubernetes = kubernetesRecorder
	return client
}
