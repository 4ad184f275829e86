package route

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The first pattern that Explain names is the one that a Tree finds, on random patterns that
// meet all the time.
func TestExplainAgreesWithMatch(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	var states [3]int
	for seed := range rounds {
		w := world{rand.New(rand.NewPCG(uint64(seed), 11))}
		patterns := make([]Pattern, w.IntN(24))
		for i := range patterns {
			patterns[i] = w.pattern()
		}
		for {
			_, j := oracleConflict(patterns)
			if j == none {
				break
			}
			patterns = slices.Delete(patterns, j, j+1)
		}
		tree := mustBuild(t, patterns)
		for range 30 {
			authority, path, method := w.request()
			listener, grpc := w.pick("", "in", "out", "other"), method == "POST" && w.IntN(2) == 0
			match := tree.MatchAt
			if grpc {
				match = tree.MatchGRPC
			}
			index, state := match(listener, []byte(authority), []byte(path), []byte(method))
			states[state]++
			all := Explain(patterns, listener, []byte(authority), []byte(path), []byte(method), grpc)
			if len(all) != len(patterns) {
				t.Fatalf("%d verdicts on %d patterns", len(all), len(patterns))
			}
			got, gotState := none, NotFound
			if len(all) > 0 {
				switch all[0].Failed {
				case "":
					got, gotState = all[0].Index, Found
				case Method:
					gotState = NotAllowed
				}
			}
			if got != index || gotState != state {
				t.Fatalf("%s %q %q at %q among %+v:\nexplained %d, state %d\n  matched %d, state %d",
					method, authority, path, listener, patterns, got, gotState, index, state)
			}
		}
	}
	if slices.Min(states[:]) < rounds {
		t.Fatalf("answers %v: the generator does not reach everything", states)
	}
}

func TestExplainSaysWhichPartFails(t *testing.T) {
	patterns := []Pattern{
		{Path: "/users/**"},
		{Path: "/users/{id}", Methods: []string{"PUT"}},
		{Host: "api.example.com", Path: "/users/{id}"},
		{Host: "shop.example.com"},
		{Path: "/orders/**"},
		{Host: "*.example.com", Path: "/users/**"},
		{Listener: "in"},
		{Listener: "out", Path: "/users/**"},
		{Path: "/users/{id}", GRPC: true},
	}
	want := []struct {
		index  int
		failed Part
	}{{6, ""}, {2, ""}, {5, ""}, {0, ""}, {1, Method}, {8, GRPC}, {4, Path}, {3, Host}, {7, Listener}}
	all := Explain(patterns, "in", []byte("API.example.com:443"), []byte("/users/7"), []byte("GET"), false)
	if len(all) != len(want) {
		t.Fatalf("%d verdicts", len(all))
	}
	for i, w := range want {
		if all[i].Index != w.index || all[i].Failed != w.failed {
			t.Errorf("%d: pattern %d, failed %q, want %d, %q", i, all[i].Index, all[i].Failed, w.index, w.failed)
		}
	}
}
