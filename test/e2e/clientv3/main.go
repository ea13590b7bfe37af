// A plain user of clientv3: it runs a fixed course of calls against one endpoint and prints what the
// library handed it, one line a step, without what differs from run to run. The test runs it against
// etcd and against ours and compares.
//
//	probe COURSE ENDPOINT
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

var courses = map[string]func(context.Context, *clientv3.Client){
	"kv":          course,
	"kubernetes":  kubernetesCourse,
	"concurrency": concurrencyCourse,
	"wrappers":    wrappersCourse,
	"restarts":    restartsCourse,
}

func main() {
	run := courses[os.Args[1]]
	if run == nil {
		fmt.Fprintln(os.Stderr, "no such course:", os.Args[1])
		os.Exit(2)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{os.Args[2]},
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	run(ctx, client)
}
