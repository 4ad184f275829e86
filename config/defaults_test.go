package config

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/internal/tags"
	"github.com/poise-lb/poise/policy"
)

// structs returns every struct type of the model.
func structs() []reflect.Type {
	var out []reflect.Type
	seen := make(map[reflect.Type]bool)
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(t.Elem())
		case reflect.Struct:
			if !seen[t] {
				seen[t] = true
				out = append(out, t)
				for _, f := range make(tags.Model).Of(t) {
					if f.Name != "" {
						visit(f.Type)
					}
				}
			}
		}
	}
	visit(reflect.TypeFor[Config]())
	return out
}

func TestTags(t *testing.T) {
	if n := len(structs()); n < 20 {
		t.Fatalf("only %d structs found", n)
	}
	for _, typ := range structs() {
		short := 0
		for _, f := range make(tags.Model).Of(typ) {
			field := typ.FieldByIndex(f.Index)
			name := typ.Name() + "." + field.Name
			if _, ok := field.Tag.Lookup("yaml"); !ok {
				t.Errorf("%s has no yaml tag", name)
			}
			if f.Name == "" {
				continue
			}
			if f.Doc == "" {
				t.Errorf("%s has no doc tag", name)
			}
			if strings.ToLower(f.Name) != f.Name || strings.ContainsAny(f.Name, "- ") {
				t.Errorf("%s is called %q in the file: snake_case is the rule", name, f.Name)
			}
			for _, text := range []string{f.Default, f.Min, f.Max} {
				if text == "" {
					continue
				}
				if v, err := tags.Value(f.Type, text); err != nil {
					t.Errorf("%s: %q: %v", name, text, err)
				} else if text == f.Default && v.IsZero() {
					t.Errorf("%s: the default is the zero value", name)
				}
			}
			if f.Enum != nil && f.Default != "" && !strings.Contains(","+strings.Join(f.Enum, ",")+",", ","+f.Default+",") {
				t.Errorf("%s: the default %q is not one of %q", name, f.Default, f.Enum)
			}
			if f.Path && f.Type.Kind() != reflect.String {
				t.Errorf("%s: a path that is no text", name)
			}
			if f.Short {
				short++
			}
		}
		if short > 1 {
			t.Errorf("%s has %d short forms", typ.Name(), short)
		}
	}
}

func TestWithDefaultsFillsEveryDefault(t *testing.T) {
	c := everything().WithDefaults()
	var visit func(path string, v reflect.Value)
	checked := 0
	visit = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			visit(path, v.Elem())
		case reflect.Slice:
			for i := range v.Len() {
				visit(Index(path, i), v.Index(i))
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				visit(Key(path, k.String()), v.MapIndex(k))
			}
		case reflect.Struct:
			for _, f := range make(tags.Model).Of(v.Type()) {
				if f.Name == "" {
					continue
				}
				if f.Default != "" {
					checked++
					want, _ := tags.Value(f.Type, f.Default)
					if !reflect.DeepEqual(v.FieldByIndex(f.Index).Interface(), want.Interface()) {
						t.Errorf("%s = %v, want %v", Key(path, f.Name), v.FieldByIndex(f.Index), want)
					}
				}
				visit(Key(path, f.Name), v.FieldByIndex(f.Index))
			}
		}
	}
	visit("", reflect.ValueOf(c))
	if checked < 25 {
		t.Errorf("only %d defaults were looked at", checked)
	}
}

// everything has every pointer set and every list with one element, and no other value.
func everything() Config {
	v := reflect.New(reflect.TypeFor[Config]()).Elem()
	populate(v, nil)
	return v.Interface().(Config)
}

// populate gives v one element everywhere, and random scalars if there is a source.
func populate(v reflect.Value, r *rand.Rand) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		populate(v.Elem(), r)
	case reflect.Slice:
		if plain := v.Type().Elem(); r == nil && (plain.Kind() == reflect.String || plain == tags.Duration) {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		populate(v.Index(0), r)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		populate(e, r)
		v.SetMapIndex(reflect.ValueOf("x"), e)
	case reflect.Struct:
		for _, f := range make(tags.Model).Of(v.Type()) {
			if f.Name != "" && !(f.Name == "merge" && v.Type() == reflect.TypeFor[SourcePart]()) { // no end of them otherwise
				populate(v.FieldByIndex(f.Index), r)
			}
		}
	case reflect.Int, reflect.Int64:
		if r != nil && r.IntN(2) == 0 {
			v.SetInt(r.Int64N(1000))
		}
	case reflect.String:
		if r != nil && r.IntN(2) == 0 {
			v.SetString("s")
		}
	}
}

