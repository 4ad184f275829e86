package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
)

// says is what a command of poise ctl writes when the API answers with that, a space for each gap of a
// table.
func says(t *testing.T, answer any, args ...string) string {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(answer) }))
	defer api.Close()
	code, stdout, stderr := call(append([]string{"ctl", "--server", api.URL}, args...)...)
	if code != exitOK {
		t.Fatalf("%v: exit code %d: %s", args, code, stderr)
	}
	return regexp.MustCompile(`  +`).ReplaceAllString(strings.TrimSpace(stdout), " ")
}

func endpoints(n int) []poise.EndpointStatus {
	all := make([]poise.EndpointStatus, n)
	all[0].Usable = true
	return all
}

// A table has the columns that its rows need, and no other.
func TestTheTableOfServices(t *testing.T) {
	plain := admin.ServiceView{
		ServiceStatus: poise.ServiceStatus{Name: "users", Policy: "least_time", Source: poise.SourceStatus{Kind: "list"}, Endpoints: endpoints(2)},
		Counts:        admin.Counts{Requests: 1234, Errors: 1, InFlight: 12, P50: 0.0039, P99: 0.0098},
	}
	busy := plain
	busy.Name, busy.InFlight = "orders", 131
	busy.Overload = poise.OverloadStatus{InFlight: 100, MaxInFlight: 100, Waiting: 31, Queue: 200, Flooded: true}
	queue := plain // by the limits of endpoints alone
	queue.Overload = poise.OverloadStatus{InFlight: 7, Queue: 50, EndpointMaxInFlight: 4}
	for _, test := range []struct {
		all  []admin.ServiceView
		want string
	}{
		{[]admin.ServiceView{plain}, `SERVICE POLICY SOURCE ENDPOINTS REQUESTS ERRORS IN FLIGHT P50 P99
users least_time list 1 of 2 1,234 1 12 3.9ms 9.8ms`},
		{[]admin.ServiceView{busy, plain}, `SERVICE POLICY SOURCE ENDPOINTS REQUESTS ERRORS IN FLIGHT ATTEMPTS WAITING P50 P99
orders least_time list 1 of 2 1,234 1 131 100 of 100 31 of 200, newest first 3.9ms 9.8ms
users least_time list 1 of 2 1,234 1 12 - - 3.9ms 9.8ms`},
		{[]admin.ServiceView{queue}, `SERVICE POLICY SOURCE ENDPOINTS REQUESTS ERRORS IN FLIGHT WAITING P50 P99
users least_time list 1 of 2 1,234 1 12 0 of 50 3.9ms 9.8ms`},
	} {
		if got := says(t, map[string]any{"services": test.all}, "services"); got != test.want {
			t.Errorf("it is\n%s\nwant\n%s", got, test.want)
		}
	}
}

func TestTheTableOfEndpoints(t *testing.T) {
	one := func(label string) admin.EndpointView {
		return admin.EndpointView{EndpointStatus: poise.EndpointStatus{Label: label, Condition: "healthy", Weight: 1, InFlight: 14}, Share: 0.5, Expected: 0.5, P50: 0.0039, P99: 0.0098}
	}
	lane, limited, far, backup := one("a:1"), one("a:1"), one("a:1"), one("c:3")
	lane.Lane = "v2"
	limited.Limit, limited.BaseLatency = 20, 3*time.Millisecond
	far.Zone, backup.Zone, backup.Priority = "north", "south", 1
	for _, test := range []struct {
		of   poise.ServiceStatus
		all  []admin.EndpointView
		want string
	}{
		{poise.ServiceStatus{}, []admin.EndpointView{one("a:1")}, `ENDPOINT CONDITION SINCE WEIGHT SHARE EXPECTED IN FLIGHT P50 P99 WHY
a:1 healthy - 1 50.0 % 50.0 % 14 3.9ms 9.8ms`},
		{
			poise.ServiceStatus{
				Lanes:       []poise.LaneStatus{{Value: "", Endpoints: 1, Usable: 1}, {Value: "v2", Endpoints: 1, Usable: 1}, {Value: "v3", Endpoints: 2}},
				LanesMissed: 3, Sticky: &poise.StickyStatus{New: 1200, Moved: 2},
			},
			[]admin.EndpointView{lane, one("b:2")}, `ENDPOINT LANE CONDITION SINCE WEIGHT SHARE EXPECTED IN FLIGHT P50 P99 WHY
a:1 v2 healthy - 1 50.0 % 50.0 % 14 3.9ms 9.8ms
b:2 - healthy - 1 50.0 % 50.0 % 14 3.9ms 9.8ms
lane v3: 0 of 2 usable
3 attempts asked for a lane without a usable endpoint
sticky: 1,200 bound, 2 moved, 0 unknown`},
		{
			poise.ServiceStatus{Overload: poise.OverloadStatus{InFlight: 28, MaxInFlight: 30, Waiting: 4, Queue: 10, EndpointLimitsFound: true}},
			[]admin.EndpointView{limited, one("b:2")}, `ENDPOINT CONDITION SINCE WEIGHT SHARE EXPECTED IN FLIGHT BASE P50 P99 WHY
a:1 healthy - 1 50.0 % 50.0 % 14 of 20 3ms 3.9ms 9.8ms
b:2 healthy - 1 50.0 % 50.0 % 14 - 3.9ms 9.8ms
28 of 30 attempts at once; waiting: 4 of 10`},
		{poise.ServiceStatus{}, []admin.EndpointView{far, backup}, `ENDPOINT ZONE PRIORITY CONDITION SINCE WEIGHT SHARE EXPECTED IN FLIGHT P50 P99 WHY
a:1 north 0 healthy - 1 50.0 % 50.0 % 14 3.9ms 9.8ms
c:3 south 1 healthy - 1 50.0 % 50.0 % 14 3.9ms 9.8ms`},
	} {
		detail := admin.ServiceDetail{ServiceView: admin.ServiceView{ServiceStatus: test.of}, Endpoints: test.all}
		if got := says(t, detail, "endpoints", "users"); got != test.want {
			t.Errorf("it is\n%s\nwant\n%s", got, test.want)
		}
	}
}
