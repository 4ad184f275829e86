package live

// What runs in the story of the mesh: instances, each a program with its sidecar and, if it can be
// called, poise register; and the load.

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// example is the folder of the files that the story is about.
const example = "../../examples/mesh"

// A mesh is everything that runs.
type mesh struct {
	t        *testing.T // of the whole story
	registry *registry
	server   *server
	binary   string // of poise
	files    string // folder with the programs and the configurations
	certs    string // folder of the certificates
	orders   []*meshed
	stock    []*meshed
	shop     *meshed
	load     *meshLoad
}

// A meshed is an instance in the mesh.
type meshed struct {
	app, inbound, outbound, status string // addresses; inbound of the shop is its edge
	program, sidecar, registrar    *rig.Process
}

func (i *meshed) processes() []*rig.Process { return []*rig.Process{i.registrar, i.sidecar, i.program} }

// newMesh starts two instances of orders and stock, one of shop, and a load.
func newMesh(t *testing.T, r *registry, bin, binary string) *mesh {
	m := &mesh{t: t, registry: r, binary: binary, files: t.TempDir(), certs: filepath.Join(t.TempDir(), "run")}
	for _, program := range []string{"ca", "shop", "orders"} {
		build := exec.Command("go", "build", "-o", filepath.Join(m.files, program), "github.com/poise-lb/poise/examples/mesh/"+program)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	m.server = newServer(t, r, bin, "")
	m.ca(t, "shop", "orders", "stock")
	for _, service := range []string{"shop", "orders", "stock"} {
		m.configure(service)
	}
	for range 2 {
		m.stock = append(m.stock, m.start(t, "stock"))
		m.orders = append(m.orders, m.start(t, "orders"))
	}
	m.shop = m.start(t, "shop")
	m.load = beginMesh(t, "http://"+m.shop.inbound+"/buy/tea")
	return m
}

// ca calls the example's authority.
func (m *mesh) ca(t *testing.T, args ...string) {
	t.Helper()
	rig.Run(t, filepath.Join(m.files, "ca"), append([]string{"-out", m.certs}, args...)...)
}

// configure copies the configuration of a service's sidecar, which names Consul, for the registry
// of this story.
func (m *mesh) configure(service string) {
	text, err := os.ReadFile(filepath.Join(example, service+".yaml"))
	if err != nil {
		m.t.Fatal(err)
	}
	whole := string(text)
	if m.registry.kind == "nacos" {
		whole = strings.ReplaceAll(whole, `consul: {server: "${CONSUL:-http://127.0.0.1:8500}", `, fmt.Sprintf("nacos: {servers: [%q], ", m.server.address()))
		if strings.Contains(whole, "consul") {
			m.t.Fatalf("%s.yaml names Consul in another way than expected", service)
		}
	}
	rig.Write(m.t, filepath.Join(m.files, service+".yaml"), whole)
}

// start starts an instance and waits until it is announced. It outlives the step t.
func (m *mesh) start(t *testing.T, service string) *meshed {
	t.Helper()
	i := &meshed{app: rig.Address(t), inbound: rig.Address(t), outbound: rig.Address(t), status: rig.Address(t)}
	env := []string{
		"LISTEN=" + i.app, "MESH=http://" + i.outbound, // of the program
		"APP=" + i.app, "INBOUND=" + i.inbound, "EDGE=" + i.inbound, "OUTBOUND=" + i.outbound, "STATUS=" + i.status, "ADMIN=" + i.status,
		"CONSUL=http://" + m.server.address(), "CERTS=" + m.certs, "MAX_AGE=1s",
	}
	program := rig.Command{Path: filepath.Join(m.files, service), Env: env}
	if service == "stock" {
		program.Path, program.Args = python, []string{filepath.Join(example, "stock", "stock.py")}
	}
	i.program = rig.Start(m.t, program)
	i.program.Listens(i.app)
	i.sidecar = rig.Start(m.t, rig.Command{Path: m.binary, Args: []string{"run", "-c", filepath.Join(m.files, service+".yaml")}, Env: env})
	await(t, i.sidecar, "(?m)^poise: ready on ")
	switch service {
	case "shop": // no service calls it
	case "orders":
		i.registrar = m.announce(service, i.inbound, "--check", "HEAD /health", "--check-at", "http://"+i.app)
	default:
		i.registrar = m.announce(service, i.inbound)
	}
	return i
}

// announce has poise register announce an address, and waits until it is.
func (m *mesh) announce(service, address string, more ...string) *rig.Process {
	m.t.Helper()
	at := m.server.address()
	if m.registry.kind == "consul" {
		at = "http://" + at
	}
	args := append([]string{"register", "--" + m.registry.kind, at, "--service", service, "--address", address, "--scheme", "https"}, more...)
	p := rig.Start(m.t, rig.Command{Path: m.binary, Args: args})
	await(m.t, p, "(?m)^poise: announced ")
	return p
}

// leave ends an instance in order: it is withdrawn, its sidecar lets end what it has, then the
// program ends.
func (m *mesh) leave(t *testing.T, i *meshed) {
	t.Helper()
	for _, p := range i.processes() {
		p.Signal(syscall.SIGTERM)
		if code := p.Exit(); code != 0 {
			t.Errorf("an instance that leaves: exit code %d: %.1000s", code, p.Text())
		}
	}
}

// follow changes the authorities and waits until every sidecar has read them.
func (m *mesh) follow(t *testing.T, change func()) {
	t.Helper()
	type file struct {
		sidecar *rig.Process
		said    string
	}
	const inbound, outbound = `certificates reloaded`, `authorities and certificates towards endpoints read again`
	files := []file{{m.shop.sidecar, outbound}}
	for n := range m.orders {
		files = append(files, file{m.orders[n].sidecar, inbound}, file{m.orders[n].sidecar, outbound}, file{m.stock[n].sidecar, inbound})
	}
	before := make([]int, len(files))
	for n, f := range files {
		before[n] = f.sidecar.Said(f.said)
	}
	change()
	for n, f := range files {
		for limit := time.Now().Add(rig.Patience); f.sidecar.Said(f.said) == before[n]; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("it does not say %q:\n%s", f.said, f.sidecar.Text())
			}
		}
	}
}