func TestWithDefaultsIsIdempotentAndKeepsWhatIsGiven(t *testing.T) {
	for seed := range uint64(200) {
		v := reflect.New(reflect.TypeFor[Config]()).Elem()
		populate(v, rand.New(rand.NewPCG(seed, 1)))
		c := v.Interface().(Config)
		before, _ := json.Marshal(c)
		full := c.WithDefaults()
		if after, _ := json.Marshal(c); string(after) != string(before) {
			t.Fatalf("seed %d: the receiver was modified", seed)
		}
		if again := full.WithDefaults(); !reflect.DeepEqual(again, full) {
			t.Fatalf("seed %d: not idempotent:\n%+v\n%+v", seed, full, again)
		}
		if c.Timeouts.Head != 0 && full.Timeouts.Head != c.Timeouts.Head {
			t.Fatalf("seed %d: a given value was replaced", seed)
		}
	}
}

func TestWithDefaultsSharesNothing(t *testing.T) {
	c := everything()
	c.TrustedProxies = []string{"10.0.0.1"}
	full := c.WithDefaults()
	full.TrustedProxies[0] = "changed"
	full.Listen[0].Address = "changed"
	full.Listen[0].TLS.MinVersion = "1.3"
	s := full.Services["x"]
	s.Endpoints[0].URL = "changed"
	s.Health.Check = "changed"
	full.Services["y"] = s
	full.Routes[0].Headers.Request.Set["x"] = "changed"
	if c.TrustedProxies[0] != "10.0.0.1" || c.Listen[0].Address != "" || c.Listen[0].TLS.MinVersion != "" ||
		c.Services["x"].Endpoints[0].URL != "" || c.Services["x"].Health.Check != "" || len(c.Services) != 1 ||
		c.Routes[0].Headers.Request.Set["x"] != "" {
		t.Errorf("a change of the copy changed the original: %+v", c)
	}
}

type customSource struct{ discovery.Source }

func (customSource) Run(ctx context.Context, publish func(discovery.Update)) error { return nil }

type customPolicy struct{ policy.Policy }

func TestWithDefaultsKeepsNilAndCustom(t *testing.T) {
	source, pol := &customSource{}, &customPolicy{}
	c := Config{Services: map[string]Service{"a": {
		Source: &Source{Custom: source}, Policy: Policy{Custom: pol}, Retry: Retry{On: []string{}},
	}}}
	a := c.WithDefaults().Services["a"]
	switch {
	case a.Health != nil || a.TLS != nil || a.Endpoints != nil:
		t.Error("what was nil is not any more")
	case a.Source.Custom != source || a.Policy.Custom != pol:
		t.Error("a custom source or policy was copied or lost")
	case a.Retry.On == nil || len(a.Retry.On) != 0:
		t.Errorf("an empty list became %q", a.Retry.On)
	case a.Retry.SameAfter != 50*time.Millisecond || a.PanicThreshold != 50:
		t.Errorf("defaults are missing: %+v", a)
	}
}

func TestProbeTimeoutFollowsShortIntervals(t *testing.T) {
	for _, c := range []struct{ interval, timeout, want time.Duration }{
		{0, 0, time.Second},
		{200 * time.Millisecond, 0, 200 * time.Millisecond},
		{10 * time.Second, 0, time.Second},
		{200 * time.Millisecond, time.Second, time.Second}, // said so: Validate refuses it
	} {
		h := Health{Interval: c.interval, Timeout: c.timeout}
		cfg := Config{Services: map[string]Service{"a": {Health: &h}}}.WithDefaults()
		if got := cfg.Services["a"].Health.Timeout; got != c.want {
			t.Errorf("interval %v, timeout %v: %v, want %v", c.interval, c.timeout, got, c.want)
		}
	}
}

func TestTargetFollowsSmallHeads(t *testing.T) {
	for _, c := range []struct{ given, want Limits }{
		{Limits{}, Limits{Head: 64 << 10, Fields: 128, Streams: 100, Target: 32 << 10}},
		{Limits{Head: 8 << 10}, Limits{Head: 8 << 10, Fields: 128, Streams: 100, Target: 8 << 10}},
		{Limits{Head: 256 << 10, Fields: 20, Interim: 3}, Limits{Head: 256 << 10, Fields: 20, Streams: 100, Target: 32 << 10, Interim: 3}},
		{Limits{Head: 8 << 10, Target: 9 << 10}, Limits{Head: 8 << 10, Fields: 128, Streams: 100, Target: 9 << 10}}, // said so: Validate refuses it
	} {
		if got := (Config{Limits: c.given}).WithDefaults().Limits; got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.given, got, c.want)
		}
	}
}
