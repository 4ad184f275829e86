package grpctest

// A rolling restart: three servers of grpc-go end each connection after a second (GOAWAY), and
// under a load of calls and streams each of them is stopped gracefully and started again, several
// times. Not one call may fail.

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/test/internal/rig"
)

// What the load is made of.
const (
	restartRounds = 4 // times that each server is restarted
	loadClients   = 4 // connections to Poise
	loadUnary     = 3 // tasks that make calls, one after the other, on each
	loadStreams   = 3 // likewise with streams
	streamTurns   = 20
	turnUs        = 5000 // pause of a server before each message of a stream: streams live for 100 ms
)

func TestRollingRestart(t *testing.T) {
	poised := rig.Poise(t)
	dir, _ := certificates(t)
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			var at [3]string
			var servers [3]*grpc.Server
			for i := range at {
				at[i] = rig.Address(t)
				servers[i] = restartable(t, at[i])
			}
			p := start(t, poised, engine, dir, fmt.Sprintf(`services:
  tested: {endpoints: ["h2c://%s", "h2c://%s", "h2c://%s"], health: {check: tcp, interval: 200ms}}
routes:
  - {match: {grpc: "*"}, service: tested}
`, at[0], at[1], at[2]))
			l := &load{T: t}
			l.start(p.clear)
			for range restartRounds {
				for i := range servers {
					l.await(400)
					servers[i].GracefulStop()
					l.await(200) // with two of them
					servers[i] = restartable(t, at[i])
				}
			}
			l.await(400)
			l.stop()
			if l.failed.Load() > 0 {
				t.Errorf("%d of %d calls and streams failed", l.failed.Load(), l.done.Load())
			}
			t.Logf("%d calls and streams", l.done.Load())
		})
	}
}

// restartable starts a server that ends each connection after a second. Calls under way may end as
// long as the clients wait for them: a shorter grace would have the server cut streams by itself
// where the machine is busy.
func restartable(t *testing.T, address string) *grpc.Server {
	return serve(t, address, nil, func(s *grpc.Server) {
		testing_pb.RegisterTestServiceServer(s, interop.NewTestServer())
	}, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: time.Second, MaxConnectionAgeGrace: rig.Patience}))
}

// A load is clients that call without a pause.
type load struct {
	*testing.T
	done, failed atomic.Int64
	ending       atomic.Bool
	tasks        sync.WaitGroup
}

func (l *load) start(address string) {
	for range loadClients {
		client := testing_pb.NewTestServiceClient(dial(l.T, address, nil))
		for range loadUnary {
			l.repeat("call", func(ctx context.Context) error { return unary(ctx, client) })
		}
		for range loadStreams {
			l.repeat("stream", func(ctx context.Context) error { return duplex(ctx, client) })
		}
	}
}

// repeat calls f in a task until stop.
func (l *load) repeat(what string, f func(context.Context) error) {
	l.tasks.Go(func() {
		for !l.ending.Load() {
			ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
			began := time.Now()
			err := f(ctx)
			cancel()
			if err != nil {
				l.failed.Add(1)
				l.Errorf("a %s, after %v: %v", what, time.Since(began), err)
			}
			l.done.Add(1)
		}
	})
}

// await waits until n further calls are done.
func (l *load) await(n int64) {
	l.Helper()
	want, deadline := l.done.Load()+n, time.Now().Add(rig.Patience)
	for l.done.Load() < want {
		if time.Now().After(deadline) {
			l.Fatal("the load stands still")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *load) stop() {
	l.ending.Store(true)
	l.tasks.Wait()
}

func unary(ctx context.Context, client testing_pb.TestServiceClient) error {
	r, err := client.UnaryCall(ctx, &testing_pb.SimpleRequest{ResponseSize: 100, Payload: &testing_pb.Payload{Body: make([]byte, 100)}})
	if err == nil && len(r.Payload.Body) != 100 {
		err = fmt.Errorf("the answer has %d bytes", len(r.Payload.Body))
	}
	return err
}

// duplex is a stream of turns, in which each message is answered before the next one.
func duplex(ctx context.Context, client testing_pb.TestServiceClient) error {
	s, err := client.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range streamTurns {
		err := s.Send(&testing_pb.StreamingOutputCallRequest{ResponseParameters: []*testing_pb.ResponseParameters{{Size: 10, IntervalUs: turnUs}}})
		if err != nil {
			_, err = s.Recv() // which has the reason
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if _, err := s.Recv(); err.Error() != "EOF" {
		return fmt.Errorf("behind the last message: %w", err)
	}
	return nil
}