// loadConns is how many requests the load has under way at most.
const loadConns = 4

// A meshLoad buys from the shop, time and again, on a few connections.
type meshLoad struct {
	url    string
	client *http.Client
	group  sync.WaitGroup
	over   atomic.Bool

	mu     sync.Mutex
	seen   map[string]time.Time // addresses of programs and serial numbers of callers: when a request began that met them
	calls  map[string]bool      // "orders is called by" and a SPIFFE ID
	total  int
	failed int // since flawless was called
	lost   int // in all
	first  []string
}

// A bought is the answer of the shop.
type bought struct {
	Caller, Serial, Instance string
	Stock                    struct{ Caller, Serial, Instance string }
}

func beginMesh(t *testing.T, url string) *meshLoad {
	l := &meshLoad{url: url, seen: make(map[string]time.Time), calls: make(map[string]bool)}
	l.client = &http.Client{Timeout: rig.Patience, Transport: &http.Transport{MaxIdleConnsPerHost: loadConns}}
	for range loadConns {
		l.group.Go(func() {
			for !l.over.Load() {
				l.buy()
				time.Sleep(pause)
			}
		})
	}
	t.Cleanup(func() { l.over.Store(true); l.group.Wait() })
	return l
}

func (l *meshLoad) buy() {
	began := time.Now()
	var b bought
	res, err := l.client.Get(l.url)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil {
			err = json.Unmarshal(text, &b)
		}
		if err != nil || res.StatusCode != 200 {
			err = fmt.Errorf("%s %s: %.300s, %v", res.Status, res.Header.Get("Poise-Reason"), text, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if err != nil {
		l.lost++
		if l.failed++; len(l.first) < 5 {
			l.first = append(l.first, fmt.Sprintf("%s: %v", began.Format("15:04:05.000"), err))
		}
		return
	}
	for _, word := range []string{b.Instance, b.Serial, b.Stock.Instance, b.Stock.Serial} {
		l.seen[word] = began
	}
	l.calls["orders is called by "+b.Caller], l.calls["stock is called by "+b.Stock.Caller] = true, true
}

func (l *meshLoad) called(how string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[how]
}

// until waits until ok, of what answers have shown.
func (l *meshLoad) until(t *testing.T, what string, ok func(seen map[string]time.Time) bool) {
	t.Helper()
	for limit := time.Now().Add(rig.Patience); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		done, seen, first := ok(l.seen), len(l.seen), l.first
		l.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("no sign that %s; %d instances and certificates were seen, failures: %q", what, seen, first)
		}
	}
}

// another waits for n further requests.
func (l *meshLoad) another(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	before := l.total
	l.mu.Unlock()
	l.until(t, fmt.Sprintf("%d further requests are answered", n), func(map[string]time.Time) bool { return l.total >= before+n })
}

// forgive lets most requests have failed by now, and waits until those under way have ended.
func (l *meshLoad) forgive(t *testing.T, most int) {
	t.Helper()
	l.another(t, 2*loadConns)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed > most {
		t.Errorf("%d requests failed, more than were under way: %q", l.failed, l.first)
	}
	l.failed, l.first = 0, nil
}

// flawless fails the test if a request has failed since the last call.
func (l *meshLoad) flawless(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed > 0 {
		t.Errorf("%d of %d requests failed: %s", l.failed, l.total, strings.Join(l.first, "\n"))
	}
	l.failed, l.first = 0, nil
}
