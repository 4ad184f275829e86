package grpctest

// The interop cases of gRPC (grpc/grpc, doc/interop-test-descriptions.md) through Poise.
//
//	client of grpc-go ─┐ clear            h2c ┌─ server of grpc-go
//	client in Python  ─┘ and TLS ─ poise ─ TLS └─ server in Python
//
// Calls that come in the clear go to servers in the clear, and by TLS to those with TLS: the routes
// tell them apart by the host.

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	orcapb "github.com/cncf/xds/go/xds/data/orca/v3"
	orcaservice "github.com/cncf/xds/go/xds/service/orca/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

// cases are those of the interop client of grpc-go which need no account of Google.
var cases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
	"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response",
	"status_code_and_message", "special_status_message", "custom_metadata", "unimplemented_method",
	"unimplemented_service", "pick_first_unary", "rpc_soak", "channel_soak", "orca_per_rpc", "orca_oob",
}

// onlyGo are the cases for which a server needs what Python's library does not have.
var onlyGo = []string{"orca_per_rpc", "orca_oob"}

// ofPython are the cases that testdata/interop.py has as a client.
var ofPython = cases[:slices.Index(cases, "pick_first_unary")]

const patience = 60 * time.Second // for a case, on a machine that is busy

func TestInterop(t *testing.T) {
	client, poised := tool(t, "client"), rig.Poise(t)
	dir, cert := certificates(t)
	messages := descriptors(t)
	servers := map[string][2]string{"go": goServers(t, cert), "python": pythonServers(t, dir, messages)}
	for _, engine := range poise.Engines() {
		for server, at := range servers {
			t.Run(engine+" to "+server, func(t *testing.T) {
				p := start(t, poised, engine, dir, fmt.Sprintf(`services:
  clear: {endpoints: ["h2c://%s"]}
  secure: {endpoints: ["https://%s"], protocol: http2, tls: {ca: %s, server_name: localhost}}
routes:
  - {match: {grpc: "*"}, service: clear}
  - {match: {grpc: "*", host: localhost}, service: secure}
`, at[0], at[1], filepath.Join(dir, "ca.pem")))
				for _, name := range cases {
					if server != "go" && slices.Contains(onlyGo, name) {
						continue
					}
					t.Run("clear "+name, func(t *testing.T) { run(t, client, goArgs(p, name, false)...) })
					t.Run("tls "+name, func(t *testing.T) { run(t, client, goArgs(p, name, true)...) })
				}
				t.Run("from python", func(t *testing.T) {
					all := strings.Join(ofPython, ",")
					run(t, python(t), "testdata/interop.py", "client", messages, p.clear, "", all)
					run(t, python(t), "testdata/interop.py", "client", messages, p.secure, dir, all)
				})
			})
		}
	}
}

// goArgs are those of the interop client of grpc-go.
func goArgs(p *proxy, name string, secure bool) []string {
	address := p.clear
	args := []string{"-test_case", name, "-soak_iterations", "20", "-soak_per_iteration_max_acceptable_latency_ms", "20000", "-soak_overall_timeout_seconds", "50"}
	if strings.HasPrefix(name, "orca") {
		args = append(args, "-service_config_json", `{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}`)
	}
	if secure {
		address = p.secure
		args = append(args, "-use_tls", "-use_test_ca", "-ca_file", filepath.Join(p.dir, "ca.pem"), "-server_host_override", "localhost")
	}
	host, port, _ := net.SplitHostPort(address)
	return append(args, "-server_host", host, "-server_port", port)
}

// run runs a program, which fails the test if it does not end well in time.
func run(t *testing.T, path string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	c.Env = append(os.Environ(), "GRPC_GO_LOG_SEVERITY_LEVEL=error", "NO_PROXY=*")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%q: %v\n%s", args, err, out)
	}
}

// goServers starts the interop server of grpc-go, in the clear and with TLS.
func goServers(t *testing.T, cert *testcert.Cert) (at [2]string) {
	for i, c := range []*testcert.Cert{nil, cert} {
		at[i] = rig.Address(t)
		recorder := orca.NewServerMetricsRecorder()
		serve(t, at[i], c, func(s *grpc.Server) {
			testing_pb.RegisterTestServiceServer(s, named{interop.NewTestServer(interop.NewTestServerOptions{MetricsRecorder: recorder}), at[i]})
			orcaservice.RegisterOpenRcaServiceServer(s, reports{metrics: recorder})
		}, orca.CallMetricsServerOption(nil))
	}
	return at
}

// named says which server it is, for pick_first_unary.
type named struct {
	testing_pb.TestServiceServer
	id string
}

func (n named) UnaryCall(ctx context.Context, in *testing_pb.SimpleRequest) (*testing_pb.SimpleResponse, error) {
	out, err := n.TestServiceServer.UnaryCall(ctx, in)
	if err == nil && in.FillServerId {
		out.ServerId = n.id
	}
	return out, err
}

// reports is the service of load reports out of band. That of grpc-go reports every 30 s at most;
// its own interop server has a way round that nobody else has.
type reports struct {
	orcaservice.UnimplementedOpenRcaServiceServer
	metrics orca.ServerMetricsProvider
}

func (r reports) StreamCoreMetrics(_ *orcaservice.OrcaLoadReportRequest, stream orcaservice.OpenRcaService_StreamCoreMetricsServer) error {
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		m := r.metrics.ServerMetrics()
		err := stream.Send(&orcapb.OrcaLoadReport{CpuUtilization: max(m.CPUUtilization, 0), MemUtilization: max(m.MemUtilization, 0), Utilization: m.Utilization})
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			tick.Stop()
			return stream.Context().Err()
		}
	}
}

// pythonServers starts testdata/interop.py, in the clear and with TLS.
func pythonServers(t *testing.T, dir, messages string) (at [2]string) {
	for i, certs := range []string{"", dir} {
		p := rig.Start(t, rig.Command{Path: python(t), Args: []string{"testdata/interop.py", "server", messages, certs}})
		at[i] = "127.0.0.1:" + p.Await(`ready on (\d+)`)[1]
	}
	return at
}

// descriptors writes what messages the interop service has, for Python: so it needs no code that
// was generated. It returns the file.
func descriptors(t *testing.T) string {
	set, seen := &descriptorpb.FileDescriptorSet{}, make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(testing_pb.File_grpc_testing_test_proto)
	data, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "messages.pb")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
