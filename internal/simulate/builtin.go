package simulate

// The standard scenarios: the ten ways in which endpoints are uneven that the policies are judged
// by. All have eight endpoints with four workers, unless a configuration says otherwise, and
// work for 5 ms, exponentially distributed.

import "time"

// oddOne is the endpoint that is unlike the others, by its number.
const oddOne = "4"

// Builtin returns the standard scenarios, without defaults, in the order in which they are shown.
func Builtin() []Scenario {
	odd := []string{oddOne}
	return []Scenario{
		{Name: "even", About: "all endpoints are alike"},
		{Name: "slow", About: "one endpoint works five times as long", Endpoints: []Server{{Endpoint: oddOne, Factor: 5}}},
		{Name: "stall", About: "one endpoint stands still for 0.5 s every 2 s",
			Faults: []Fault{{Kind: "stall", Endpoints: odd, At: 3 * time.Second, For: 500 * time.Millisecond, Every: 2 * time.Second}}},
		{Name: "fail", About: "one endpoint answers 503 at once, from 5 s on",
			Faults: []Fault{{Kind: "fail", Endpoints: odd, At: 5 * time.Second}}},
		{Name: "flap", About: "one endpoint refuses connections for 1 s every 3 s",
			Faults: []Fault{{Kind: "crash", Endpoints: odd, At: 3 * time.Second, For: time.Second, Every: 3 * time.Second}}},
		{Name: "bimodal", About: "5 % of the requests take 50 ms", Time: Time{Distribution: "bimodal"}},
		{Name: "restart", About: "the endpoints restart one after the other, every 5 s: down for 1 s, then three times as slow for 100 requests",
			Load:   Load{Duration: 45 * time.Second},
			Faults: []Fault{{Kind: "restart", Endpoints: []string{"all"}, At: 4 * time.Second, For: time.Second, Stagger: 5 * time.Second, Factor: 3, Answers: 100}}},
		{Name: "cold", About: "one endpoint joins at 5 s and works ten times as long on its first 200 requests",
			Faults: []Fault{
				{Kind: "join", Endpoints: odd, At: 5 * time.Second},
				{Kind: "cold", Endpoints: odd, At: 5 * time.Second, Factor: 10},
			}},
		{Name: "shared", About: "two proxies share the endpoints, of which one works three times as long",
			Proxies: 2, Endpoints: []Server{{Endpoint: oddOne, Factor: 3}}},
		{Name: "overload", About: "1.5 times as much as the endpoints can do, for clients that wait for 1 s",
			Load: Load{Utilization: 150, Duration: 10 * time.Second}, Timeout: time.Second},
	}
}
