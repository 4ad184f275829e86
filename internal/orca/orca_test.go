package orca

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/message"
)

// double and entry write fields as Protocol Buffers have them, independently of the reader.
func double(number int, x float64) []byte {
	b := binary.AppendUvarint(nil, uint64(number)<<3|1)
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
}

func entry(number int, key string, x float64) []byte {
	one := binary.AppendUvarint([]byte{0x0a}, uint64(len(key)))
	one = append(append(one, key...), double(2, x)...)
	b := binary.AppendUvarint(nil, uint64(number)<<3|2)
	return append(binary.AppendUvarint(b, uint64(len(one))), one...)
}

func message64(parts ...[]byte) string {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return base64.StdEncoding.EncodeToString(all)
}

const unknown = -1

var reads = []struct {
	field, value string
	ok           bool
	inFlight     int64
	busy         float64
}{
	{"endpoint-load-metrics", "TEXT cpu_utilization=0.3", true, unknown, 0.3},
	{"Endpoint-Load-Metrics", "text cpu_utilization=0.3,named_metrics.in_flight=12", true, 12, 0.3},
	{"endpoint-load-metrics", "TEXT  cpu_utilization : 0.3 , , named_metrics.rif:12 ", true, 12, 0.3},
	{"endpoint-load-metrics", "cpu_utilization:0.3,application_utilization:1.5", true, unknown, 1.5},
	{"endpoint-load-metrics", "application_utilization=0, cpu_utilization=0.25, eps=NaN", false, 0, 0},
	{"endpoint-load-metrics", "TEXT application_utilization=0, cpu_utilization=0.25, eps=3", true, unknown, 0.25},
	{"endpoint-load-metrics", "TEXT named_metrics.x=-4,named_metrics.requests_in_flight=1e3", true, 1000, unknown},
	{"endpoint-load-metrics", "TEXT ", true, unknown, unknown},
	{"endpoint-load-metrics", "TEXT cpu_utilization", false, 0, 0},
	{"endpoint-load-metrics", "TEXT =0.3", false, 0, 0},
	{"endpoint-load-metrics", "TEXT cpu_utilization=", false, 0, 0},
	{"endpoint-load-metrics", "TEXT cpu_utilization=-0.1", false, 0, 0},
	{"endpoint-load-metrics", "TEXT cpu_utilization=inf", false, 0, 0},
	{"endpoint-load-metrics", "TEXT cpu_utilization=Infinity", false, 0, 0},
	{"endpoint-load-metrics", "TEXT cpu_utilization=1e999", false, 0, 0},
	{"endpoint-load-metrics", "TEXT named_metrics.in_flight=-1", false, 0, 0},
	{"endpoint-load-metrics", "TEXT named_metrics.in_flight=1e300", true, math.MaxInt32, unknown},
	{"endpoint-load-metrics", "TEXT cpu_utilization=" + strings.Repeat("0", 40) + "1", false, 0, 0},
	{"endpoint-load-metrics", "TEXT cpu_utilization=0.3," + strings.Repeat("x=1,", 1000), false, 0, 0},

	{"endpoint-load-metrics", `JSON {"cpu_utilization": 0.3}`, true, unknown, 0.3},
	{"endpoint-load-metrics-json", ` { "cpuUtilization" : "0.3" , "rps": "12", "namedMetrics": {"in_flight": 12, "x": [1, {"y": null}]}, "z": {"a": {}} } `, true, 12, 0.3},
	{"endpoint-load-metrics", `JSON {}`, true, unknown, unknown},
	{"endpoint-load-metrics", `JSON {"named_metrics": {}, "applicationUtilization": 2e-1}`, true, unknown, 0.2},
	{"endpoint-load-metrics", `JSON {"eps": "NaN", "a\"b": true, "cpu_utilization": 0.3}`, true, unknown, 0.3},
	{"endpoint-load-metrics", `JSON {"cpu_utilization": "NaN"}`, false, 0, 0},
	{"endpoint-load-metrics", `JSON {"cpu_utilization": null}`, false, 0, 0},
	{"endpoint-load-metrics", `JSON {"cpu_utilization": 0.3`, false, 0, 0},
	{"endpoint-load-metrics", `JSON {"cpu_utilization": 0.3}}`, false, 0, 0},
	{"endpoint-load-metrics", `JSON {"cpu_utilization" 0.3}`, false, 0, 0},
	{"endpoint-load-metrics", `JSON {"cpu_utilization": 0.3,}`, false, 0, 0},
	{"endpoint-load-metrics", `JSON {"x": "`, false, 0, 0},
	{"endpoint-load-metrics", `JSON [1]`, false, 0, 0},
	{"endpoint-load-metrics", `JSON {"x": ` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`, false, 0, 0},

	{"endpoint-load-metrics-bin", message64(double(1, 0.3)), true, unknown, 0.3},
	{"endpoint-load-metrics-bin", strings.TrimRight(message64(double(1, 0.3), double(9, 0.7)), "="), true, unknown, 0.7},
	{"endpoint-load-metrics", "BIN " + message64([]byte{0x18, 0x96, 0x01}, entry(4, "in_flight", 99), entry(8, "x", -1), entry(8, "in_flight", 12), []byte{0x7d, 1, 2, 3, 4}), true, 12, unknown},
	{"endpoint-load-metrics-bin", "", true, unknown, unknown},
	{"endpoint-load-metrics-bin", "%%%%", false, 0, 0},
	{"endpoint-load-metrics-bin", message64(double(1, math.NaN())), false, 0, 0},
	{"endpoint-load-metrics-bin", message64(double(1, -1)), false, 0, 0},
	{"endpoint-load-metrics-bin", message64(double(1, 0.3)[:5]), false, 0, 0},
	{"endpoint-load-metrics-bin", message64([]byte{0x42, 0xff, 0xff, 0xff, 0xff, 0x7f}), false, 0, 0},
	{"endpoint-load-metrics-bin", message64([]byte{0x42, 2, 0x0a, 9}), false, 0, 0},
	{"endpoint-load-metrics-bin", message64([]byte{0x0b}), false, 0, 0},
	{"endpoint-load-metrics-bin", strings.Repeat("AAAA", 1000), false, 0, 0},
}

func TestTake(t *testing.T) {
	for _, c := range reads {
		fields := []message.Field{
			message.NewField("Content-Type", "text/plain"), message.NewField("X-endpoint-load-metrics", "cpu_utilization=9"),
			message.NewField(c.field, c.value), message.NewField("endpoint-load-metricz", "1"),
		}
		r, found, ok := Take(fields)
		if !found || ok != c.ok {
			t.Errorf("%s: %.60q: found %v, ok %v", c.field, c.value, found, ok)
		}
		if want := (endpoint.Report{InFlight: c.inFlight, Utilization: c.busy}); ok && r != want {
			t.Errorf("%s: %.60q: %+v, want %+v", c.field, c.value, r, want)
		}
		for i := range fields {
			if fields[i].Drop != (i == 2) {
				t.Errorf("%s is dropped: %v", fields[i].Name, fields[i].Drop)
			}
		}
	}
	if _, found, _ := Take([]message.Field{message.NewField("Content-Type", "text/plain")}); found {
		t.Error("a report without a field")
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	for _, c := range reads {
		if !c.ok {
			continue
		}
		fields := []message.Field{message.NewField("Content-Type", "text/plain"), message.NewField(c.field, c.value)}
		if n := testing.AllocsPerRun(20, func() {
			fields[1].Drop = false
			Take(fields)
		}); n != 0 {
			t.Errorf("%.60q: %v allocations", c.value, n)
		}
	}
}

// Whatever comes, a report is within its bounds, and reading it ends.
func FuzzTake(f *testing.F) {
	for _, c := range reads {
		f.Add(c.field, c.value)
	}
	f.Fuzz(func(t *testing.T, field, value string) {
		fields := []message.Field{message.NewField(field, value)}
		r, found, ok := Take(fields)
		if found != fields[0].Drop || ok && !found {
			t.Fatalf("found %v, ok %v, dropped %v", found, ok, fields[0].Drop)
		}
		if !ok {
			return
		}
		if r.InFlight < -1 || r.InFlight > math.MaxInt32 || r.Utilization != -1 && !(r.Utilization >= 0 && r.Utilization <= math.MaxFloat64) {
			t.Fatalf("%+v", r)
		}
	})
}

func BenchmarkTake(b *testing.B) {
	for _, c := range reads[1:2] {
		fields := []message.Field{message.NewField("Content-Type", "text/plain"), message.NewField("Date", "x"), message.NewField(c.field, c.value)}
		b.ReportAllocs()
		for b.Loop() {
			fields[2].Drop = false
			Take(fields)
		}
	}
}
