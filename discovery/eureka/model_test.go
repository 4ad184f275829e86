package eureka

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// recorded is an answer of a real server (Spring Cloud Netflix 4.3.1).
const recorded = `{"applications":{"versions__delta":"1","apps__hashcode":"DOWN_1_UP_1_","application":[{"name":"WEB","instance":[
{"instanceId":"w1","hostName":"w1.example.org","app":"WEB","ipAddr":"127.0.0.1","status":"UP","overriddenStatus":"UNKNOWN","port":{"$":8081,"@enabled":"true"},"securePort":{"$":8443,"@enabled":"true"},"countryId":1,"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},"leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90,"registrationTimestamp":1795547629822,"lastRenewalTimestamp":1795547629822,"evictionTimestamp":0,"serviceUpTimestamp":1795547629822},"metadata":{"zone":"a","weight":"3"},"vipAddress":"web","isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":"1795547629822","lastDirtyTimestamp":"1795547629822","actionType":"ADDED"},
{"instanceId":"w2","hostName":"127.0.0.2","app":"WEB","ipAddr":"127.0.0.2","status":"DOWN","port":{"$":8081,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"},"metadata":{"@class":"java.util.Collections$EmptyMap"},"lastUpdatedTimestamp":"1795547629822","actionType":"ADDED"}]}]}}`

// older is how servers before 1.x's change of codec write: no array around one element,
// numbers as strings, no instanceId.
const older = `{"applications":{"versions__delta":1,"apps__hashcode":"UP_1_","application":{"name":"web","instance":
{"hostName":"host-1","app":"WEB","ipAddr":"127.0.0.1","status":"UP","port":{"@enabled":true,"$":"8081"},"securePort":{"@enabled":"false","$":"443"},"metadata":{"@class":"java.util.Collections$EmptyMap"},"lastUpdatedTimestamp":1795547629822}}}}`

func load(t *testing.T, data string) apps {
	t.Helper()
	a, err := parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	table := make(apps)
	if err := table.apply(a, Config{}.withDefaults()); err != nil {
		t.Fatal(err)
	}
	if got := table.hash(); got != string(a.Applications.Hash) {
		t.Errorf("checksum %q, the server says %q", got, a.Applications.Hash)
	}
	return table
}

func TestRecordedAnswers(t *testing.T) {
	u := load(t, recorded).set("WEB")
	if len(u.Endpoints) != 2 || len(u.Rejected) != 0 || !u.Endpoints[0].Out || u.Endpoints[1].Out {
		t.Fatalf("%+v", u)
	}
	s := u.Endpoints[1]
	if s.URL() != "https://127.0.0.1:8443" || s.Host != "w1.example.org" || s.Weight != 3 || s.Zone != "a" || s.Instance != "" || len(s.Metadata) != 2 {
		t.Errorf("%+v", s)
	}
	u = load(t, older).set("WEB")
	if len(u.Endpoints) != 1 {
		t.Fatalf("%+v", u)
	}
	s = u.Endpoints[0]
	if s.URL() != "http://127.0.0.1:8081" || s.Host != "host-1" || s.Weight != 0 || s.Zone != "" || s.Metadata != nil {
		t.Errorf("%+v", s)
	}
}

