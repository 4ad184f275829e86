package tags

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

type sample struct {
	A      int `yaml:"a" doc:"help" default:"5" min:"1" max:"9" required:"true" short:"true" unit:"percent" path:"true" example:"7" enum:"1,5"`
	GoOnly func()
	Hidden string        `yaml:"-" doc:"not in the file"`
	B      time.Duration `yaml:"b"`
}

func TestOf(t *testing.T) {
	m := make(Model)
	fields := m.Of(reflect.TypeFor[sample]())
	want := Field{Index: []int{0}, Name: "a", Type: reflect.TypeFor[int](), Doc: "help", Default: "5", Enum: []string{"1", "5"},
		Min: "1", Max: "9", Required: true, Short: true, Percent: true, Path: true, Example: "7"}
	if len(fields) != 4 || !reflect.DeepEqual(fields[0], want) {
		t.Errorf("%+v", fields)
	}
	for i, name := range []string{"a", "", "", "b"} {
		if !slices.Equal(fields[i].Index, []int{i}) || fields[i].Name != name {
			t.Errorf("field %d is %+v", i, fields[i])
		}
	}
	if again := m.Of(reflect.TypeFor[sample]()); &again[0] != &fields[0] {
		t.Error("the tags were read twice")
	}
	if f, ok := m.Short(reflect.TypeFor[sample]()); !ok || f.Name != "a" {
		t.Error(f, ok)
	}
	for _, other := range []reflect.Type{reflect.TypeFor[int](), reflect.TypeFor[struct{ X int }]()} {
		if f, ok := m.Short(other); ok {
			t.Error(other, f)
		}
	}
}

type inner struct {
	C int `yaml:"c" default:"3"`
	D func()
}

type Middle struct {
	inner `yaml:",inline"`
	E     string `yaml:"e"`
}

type outer struct {
	F      bool `yaml:"f"`
	Middle `yaml:",inline"`
	G      Middle `yaml:"g"`
}

// The fields of inline structs stand among the others, and their indices lead to them.
func TestInline(t *testing.T) {
	var v outer
	v.C, v.E = 7, "here"
	m := make(Model)
	first := m.Of(reflect.TypeFor[outer]())
	m.Of(reflect.TypeFor[struct {
		outer `yaml:",inline"`
	}]())
	if again := m.Of(reflect.TypeFor[outer]()); !slices.Equal(again[1].Index, first[1].Index) || len(again[1].Index) != 3 {
		t.Errorf("an index was changed by being used further out: %v", again[1].Index)
	}
	if len(first) != 5 {
		t.Fatalf("%+v", first)
	}
	if f := first[1]; f.Name != "c" || f.Default != "3" || reflect.ValueOf(v).FieldByIndex(f.Index).Int() != 7 {
		t.Errorf("%+v", f)
	}
	for i, index := range [][]int{{0}, {1, 0, 0}, {1, 0, 1}, {1, 1}, {2}} {
		if !slices.Equal(first[i].Index, index) {
			t.Errorf("field %d: %v, want %v", i, first[i].Index, index)
		}
	}
}

func TestValue(t *testing.T) {
	for _, test := range []struct {
		zero any
		text string
		want any // nil: an error
	}{
		{0, "-7", -7}, {0, "1.5", nil}, {0, "", nil},
		{0.0, "1.25", 1.25}, {0.0, "x", nil},
		{false, "true", true}, {false, "yes", nil},
		{"", "a,b", "a,b"},
		{time.Duration(0), "90s", 90 * time.Second}, {time.Duration(0), "0", time.Duration(0)}, {time.Duration(0), "5", nil},
		{[]string(nil), "a,b", []string{"a", "b"}},
		{[]int(nil), "1", nil}, {struct{}{}, "x", nil}, {(*int)(nil), "1", nil},
	} {
		got, err := Value(reflect.TypeOf(test.zero), test.text)
		if (err != nil) != (test.want == nil) || err == nil && !reflect.DeepEqual(got.Interface(), test.want) {
			t.Errorf("%T %q: %v, %v", test.zero, test.text, fmt.Sprint(got), err)
		}
	}
}
