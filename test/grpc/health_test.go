package grpctest

// Probes by grpc.health.v1 of the health service that grpc-go brings along, in the clear and by
// TLS: what an endpoint says of itself decides whether it gets calls.

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

func TestHealth(t *testing.T) {
	poised := rig.Poise(t)
	dir, cert := certificates(t)
	for _, engine := range poise.Engines() {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s secure=%v", engine, secure), func(t *testing.T) {
				scheme, c := "h2c", (*testcert.Cert)(nil)
				if secure {
					scheme, c = "https", cert
				}
				var at [2]string
				var states [2]*health.Server
				for i := range at {
					at[i], states[i] = rig.Address(t), health.NewServer()
					serve(t, at[i], c, func(s *grpc.Server) {
						healthpb.RegisterHealthServer(s, states[i])
						testing_pb.RegisterTestServiceServer(s, named{interop.NewTestServer(), at[i]})
					})
					states[i].SetServingStatus("grpc.testing.TestService", healthpb.HealthCheckResponse_SERVING)
				}
				p := start(t, poised, engine, dir, fmt.Sprintf(`services:
  tested:
    endpoints: ["%[1]s://%[2]s", "%[1]s://%[3]s"]
    protocol: http2
    policy: round_robin
    panic_threshold: -1
    health: {check: grpc grpc.testing.TestService, interval: 500ms, unhealthy_after: 1, healthy_after: 1}
    tls: {ca: %[4]s, server_name: localhost}
routes:
  - {match: {grpc: grpc.testing.TestService/*}, service: tested}
`, scheme, at[0], at[1], filepath.Join(dir, "ca.pem")))
				client := testing_pb.NewTestServiceClient(dial(t, p.clear, nil))
				until(t, p, client, at[0], at[1])
				states[0].SetServingStatus("grpc.testing.TestService", healthpb.HealthCheckResponse_NOT_SERVING)
				p.Await("the service grpc.testing.TestService is NOT_SERVING")
				until(t, p, client, at[1])
				states[0].SetServingStatus("grpc.testing.TestService", healthpb.HealthCheckResponse_SERVING)
				until(t, p, client, at[0], at[1])
				states[1].Shutdown() // everything is NOT_SERVING then
				until(t, p, client, at[0])
			})
		}
	}
}

// until makes calls until the answers come from these servers, and no others.
func until(t *testing.T, p *proxy, client testing_pb.TestServiceClient, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	for {
		got := make(map[string]bool)
		for range 8 {
			r, err := client.UnaryCall(ctx, &testing_pb.SimpleRequest{FillServerId: true}, grpc.WaitForReady(true))
			if ctx.Err() != nil {
				t.Fatalf("answers are from %v instead of %v; %v", got, want, err)
			}
			if err == nil { // or else there is no endpoint until its next probe
				got[r.ServerId] = true
			}
		}
		same := len(got) == len(want)
		for _, w := range want {
			same = same && got[w]
		}
		if same {
			return
		}
		time.Sleep(10 * time.Millisecond) // a probe may be under way
	}
}

// A server without the health service, and one that does not know the service, are told apart.
func TestHealthThatIsNotThere(t *testing.T) {
	poised := rig.Poise(t)
	dir, _ := certificates(t)
	without, unknown := rig.Address(t), rig.Address(t)
	serve(t, without, nil, func(s *grpc.Server) {})
	serve(t, unknown, nil, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, health.NewServer()) })
	p := start(t, poised, poise.Engines()[0], dir, fmt.Sprintf(`services:
  tested: {endpoints: ["h2c://%s", "h2c://%s"], health: grpc shop.Cart}
routes:
  - {service: tested}
`, without, unknown))
	p.Await(`the server has no grpc\.health\.v1 \(UNIMPLEMENTED\)`)
	p.Await(`the server does not know the service shop\.Cart`)
}