// one makes an answer of instances of WEB with these fields changed.
func one(t *testing.T, changes ...string) apps {
	t.Helper()
	var all []string
	for i, change := range changes {
		in := instance("WEB", fmt.Sprint("id", i), fmt.Sprint("10.0.0.", i+1), 80, nil)
		if err := json.Unmarshal([]byte(change), &in); err != nil {
			t.Fatal(err)
		}
		data, _ := json.Marshal(in)
		all = append(all, string(data))
	}
	a, err := parse([]byte(`{"applications":{"application":[{"name":"WEB","instance":[` + strings.Join(all, ",") + `]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	table := make(apps)
	if err := table.apply(a, Config{}.withDefaults()); err != nil {
		t.Fatal(err)
	}
	return table
}

func TestInvalidEntriesAreRejectedOneByOne(t *testing.T) {
	u := one(t,
		`{}`,
		`{"port":{"$":0,"@enabled":"true"}}`,
		`{"port":{"$":70000,"@enabled":"true"}}`,
		`{"port":{"$":"eighty","@enabled":"true"}}`,
		`{"port":{"$":80,"@enabled":"false"}}`,
		`{"port":17}`,
		`{"ipAddr":"host 6","hostName":"host 6"}`,
		`{"metadata":[]}`,
		`{"metadata":"x","status":"DOWN"}`,
	).set("WEB")
	if len(u.Endpoints) != 1 || u.Endpoints[0].Address != "10.0.0.1:80" {
		t.Errorf("%v", u.Endpoints)
	}
	if len(u.Rejected) != 7 {
		t.Fatalf("%d rejected: %v", len(u.Rejected), u.Rejected)
	}
	for i, r := range u.Rejected {
		if r.ID != fmt.Sprint("id", i+1) || r.Reason == "" {
			t.Errorf("%+v", r)
		}
	}
}

func TestWeights(t *testing.T) {
	u := one(t, `{"ipAddr":"10.0.0.1","metadata":{"weight":"0"}}`, `{"ipAddr":"10.0.0.2","metadata":{"weight":4}}`,
		`{"ipAddr":"10.0.0.3","metadata":{"weight":" 0.5 "}}`, `{"ipAddr":"10.0.0.4","metadata":{"weight":"-3"}}`,
		`{"ipAddr":"10.0.0.5","metadata":{"weight":"NaN"}}`, `{"ipAddr":"10.0.0.6"}`).set("WEB")
	var got []string
	for _, s := range u.Endpoints {
		got = append(got, fmt.Sprint(s.Address, " ", s.Weight, " ", s.Out))
	}
	if want := "[10.0.0.1:80 0 true 10.0.0.2:80 4 false 10.0.0.3:80 0.5 false 10.0.0.6:80 0 false]"; fmt.Sprint(got) != want || len(u.Rejected) != 2 {
		t.Errorf("%v, rejected %v", got, u.Rejected)
	}
}

// What an instance or an operator says is out; what nobody understands is as good as missing.
func TestStates(t *testing.T) {
	for status, want := range map[string]string{"UP": "in", "OUT_OF_SERVICE": "out", "DOWN": "out", "STARTING": "out", "UNKNOWN": "none", "": "none"} {
		u := one(t, fmt.Sprintf(`{"ipAddr":"10.0.0.1","status":%q}`, status)).set("WEB")
		got := "none"
		if len(u.Endpoints) == 1 {
			got = map[bool]string{false: "in", true: "out"}[u.Endpoints[0].Out]
		}
		if got != want || len(u.Rejected) != 0 {
			t.Errorf("%q: %s, want %s", status, got, want)
		}
	}
}

// An instance gives an address and a name; which of them is used can be chosen.
func TestAddressOrName(t *testing.T) {
	for _, c := range []struct {
		ip, host string
		prefer   bool
		want     string
	}{
		{"10.0.0.1", "a.example", false, "10.0.0.1:80 a.example"},
		{"10.0.0.1", "a.example", true, "a.example:80 a.example"},
		{"10.0.0.1", "10.0.0.1", true, "10.0.0.1:80 "},
		{"", "Pod-1.svc.", false, "pod-1.svc:80 pod-1.svc"},
		{"[::1]", "", false, "[::1]:80 "},
		{"::ffff:10.0.0.2", "a b", true, "10.0.0.2:80 "},
		{"0.0.0.0", "b", false, "b:80 b"},
	} {
		s, err := Config{PreferHost: c.prefer}.locate(c.ip, c.host, 80)
		if got := s.Address + " " + s.Host; err != nil || got != c.want {
			t.Errorf("%q and %q: %s, %v, want %s", c.ip, c.host, got, err, c.want)
		}
	}
	if _, err := (Config{}).locate("10.0.0.1.2", "a b", 80); err == nil {
		t.Error("nonsense is located")
	}
}

// An instance that comes back under another id is the same endpoint, and the newest
// registration of an address counts.
func TestOneAddressTwice(t *testing.T) {
	same := func(updated int, more string) string {
		return fmt.Sprintf(`{"ipAddr":"10.0.0.7","lastUpdatedTimestamp":"%d"%s}`, updated, more)
	}
	u := one(t, same(5, `,"metadata":{"zone":"old"}`), same(6, `,"metadata":{"zone":"new"}`)).set("WEB")
	if len(u.Endpoints) != 1 || u.Endpoints[0].Zone != "new" {
		t.Errorf("%+v", u)
	}
	u = one(t, same(5, ``), same(6, `,"status":"OUT_OF_SERVICE"`)).set("WEB")
	if len(u.Endpoints) != 1 || !u.Endpoints[0].Out {
		t.Errorf("%+v", u)
	}
	u = one(t, same(6, ``), same(5, `,"status":"DOWN"`)).set("WEB")
	if len(u.Endpoints) != 1 || u.Endpoints[0].Out {
		t.Errorf("%+v", u)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(recorded)
	f.Add(older)
	f.Add(`{"applications":{"application":[{"name":"WEB","instance":[null,1,"x",{},{"port":{"$":1,"@enabled":"true"},"ipAddr":"::1","status":"UP"}]}]}}`)
	f.Fuzz(func(t *testing.T, data string) {
		a, err := parse([]byte(data))
		if err != nil {
			return
		}
		table := make(apps)
		if table.apply(a, Config{}.withDefaults()) != nil {
			return
		}
		before := table.hash()
		for name := range table {
			u := table.set(name)
			for i, s := range u.Endpoints {
				if i > 0 && !u.Endpoints[i-1].ID.Less(s.ID) {
					t.Errorf("not in order, or twice: %v", u.Endpoints)
				}
				if s.Weight < 0 || s.Instance != "" {
					t.Errorf("%+v", s)
				}
			}
		}
		// Change lists repeat themselves: applying one again changes nothing.
		if table.apply(a, Config{}.withDefaults()) != nil || table.hash() != before {
			t.Errorf("checksum %s, then %s", before, table.hash())
		}
	})
}
