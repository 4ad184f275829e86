package configfile

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// read decodes a text without validating it.
func read(t *testing.T, text []byte) config.Config {
	t.Helper()
	root, err := document("written", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var c config.Config
	d := newDecoder("written", root)
	d.expander = &expander{}
	if !d.decode(root, reflect.ValueOf(&c).Elem(), "") || len(d.problems) > 0 {
		t.Fatalf("%v\n%s", d.problems, text)
	}
	return c
}

// Every field of the model, with random values, reads back as it was written.
func TestWriteReadsBack(t *testing.T) {
	for seed := range uint64(200) {
		f := filler{rand.New(rand.NewPCG(seed, 0)), make(tags.Model)}
		var c config.Config
		f.fill(reflect.ValueOf(&c).Elem(), tags.Field{}, 0)
		c.Version = 1
		text := Write(&c)
		if got := read(t, text); !reflect.DeepEqual(got, c) {
			t.Fatalf("seed %d: it reads back as another one:\n%s\n%s", seed, text, Write(&got))
		}
	}
}

// A filler sets fields that a file can say.
type filler struct {
	*rand.Rand
	model tags.Model
}

func (f filler) fill(v reflect.Value, in tags.Field, depth int) {
	switch {
	case v.Type() == tags.Duration:
		v.SetInt(int64(time.Duration(1+f.IntN(100_000)) * time.Millisecond))
		if in.None && f.IntN(3) == 0 {
			v.SetInt(int64(tags.NoDuration))
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), in, depth)
	case v.Kind() == reflect.Struct:
		for _, field := range f.model.Of(v.Type()) {
			if field.Name == "" {
				continue
			}
			at := v.FieldByIndex(field.Index)
			switch {
			case field.Zero != "" && f.IntN(4) == 0:
				v.FieldByName(field.Zero).SetBool(true)
			case field.Required || depth < 8 && f.IntN(2) == 0:
				f.fill(at, field, depth+1)
				for n := 0; field.Required && at.IsZero() && n < 100; n++ { // what is required is there
					f.fill(at, field, depth+1)
				}
			}
		}
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range f.IntN(3) {
			item := reflect.New(v.Type().Elem()).Elem()
			f.fill(item, tags.Field{}, depth+1)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprintf("name %d: '#", i)), item)
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), f.IntN(3), 3))
		for i := range v.Len() {
			f.fill(v.Index(i), tags.Field{}, depth+1)
		}
	case v.Kind() == reflect.String:
		words := []string{"a", "no", "502", "${x}", "$${y", "a: b # c", "\"'\\", "ein\nzwei\t", "名前", "{", "<&>", "0x1", "none", " "}
		v.SetString(words[f.IntN(len(words))])
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.Int:
		v.SetInt(1 + f.Int64N(1<<40))
	case v.Kind() == reflect.Float64:
		v.SetFloat(f.Float64() + 1)
	default:
		panic(v.Type().String())
	}
}

// What is written is valid JSON, and what a valid file says is what it says when written anew.
func TestWriteOfFiles(t *testing.T) {
	for _, path := range []string{"../test/real/testdata/poise.yaml", "../deploy/packages/poise.yaml"} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(path, data, func(string) (string, bool) { return "0123456789abcdef", true })
		if err != nil {
			t.Fatal(err)
		}
		text := Write(&c)
		again, err := Parse("written", text, nil)
		if err != nil || !json.Valid(text) {
			t.Errorf("%s: %v\n%s", path, err, text)
			continue
		}
		if a, b := c.Values(), again.Values(); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: it reads back as another one", path)
		}
	}
}
